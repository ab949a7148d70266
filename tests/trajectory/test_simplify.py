from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trajectory.tracks import SECOND, along, meters, track, tracks
from trajectory import simplify
from trajectory.simplify import douglas_peucker, time_ratio
from trajectory.track import Flags, Track

TOLERANCES = st.sampled_from([0.5, 10.0, 300.0, 5_000.0])
SLACK = 1.001
SIMPLIFIERS = [douglas_peucker, time_ratio]

Simplifier = Callable[[Track, float], Flags]


def distance_from_geodesic(line: Track, first: int, last: int, index: int) -> float:
    """Returns how far a position is from the geodesic between two others, by trying ever closer points of it."""

    def at(share: float) -> float:
        return meters(*along(line, first, last, share), line.lats[index], line.lngs[index])

    low, high = 0.0, 1.0
    while high - low > 1e-9:
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if at(left) < at(right) else (left, high)
    return min(at(low), at(0.0), at(1.0))


@pytest.mark.parametrize("simplifier", SIMPLIFIERS)
@given(line=tracks(), tolerance=TOLERANCES)
def test_keeps_the_ends(simplifier: Simplifier, line: Track, tolerance: float) -> None:
    keep = simplifier(line, tolerance)
    assert keep.shape == (len(line),)
    assert keep[0]
    assert keep[-1]


@settings(max_examples=60)
@given(line=tracks(min_size=3, max_size=25), tolerance=TOLERANCES)
def test_no_dropped_position_is_farther_from_the_line_than_the_tolerance(line: Track, tolerance: float) -> None:
    for first, last in pairwise(np.flatnonzero(douglas_peucker(line, tolerance)).tolist()):
        for index in range(first + 1, last):
            assert distance_from_geodesic(line, first, last, index) <= tolerance * SLACK


@given(line=tracks(min_size=3), tolerance=TOLERANCES)
def test_no_dropped_position_is_farther_from_its_time_on_the_line_than_the_tolerance(
    line: Track, tolerance: float
) -> None:
    for first, last in pairwise(np.flatnonzero(time_ratio(line, tolerance)).tolist()):
        for index in range(first + 1, last):
            share = (line.times[index] - line.times[first]) / (line.times[last] - line.times[first])
            expected = along(line, first, last, share)
            assert meters(*expected, line.lats[index], line.lngs[index]) <= tolerance * SLACK


@pytest.mark.parametrize("simplifier", SIMPLIFIERS)
@given(line=tracks(min_size=3), tolerance=TOLERANCES, turn=st.floats(0, 360))
def test_turning_the_earth_changes_nothing(simplifier: Simplifier, line: Track, tolerance: float, turn: float) -> None:
    turned = Track.of(line.times, line.lats, (line.lngs + turn + 180) % 360 - 180)
    kept, kept_turned = simplifier(line, tolerance), simplifier(turned, tolerance)
    # Rounding may decide between two positions that err alike.
    assert abs(int(kept.sum()) - int(kept_turned.sum())) <= 2


@pytest.mark.parametrize("simplifier", SIMPLIFIERS)
def test_the_split_by_halves_of_deep_trees_keeps_the_tolerance(
    simplifier: Simplifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simplify, "_BALANCED_BELOW", 0)
    rng = np.random.default_rng(5)
    line = Track.of(np.arange(300) * SECOND, np.cumsum(rng.normal(0, 1e-4, 300)), np.cumsum(rng.normal(0, 1e-4, 300)))
    keep = np.flatnonzero(simplifier(line, 30.0)).tolist()
    assert 2 < len(keep) < 300
    for first, last in pairwise(keep):
        for index in range(first + 1, last):
            assert distance_from_geodesic(line, first, last, index) <= 30.0 * SLACK


def test_a_straight_line_keeps_its_ends_alone() -> None:
    straight = track(*((second, 10.0, -179.9 + second / 1000) for second in range(100)))
    assert douglas_peucker(straight, 1.0).sum() == 2


def test_a_stop_on_a_straight_line_is_kept_by_time_and_not_by_shape() -> None:
    stop = track((0, 0.0, 0.0), (100, 0.0, 0.1), (2000, 0.0, 0.1), (2100, 0.0, 0.2))
    assert douglas_peucker(stop, 10.0).tolist() == [True, False, False, True]
    assert time_ratio(stop, 10.0).tolist() == [True] * 4


def test_a_loop_keeps_its_farthest_position() -> None:
    loop = track((0, 0.0, 0.0), (10, 0.0, 1.0), (20, 0.5, 1.0), (30, 0.0, 0.0))
    assert douglas_peucker(loop, 1000.0)[2]


def test_going_over_the_antimeridian_is_going_straight() -> None:
    over = track((0, 0.0, 179.0), (10, 0.0, 180.0), (20, 0.0, -179.0))
    assert douglas_peucker(over, 1.0).tolist() == [True, False, True]
    assert time_ratio(over, 1.0).tolist() == [True, False, True]


def test_going_over_the_pole_is_going_straight() -> None:
    over = track((0, 89.0, 0.0), (10, 90.0, 77.0), (20, 89.0, 180.0))
    assert douglas_peucker(over, 1.0).tolist() == [True, False, True]


def test_the_middle_of_an_ocean_crossing_is_on_its_way() -> None:
    # Along 45 degrees north the way bends to the north, and the Earth is rounder there.
    ends = track((0, 45.0, -40.0), (1000, 45.0, 0.0))
    middle = along(ends, 0, 1, 0.5)
    crossing = track((0, 45.0, -40.0), (500, *middle), (1000, 45.0, 0.0))
    assert douglas_peucker(crossing, 800.0).tolist() == [True, False, True]
    assert time_ratio(crossing, 800.0).tolist() == [True, False, True]


@pytest.mark.parametrize("simplifier", SIMPLIFIERS)
def test_of_positions_that_err_alike_one_is_kept_and_none_of_another_line_is_forgotten(simplifier: Simplifier) -> None:
    lats = [0.0, 0.1, 0.1, 0.1, 5.0, 0.1, 0.0]
    line = track(*((second, lat, second / 1000) for second, lat in enumerate(lats)))
    level = Track.of(line.times, line.lats, np.array([0.0, 0.5, 0.5, 0.5, 0.0, 0.5, 0.0]))
    kept = simplifier(level, 1000.0)
    assert kept[[1, 4, 5]].all()


@pytest.mark.parametrize("simplifier", SIMPLIFIERS)
def test_a_jump_to_the_other_side_of_the_earth_keeps_what_lies_between(simplifier: Simplifier) -> None:
    jump = track((0, 0.0, 0.0), (10, 30.0, 50.0), (20, 0.0, 180.0))
    assert simplifier(jump, 1000.0).all()


@pytest.mark.parametrize("simplifier", SIMPLIFIERS)
def test_equal_positions_shrink_to_the_ends(simplifier: Simplifier) -> None:
    assert simplifier(track(*((second, 5.0, 5.0) for second in range(50))), 0.0).sum() == 2


@pytest.mark.parametrize("simplifier", SIMPLIFIERS)
@pytest.mark.timeout(30)
def test_a_zigzag_of_a_hundred_thousand_positions_is_done_in_time(simplifier: Simplifier) -> None:
    # The tree of this one is as deep as the track is long.
    count = np.arange(100_000)
    line = Track.of(count * SECOND, (count % 2) * count / 2e5, count / 1e8)
    assert simplifier(line, 0.1).sum() > 2
