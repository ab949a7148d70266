import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airquality.ozone_nowcast import HOURS, ozone_nowcast

GAP = math.nan
EXAMPLE = Path(__file__).parent / "epa_ozone_example.txt"


@pytest.fixture
def example() -> list[float]:
    """The two weeks of hours that EPA ships with its code, after two hours without a value."""
    lines = [line for line in EXAMPLE.read_text().splitlines() if not line.startswith("#")]
    return [GAP, GAP, *(GAP if each == "-" else float(each) for line in lines for each in line.split())]


def test_looks_back_on_two_weeks_and_two_hours(example: list[float]) -> None:
    assert len(example) == HOURS == 338


def test_gives_what_partial_least_squares_gives_for_the_example_of_the_epa(example: list[float]) -> None:
    # PLSRegression of scikit-learn 1.7 (scale=False) on the same matrix gives 19.584490914 with 60 components, from
    # where on more of them change nothing but the noise of its iteration. The last hour itself measured 14 ppb.
    assert ozone_nowcast(example) == 19.0


def test_of_a_steady_day_it_is_the_mean_of_the_hours_around_in_the_weeks_before() -> None:
    # Ozone that repeats itself every day is known exactly: the next three hours are those of any day before.
    day = [20.0 + 15.0 * math.sin(2 * math.pi * hour / 24) for hour in range(24)]
    hours = [day[hour % 24] for hour in range(HOURS)]
    around = [day[(HOURS - 1 + hour) % 24] for hour in range(-4, 4)]
    assert ozone_nowcast(hours) == math.floor(sum(around) / 8 + 1e-6)


def test_too_few_hours_are_taken_by_the_fixed_line() -> None:
    assert ozone_nowcast([GAP] * (HOURS - 1) + [50.0]) == 47.0  # 0.85 · 50 + 4.5, in whole ppb
    assert ozone_nowcast([GAP] * (HOURS - 3) + [50.0, GAP, GAP]) == 47.0


def test_a_gap_of_eight_hours_is_taken_by_the_fixed_line(example: list[float]) -> None:
    seven, eight = example.copy(), example.copy()
    seven[100:107], eight[100:108] = [GAP] * 7, [GAP] * 8
    assert ozone_nowcast(eight) == math.floor(0.85 * 14 + 4.5)
    assert ozone_nowcast(seven) != ozone_nowcast(eight)


@pytest.mark.parametrize("missing", [1, 2])
def test_where_the_newest_hours_are_missing_an_earlier_nowcast_stands(example: list[float], missing: int) -> None:
    assert ozone_nowcast([*example[missing:], *[GAP] * missing]) == ozone_nowcast(example)


def test_without_any_of_the_last_three_hours_there_is_none(example: list[float]) -> None:
    assert math.isnan(ozone_nowcast([*example[:-3], GAP, GAP, GAP]))
    assert math.isnan(ozone_nowcast([GAP] * HOURS))


def test_no_ozone_is_zero() -> None:
    assert ozone_nowcast([0.0] * HOURS) == 0.0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.4))
def test_is_a_whole_number_from_zero_on_or_none(seed: int, missing: float) -> None:
    generator = np.random.default_rng(seed)
    hours = generator.integers(0, 120, HOURS).astype(float)
    hours[generator.random(HOURS) < missing] = GAP
    value = ozone_nowcast(hours)
    assert math.isnan(value) or (value >= 0 and value == int(value))
