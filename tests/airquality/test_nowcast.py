import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airquality.nowcast import particle_nowcast

GAP = math.nan
HOURS = st.lists(
    st.one_of(st.just(GAP), st.integers(0, 5000).map(lambda tenths: tenths / 10)), min_size=12, max_size=12
)


def nowcast(hours: list[float], truncate_to: float = 0.1) -> float:
    """Returns the NowCast of twelve hours, the oldest first."""
    return float(particle_nowcast(hours, truncate_to))


def test_gives_the_worked_example_of_the_epa() -> None:
    assert nowcast([34.9, 43, 50, 64.9, 69.2, 66.2, 53.7, 48.6, 49.2, 35, GAP, 21]) == 28.4


def test_is_a_whole_number_for_pm10() -> None:
    assert nowcast([34.9, 43, 50, 64.9, 69.2, 66.2, 53.7, 48.6, 49.2, 35, GAP, 21], truncate_to=1) == 28.0


@pytest.mark.parametrize(
    ("last_three", "known"),
    [([1, 1, 1], True), ([GAP, 1, 1], True), ([1, GAP, 1], True), ([1, 1, GAP], True), ([GAP, GAP, 1], False)],
)
def test_needs_two_of_the_last_three_hours(last_three: list[float], *, known: bool) -> None:
    assert math.isnan(nowcast([1.0] * 9 + last_three)) is not known


def test_steady_air_is_its_own_nowcast() -> None:
    assert nowcast([35.4] * 12) == 35.4


def test_clean_air_is_zero_and_not_unknown() -> None:
    assert nowcast([0.0] * 12) == 0.0


def test_what_is_below_zero_counts_as_zero() -> None:
    assert nowcast([-3.0] * 12) == 0.0


def test_no_hour_older_than_the_newest_counts_less_than_half_of_the_next() -> None:
    assert nowcast([0.0] * 11 + [10.0]) == pytest.approx(5.0, abs=0.1)


@given(HOURS)
def test_lies_between_the_lowest_and_the_highest_hour(hours: list[float]) -> None:
    value = nowcast(hours)
    if not math.isnan(value):
        assert np.nanmin(hours) - 0.1 <= value <= np.nanmax(hours) + 1e-9


@given(st.lists(HOURS, min_size=1, max_size=5))
def test_a_whole_array_gives_what_its_rows_give(rows: list[list[float]]) -> None:
    np.testing.assert_array_equal(particle_nowcast(rows, 0.1), [nowcast(row) for row in rows])
