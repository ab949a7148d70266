import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airquality.evaluate_interpolation import evaluate
from airquality.interpolation import (
    Estimate,
    Floats,
    along_the_ground,
    estimate_at,
    estimate_many,
    position,
    positions,
    scale_of,
)
from airquality.units import Pollutant

DATA = Path(__file__).resolve().parents[2] / "data"
PM25 = scale_of(Pollutant.PM25)
FAR = 2e7
"""As far as places on the earth can be."""
STATION = st.tuples(st.floats(-89, 89), st.floats(-180, 180), st.floats(-5, 1000))


def estimate(*stations: tuple[float, float, float], lat: float = 40.0, lng: float = -100.0) -> Estimate:
    """Returns what stations (latitude, longitude, value) make of a place, however far they are."""
    places, values = field(stations)
    found = estimate_at(position(lat, lng), places, values, PM25, FAR, FAR)
    assert found is not None
    return found[0]


def field(stations: Sequence[tuple[float, float, float]]) -> tuple[Floats, Floats]:
    """Returns places and values of stations as arrays, in the order that is asked for."""
    places = positions([each[0] for each in stations], [each[1] for each in stations])
    order = np.argsort(places[:, 2])
    return places[order], np.array([each[2] for each in stations], dtype=np.float64)[order]


def by_the_book(stations: Sequence[tuple[float, float, float]], lat: float, lng: float) -> tuple[float, float, Floats]:
    """Returns the mean of the logarithms, their variance in units of the height, and the weights, nearest station first.

    Ordinary kriging as Cressie has it (3.2.12), without any of the shortcuts: the system solved as it stands.
    """
    places, values = field(stations)
    meters = along_the_ground(np.linalg.norm(places - position(lat, lng), axis=1))
    nearest = np.argsort(meters)[:8]
    places, z, meters = places[nearest], np.log(np.maximum(values[nearest], 0.0) + PM25.offset), meters[nearest]
    count = len(z)

    def gamma(distance: Floats) -> Floats:
        return 0.1 + 3.0 * (1.0 - np.exp(-distance / 1e6))

    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = gamma(np.linalg.norm(places[:, None] - places[None], axis=2))
    np.fill_diagonal(system, 0.0)
    system[:count, count] = system[count, :count] = 1.0
    solution = np.linalg.inv(system) @ np.append(gamma(meters), 1.0)
    weights = solution[:count]
    return float(weights @ z), float(solution @ np.append(gamma(meters), 1.0)), weights


def test_a_station_at_the_very_place_speaks_alone() -> None:
    found = estimate((40.0, -100.0, 10.0), (40.01, -100.0, 90.0))
    assert found.value == pytest.approx(10.0)
    assert found.weights == (1.0,)
    assert found.low < 10.0 < found.high


def test_one_station_speaks_without_a_spread_but_with_an_interval() -> None:
    found = estimate((40.3, -100.0, 10.0))
    assert (found.value, found.weights, found.standard_deviation) == (10.0, (1.0,), None)
    assert found.low < 6.0
    assert found.high > 15.0


def test_a_value_below_zero_counts_as_clean_air() -> None:
    found = estimate((40.3, -100.0, -4.0), (39.7, -100.0, -1.0))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high > 0.0


def test_the_nearer_station_has_more_weight() -> None:
    found = estimate((40.1, -100.0, 10.0), (39.0, -100.0, 60.0))
    assert found.weights[0] > found.weights[1]
    assert 10.0 < found.value < 35.0


def test_a_station_behind_another_counts_less_than_one_on_the_other_side() -> None:
    found = estimate((40.2, -100.0, 10.0), (40.21, -100.0, 10.0), (39.78, -100.0, 10.0))
    assert found.weights[2] > found.weights[1]


def test_identical_stations_at_one_place_share_their_weight() -> None:
    found = estimate((40.2, -100.0, 10.0), (40.2, -100.0, 10.0), (40.2, -100.0, 10.0))
    assert found.weights == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert found.value == pytest.approx(10.0)


def test_it_is_less_sure_far_from_stations_and_where_they_disagree() -> None:
    near = estimate((40.1, -100.0, 20.0), (39.9, -100.0, 22.0))
    far = estimate((41.0, -100.0, 20.0), (39.0, -100.0, 22.0))
    torn = estimate((40.1, -100.0, 2.0), (39.9, -100.0, 200.0))
    assert near.standard_error < far.standard_error
    assert np.log(torn.high / max(torn.low, 1.0)) > 2 * np.log(near.high / near.low)


def test_over_the_antimeridian_and_the_pole_stations_are_near() -> None:
    date_line = estimate((0.0, 179.9, 10.0), (0.0, -179.0, 60.0), lat=0.0, lng=-179.95)
    assert date_line.weights[0] > date_line.weights[1]
    pole = estimate((89.9, 10.0, 10.0), (89.5, -170.0, 60.0), lat=90.0, lng=0.0)
    assert pole.weights[0] > pole.weights[1]


