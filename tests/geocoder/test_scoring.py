import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geocoder.importance import importance
from geocoder.places import Layer, MatchType, NameKind
from geocoder.reversing import extent_meters
from geocoder.scoring import confidences, distance_meters, match_type, rank, rank_completion
from tests.geocoder.builders import found, place

populations = st.one_of(st.none(), st.integers(0, 2 * 10**9))
shares = st.floats(0, 1)


@given(
    layer=st.sampled_from([Layer.COUNTRY, Layer.REGION, Layer.LOCALITY]),
    population=populations,
    names=st.integers(0, 1000),
    is_capital=st.booleans(),
)
def test_importance_is_a_share_and_grows_with_inhabitants(
    layer: Layer, population: int | None, names: int, *, is_capital: bool
) -> None:
    one = importance(layer, population, names, is_capital=is_capital)
    more = importance(layer, (population or 0) * 10 + 10, names, is_capital=is_capital)
    assert 0 <= one < more <= 1.05
    assert importance(layer, population, names + 1, is_capital=is_capital) >= one


def test_a_city_outweighs_the_state_that_is_called_like_it() -> None:
    assert importance(Layer.LOCALITY, 8_800_000, 100) > importance(Layer.REGION, 20_000_000, 60)


@given(st.lists(st.tuples(populations, shares), min_size=1, max_size=40))
def test_confidences_are_shares_of_the_quality(candidates: list[tuple[int | None, float]]) -> None:
    places = [place(str(number), population=population) for number, (population, _) in enumerate(candidates)]
    qualities = [quality for _, quality in candidates]
    for sure, quality in zip(confidences(places, qualities, len(places)), qualities, strict=True):
        assert quality / 2 <= sure <= quality


def test_the_only_place_of_a_name_is_as_sure_as_the_name() -> None:
    assert confidences([place("Nairobi", population=4_000_000)], [1.0], 1) == [1.0]


def test_one_of_two_equal_places_is_three_quarters_sure() -> None:
    twins = [place("One", population=999), place("Other", population=999)]
    assert confidences(twins, [1.0, 1.0], 2) == [0.75, 0.75]


def test_a_worse_match_does_not_make_a_better_one_less_sure() -> None:
    both = [place("Paris", population=10), place("Pariz", population=10**6)]
    assert confidences(both, [1.0, 0.8], 1) == [1.0]


def test_a_city_and_its_region_do_not_compete() -> None:
    city = place("Hamburg", country="DE", admin1_code="04", population=1_800_000)
    region = place("Hamburg", Layer.REGION, "DE", admin1_code="04", population=1_900_000)
    assert confidences([city, region], [1.0, 1.0], 2) == [1.0, 1.0]


def test_a_city_and_a_region_elsewhere_compete() -> None:
    city = place("Victoria", country="SC", population=25_000)
    region = place("Victoria", Layer.REGION, "AU", admin1_code="07", population=5_000_000)
    assert confidences([city, region], [1.0, 1.0], 2)[0] < 0.51


def test_a_main_name_comes_before_another_and_before_one_that_is_unlike_all_others() -> None:
    kinds = [NameKind.MAIN, NameKind.OTHER, NameKind.CODE, NameKind.UNLIKE]
    ranks = [rank(found(kind=kind), 1.0) for kind in kinds]
    assert ranks == sorted(ranks, reverse=True)


def test_what_lies_near_the_focus_comes_first() -> None:
    assert rank(found(), 1.0, 1_000) > rank(found(), 1.0, 500_000) >= rank(found(), 1.0)
    assert rank_completion(found(), 1_000) > rank_completion(found(), 500_000)


def test_says_how_a_name_was_found() -> None:
    assert match_type(found("Bern"), "bern") is MatchType.EXACT
    assert match_type(found("Bern", NameKind.OTHER), "bern") is MatchType.ALTERNATE_NAME
    assert match_type(found("Bern"), "brn") is MatchType.FUZZY


def test_distance_of_one_degree_on_the_equator() -> None:
    assert distance_meters(0, 0, place(lat=0.0, lng=1.0)) == pytest.approx(111_195, abs=1)


coordinates = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(coordinates, coordinates)
def test_distance_is_symmetric_and_at_most_half_the_globe(one: tuple[float, float], other: tuple[float, float]) -> None:
    there = distance_meters(*one, place(lat=other[0], lng=other[1]))
    back = distance_meters(*other, place(lat=one[0], lng=one[1]))
    assert there == pytest.approx(back, abs=0.1)
    assert 0 <= there <= math.pi * 6_371_009


def test_distance_across_the_antimeridian_is_short() -> None:
    assert distance_meters(0, 179.5, place(lat=0.0, lng=-179.5)) == pytest.approx(111_195, abs=1)


def test_paris_reaches_to_its_ring_road() -> None:
    assert extent_meters(None) == 0
    assert 5_000 < extent_meters(2_138_551) < 10_000
