from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trajectory.tracks import SECOND, meters, track, tracks
from trajectory.stays import Stay, find_stays
from trajectory.track import Track

DISTANCES = st.sampled_from([1.0, 50.0, 1000.0, 20_000.0])
DURATIONS = st.sampled_from([1, 60, 600, 3600])


def stays(line: Track, meters: float = 100.0, seconds: int = 300) -> list[Stay]:
    return find_stays(line, max_distance_meters=meters, min_duration=seconds * SECOND)


def by_definition(line: Track, limit: float, seconds: int) -> list[tuple[int, int]]:
    """Returns first and last position of each stay as Li et al. (2008) write them down, one distance at a time."""
    found, first = [], 0
    while first < len(line):
        stop = first + 1
        while (
            stop < len(line) and meters(line.lats[first], line.lngs[first], line.lats[stop], line.lngs[stop]) <= limit
        ):
            stop += 1
        if line.times[stop - 1] - line.times[first] >= seconds * SECOND:
            found.append((first, stop - 1))
            first = stop
        else:
            first += 1
    return found


@given(line=tracks(), limit=DISTANCES, seconds=DURATIONS)
def test_finds_what_the_definition_says(line: Track, limit: float, seconds: int) -> None:
    found = [(stay.first, stay.last) for stay in stays(line, limit, seconds)]
    assert found == by_definition(line, limit, seconds)


@given(line=tracks(), limit=DISTANCES, seconds=DURATIONS)
def test_stays_are_disjoint_in_order_and_long_enough(line: Track, limit: float, seconds: int) -> None:
    found = stays(line, limit, seconds)
    for stay in found:
        assert stay.departure - stay.arrival >= seconds * SECOND
        assert (stay.arrival, stay.departure) == (line.times[stay.first], line.times[stay.last])
        assert stay.departed == (stay.last < len(line) - 1)
    for before, after in pairwise(found):
        assert before.last < after.first


@given(line=tracks(), limit=DISTANCES)
def test_the_radius_reaches_every_position(line: Track, limit: float) -> None:
    for stay in stays(line, limit, 60):
        for index in range(stay.first, stay.last + 1):
            assert meters(stay.lat, stay.lng, line.lats[index], line.lngs[index]) <= stay.radius + 1e-6
        assert stay.radius <= 2 * limit * 1.001


def test_a_stay_begins_where_the_search_from_an_earlier_position_failed() -> None:
    # From the first position the third is too far, from the second it is not.
    line = track((0, 0.0, 0.0), (60, 0.0, 0.0006), (400, 0.0, 0.0012), (460, 0.0, 1.0))
    assert [(stay.first, stay.last) for stay in stays(line)] == [(1, 2)]


def test_a_stay_at_the_antimeridian_is_one() -> None:
    line = track(*((60 * minute, 0.0, 180.0 - 0.0001 * (-1) ** minute) for minute in range(10)))
    over = Track.of(line.times, line.lats, (line.lngs + 180) % 360 - 180)
    (stay,) = stays(over)
    assert abs(stay.lng) == pytest.approx(180.0, abs=1e-3)


def test_exactly_the_least_duration_is_enough() -> None:
    line = track((0, 0.0, 0.0), (300, 0.0, 0.0), (301, 0.0, 1.0))
    assert len(stays(line)) == 1
    assert not stays(line, seconds=301)


def test_one_position_is_no_stay() -> None:
    assert not stays(track((0, 0.0, 0.0)))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("drift", [0.0, 1e-9, 3e-8, 1e-6, 1e-4])
def test_a_hundred_thousand_positions_are_done_in_time(drift: float) -> None:
    rng = np.random.default_rng(3)
    seconds = np.arange(100_000)
    # A mooring that swings, drifts, and is left for a moment near the end of every day-long stay.
    lngs = rng.normal(0, 1e-4, 100_000) + drift * seconds + (seconds % 80_000 == 79_000)
    line = Track.of(seconds * SECOND, np.zeros(100_000), lngs)
    for stay in stays(line, 100.0, 80_000):
        assert stay.departure - stay.arrival >= 80_000 * SECOND
