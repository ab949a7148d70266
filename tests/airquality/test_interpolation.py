import pytest
from hypothesis import given
from hypothesis import strategies as st

from airquality.interpolation import interpolate

STATIONS = st.lists(st.tuples(st.floats(501, 1e5), st.floats(0, 500)), min_size=1, max_size=5).map(sorted)


def test_a_station_on_the_spot_speaks_alone() -> None:
    assert interpolate([499.0, 600.0], [10.0, 90.0]) == (10.0, (1.0,), None)


def test_one_station_speaks_without_a_spread() -> None:
    assert interpolate([40_000.0], [10.0]) == (10.0, (1.0,), None)


def test_half_the_distance_has_four_times_the_weight() -> None:
    estimate = interpolate([1000.0, 2000.0], [10.0, 20.0])
    assert estimate.weights == pytest.approx((0.8, 0.2))
    assert estimate.value == pytest.approx(12.0)
    assert estimate.standard_deviation == pytest.approx(4.0)


@given(STATIONS)
def test_lies_between_the_stations_and_weights_add_up(stations: list[tuple[float, float]]) -> None:
    values = [value for _, value in stations]
    estimate = interpolate([distance for distance, _ in stations], values)
    assert min(values) - 1e-6 <= estimate.value <= max(values) + 1e-6
    assert sum(estimate.weights) == pytest.approx(1.0)
