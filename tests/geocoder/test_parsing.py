import pytest
from hypothesis import given
from hypothesis import strategies as st

from geocoder.directory import Area
from geocoder.parsing import AddressParts, Reading, read_parts, read_parts_of_text, read_text
from geocoder.places import ComponentType
from tests.geocoder.builders import directory

WORLD = directory()


def reading_of(text: str, key: str) -> Reading:
    """Returns the reading in which the place has that key."""
    return next(reading for reading in read_text(text, WORLD) if reading.keys[0] == key)


@pytest.mark.parametrize(
    ("text", "name", "area"),
    [
        ("Portland, Oregon", "portland", Area("US", "OR")),
        ("Portland Oregon", "portland", Area("US", "OR")),
        ("portland or", "portland", Area("US", "OR")),
        ("Portland，Oregon", "portland", Area("US", "OR")),  # noqa: RUF001 -- people type this comma
        ("Springfield IL", "springfield", Area("US", "IL")),
        ("Paris, Texas, USA", "paris", Area("US", "TX")),
        ("Paris Texas", "paris", Area("US", "TX")),
        ("Santa Fe New Mexico", "santa fe", Area("US", "NM")),
        ("München, Bayern", "munchen", Area("DE", "02")),
        ("München Bayern Deutschland", "munchen", Area("DE", "02")),
        ("Deutschland München", "munchen", Area("DE")),
        ("Atlanta, Georgia, USA", "atlanta", Area("US", "GA")),
    ],
)
def test_reads_where_a_place_lies(text: str, name: str, area: Area) -> None:
    assert area in reading_of(text, name).areas


def test_reads_the_whole_text_as_a_name_first() -> None:
    first = read_text("New Mexico", WORLD)[0]
    assert first.keys == ("new mexico",)
    assert first.areas == ()
    assert first.coverage == 1


def test_a_code_of_a_country_and_a_region_means_either() -> None:
    assert reading_of("Los Angeles CA", "los angeles").areas == (Area("CA"), Area("US", "CA"))


def test_a_region_of_another_country_is_no_reading() -> None:
    assert all(reading.keys[0] != "munchen" for reading in read_text("München Texas Germany", WORLD))


def test_passes_over_a_postal_code_and_says_so() -> None:
    reading = reading_of("Beverly Hills, CA 90210", "beverly hills")
    assert (ComponentType.POSTAL_CODE, "90210") in [(each.type, each.text) for each in reading.components]
    assert 0.5 < reading.coverage < 1


def test_passes_over_a_part_that_is_no_area_and_says_so() -> None:
    reading = reading_of("Brooklyn, Kings Borough, USA", "brooklyn")
    assert [(each.type, each.text) for each in reading.components] == [
        (ComponentType.NAME, "brooklyn"),
        (ComponentType.UNMATCHED, "kings borough"),
        (ComponentType.COUNTRY, "usa"),
    ]


def test_leaves_the_street_out_when_asked_for_parts() -> None:
    readings = read_parts_of_text("12 Hill Road, Portland, Oregon", WORLD)
    best = next(reading for reading in readings if reading.keys[0] == "portland")
    assert best.areas == (Area("US", "OR"),)
    assert best.components[0].type is ComponentType.UNMATCHED
    assert best.coverage < 0.7


def test_saints_are_short_or_long() -> None:
    assert read_text("St. Louis", WORLD)[0].keys == ("st louis", "saint louis", "sankt louis")


def test_looks_an_umlaut_up_both_ways() -> None:
    assert read_text("Osnabrück", WORLD)[0].keys == ("osnabruck", "osnabrueck")


@pytest.mark.parametrize("text", ["", " ", ",", ",,;", "%", "_", "\\", "'\"--", "😀"])
def test_nothing_to_read_gives_no_reading(text: str) -> None:
    assert read_text(text, WORLD) == []
    assert read_parts_of_text(text, WORLD) == []


def test_reads_parts_of_an_address() -> None:
    (reading,) = read_parts(AddressParts(city="Portland", state="OR", country="USA", postal_code="97201"), WORLD)
    assert reading.keys == ("portland",)
    assert reading.areas == (Area("US", "OR"),)
    assert reading.coverage == 1


def test_a_street_and_an_unknown_state_lower_the_coverage() -> None:
    (reading,) = read_parts(AddressParts(street="1 Main St", city="Portland", state="Nowhere"), WORLD)
    assert reading.areas == ()
    assert [each.type for each in reading.components] == [
        ComponentType.UNMATCHED,
        ComponentType.NAME,
        ComponentType.UNMATCHED,
    ]
    assert reading.coverage < 0.5


def test_of_two_parts_that_are_the_same_one_is_the_name() -> None:
    (reading,) = read_parts(AddressParts(street="Y", city="Y"), WORLD)
    assert [each.type for each in reading.components] == [ComponentType.UNMATCHED, ComponentType.NAME]


def test_the_smallest_part_that_is_given_is_looked_up() -> None:
    assert read_parts(AddressParts(state="Oregon", country="USA"), WORLD)[0].keys == ("oregon",)
    assert read_parts(AddressParts(country="USA"), WORLD)[0].keys == ("usa",)
    assert read_parts(AddressParts(postal_code="97201", country="USA"), WORLD)[0].keys == ("97201",)


words = st.lists(
    st.sampled_from(["portland", "oregon", "or", "ca", "il", "usa", "new", "mexico", "georgia", "x1", ",", "texas"]),
    max_size=60,
).map(" ".join)


@given(st.one_of(words, st.text(max_size=200)))
def test_readings_are_few_and_well_formed(text: str) -> None:
    for reading in [*read_text(text, WORLD), *read_parts_of_text(text, WORLD)]:
        assert all(reading.keys)
        assert 0 < reading.coverage <= 1
        assert len(reading.areas) <= 12
    assert len(read_text(text, WORLD)) <= 24
    assert len(read_parts_of_text(text, WORLD)) <= 24
