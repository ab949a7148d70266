from hypothesis import given
from hypothesis import strategies as st

from geocoder.directory import Area
from geocoder.places import Layer
from tests.geocoder.builders import directory, place

WORLD = directory()
areas = st.builds(Area, st.sampled_from(["US", "CA", "DE"]), st.sampled_from(["", "CA", "OR"]))


@given(areas, areas)
def test_narrowing_is_the_same_both_ways(one: Area, other: Area) -> None:
    both = one.narrowed(other)
    assert both == other.narrowed(one)
    if both is not None:
        assert both.country_code == one.country_code == other.country_code
        assert both.admin1_code in (one.admin1_code, other.admin1_code)


def test_tells_names_from_codes() -> None:
    assert WORLD.is_name("oregon")
    assert not WORLD.is_name("or")
    assert not WORLD.is_name("atlantis")


def test_completes_names_and_codes_of_areas() -> None:
    assert WORLD.completed("ca") == (Area("CA"), Area("US", "CA"))
    assert Area("US", "OR") in WORLD.completed("ore")
    assert WORLD.completed("zzz") == ()


def test_a_place_lies_in_county_region_and_country() -> None:
    portland = place("Portland", admin1_code="OR", admin2_code="051", admin2_name="Multnomah County")
    assert [(each.name, each.layer) for each in WORLD.hierarchy(portland, {})] == [
        ("Multnomah County", Layer.COUNTY),
        ("Oregon", Layer.REGION),
        ("United States", Layer.COUNTRY),
    ]


def test_a_country_lies_in_nothing_and_a_region_in_its_country() -> None:
    country = WORLD.division(Area("DE"))
    region = WORLD.division(Area("DE", "02"))
    assert country is not None
    assert region is not None
    assert WORLD.hierarchy(country, {}) == ()
    assert [each.name for each in WORLD.hierarchy(region, {})] == ["Germany"]


def test_divisions_are_named_in_the_language_asked_for() -> None:
    country = WORLD.division(Area("DE"))
    assert country is not None
    munich = place("Munich", country="DE", admin1_code="02")
    assert [each.name for each in WORLD.hierarchy(munich, {country.place_id: "Allemagne"})] == ["Bavaria", "Allemagne"]