def test_distances_are_those_on_the_ellipsoid() -> None:
    # Paris to Brussels by Karney's method, as PostGIS's ST_Distance on geography gives it.
    chord = np.array(np.linalg.norm(positions(48.8566, 2.3522) - positions(50.8503, 4.3517)))
    assert along_the_ground(chord) == pytest.approx(264_300, abs=300)


@given(st.lists(STATION, min_size=1, max_size=8))
def test_lies_between_the_stations_and_weights_add_up(stations: list[tuple[float, float, float]]) -> None:
    values = [max(each[2], 0.0) for each in stations]
    found = estimate(*stations)
    assert min(values) - 1e-6 <= found.value <= max(values) + 1e-6
    assert sum(found.weights) == pytest.approx(1.0)
    assert min(found.weights) >= 0.0
    assert found.low - 1e-6 <= found.value <= found.high + 1e-6


@given(st.lists(STATION, min_size=1, max_size=8))
def test_many_places_at_once_come_to_the_same(stations: list[tuple[float, float, float]]) -> None:
    places, values = field(stations)
    distances = along_the_ground(np.linalg.norm(places - position(40.0, -100.0), axis=1))
    order = np.argsort(distances)
    missing = 8 - len(stations)
    found = np.concatenate([order, np.repeat(order[-1:], missing)])
    far = np.concatenate([distances[order], np.full(missing, np.inf)])
    many = estimate_many(far[None], found[None], places, values, PM25)
    one = estimate(*stations)
    assert many.values[0] == pytest.approx(max(one.value, 0.0), rel=1e-6, abs=1e-6)
    assert many.lows[0] == pytest.approx(one.low, rel=1e-6, abs=1e-6)
    assert many.highs[0] == pytest.approx(one.high, rel=1e-6, abs=1e-6)


AROUND = st.tuples(st.floats(38, 42), st.floats(-103, -97), st.floats(0, 500))


@given(st.lists(AROUND, min_size=2, max_size=30, unique_by=lambda each: each[:2]))
def test_it_is_ordinary_kriging_of_the_nearest_eight(stations: list[tuple[float, float, float]]) -> None:
    middle, variance, weights = by_the_book(stations, 40.001, -100.001)
    places, values = field(stations)
    found = estimate_at(position(40.001, -100.001), places, values, PM25, FAR, FAR)
    assert found is not None
    one, chosen, meters = found
    expected = np.sort(along_the_ground(np.linalg.norm(places - position(40.001, -100.001), axis=1)))[: len(meters)]
    assert meters == pytest.approx(expected.tolist())
    assert len(chosen) == len(set(chosen)) == min(8, len(stations))
    if min(meters) > 1.0 and weights.min() > 0.0:  # else stations at the place speak alone, and none speaks against
        assert sorted(one.weights) == pytest.approx(sorted(weights.tolist()), abs=1e-6)
        assert one.value == pytest.approx(math.exp(middle) - PM25.offset, rel=1e-6, abs=1e-6)
        if len(set(values.tolist())) == 1:
            # Of equal values only the usual height of the variogram is left, shrunk by how many they are.
            height = 4.0 * PM25.variance / (4.0 + len(chosen) - 1)
            spread = 1.2815515655446004 * math.sqrt(height * max(variance, 0.1))
            assert one.high == pytest.approx(math.exp(middle + spread) - PM25.offset, rel=1e-5)


def test_only_stations_within_reach_are_weighed_and_none_when_the_nearest_is_too_far() -> None:
    places, values = field([(40.5, -100.0, 10.0), (41.0, -100.0, 20.0), (43.0, -100.0, 30.0)])
    here = position(40.0, -100.0)
    found = estimate_at(here, places, values, PM25, 60_000.0, 150_000.0)
    assert found is not None
    assert sorted(values[found[1]].tolist()) == [10.0, 20.0]
    assert estimate_at(here, places, values, PM25, 50_000.0, 150_000.0) is None
    assert estimate_at(position(-40.0, 100.0), places, values, PM25, 60_000.0, 150_000.0) is None


def test_the_place_of_one_is_that_of_many() -> None:
    places = [(0.0, 0.0), (90.0, 12.0), (-90.0, 0.0), (37.77, -122.42), (-41.3, 179.999), (10.0, -180.0)]
    together = positions([lat for lat, _ in places], [lng for _, lng in places])
    assert np.array([position(*each) for each in places]) == pytest.approx(together, abs=1e-6)


def test_leaving_each_station_out_it_beats_the_nearest_and_inverse_distance() -> None:
    everywhere, answered = evaluate(DATA)
    assert everywhere.estimates == 12_096
    assert everywhere.gain_on_nearest >= 0.18
    assert everywhere.gain_on_inverse >= 0.05
    assert 0.77 <= everywhere.coverage <= 0.83
    assert answered.gain_on_nearest >= 0.18
    assert 0.77 <= answered.coverage <= 0.83
