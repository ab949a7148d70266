from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airquality.evaluate_interpolation import evaluate
from airquality.interpolation import (
    Estimate,
    along_the_ground,
    between,
    interpolate,
    interpolate_many,
    positions,
    scale_of,
)
from airquality.units import Pollutant

DATA = Path(__file__).resolve().parents[2] / "data"
PM25 = scale_of(Pollutant.PM25)
STATION = st.tuples(st.floats(-89, 89), st.floats(-180, 180), st.floats(-5, 1000))


def estimate(*stations: tuple[float, float, float], lat: float = 40.0, lng: float = -100.0) -> Estimate:
    """Returns what stations (latitude, longitude, value) make of a place."""
    places = positions([each[0] for each in stations], [each[1] for each in stations])
    distances = np.linalg.norm(places - positions(lat, lng), axis=1)
    order = np.argsort(distances)
    values = np.array([each[2] for each in stations])
    return interpolate(distances[order], between(places[order]), values[order], PM25)


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
    places = positions([each[0] for each in stations], [each[1] for each in stations])
    distances = np.linalg.norm(places - positions(40.0, -100.0), axis=1)
    order = np.argsort(distances)
    missing = 8 - len(stations)
    padded = np.concatenate([order, np.repeat(order[-1:], missing)])
    far = np.concatenate([distances[order], np.full(missing, np.inf)])
    values = np.array([each[2] for each in stations])[padded]
    many = interpolate_many(far[None], between(places[padded])[None], values[None], PM25)
    one = estimate(*stations)
    expected = max(one.value, 0.0) if len(stations) > 1 else max(stations[0][2], 0.0)
    assert many.values[0] == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert many.highs[0] == pytest.approx(one.high, rel=1e-6, abs=1e-6)


def test_leaving_each_station_out_it_beats_the_nearest_and_inverse_distance() -> None:
    everywhere, answered = evaluate(DATA)
    assert everywhere.estimates == 12_096
    assert everywhere.gain_on_nearest >= 0.18
    assert everywhere.gain_on_inverse >= 0.05
    assert 0.77 <= everywhere.coverage <= 0.83
    assert answered.gain_on_nearest >= 0.18
    assert 0.77 <= answered.coverage <= 0.83
