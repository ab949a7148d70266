import math

import h3  # type: ignore[import-untyped]  # ships no types
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trajectory.tracks import WGS84, meters, track, tracks
from trajectory.summary import MAX_CELLS, Summary, bounds, summarize
from trajectory.track import Track


def summary(line: Track, stop_speed: float = 1.0, cell_resolution: int = 8) -> Summary:
    return summarize(line, stop_speed=stop_speed, cell_resolution=cell_resolution)


@given(line=tracks())
def test_the_length_is_that_of_the_ellipsoid(line: Track) -> None:
    assert summary(line).length == pytest.approx(WGS84.line_length(line.lngs, line.lats), rel=1e-12, abs=1e-6)


@given(line=tracks())
def test_the_way_back_is_as_long(line: Track) -> None:
    back = Track.of(line.times, line.lats[::-1], line.lngs[::-1])
    there, here = summary(line), summary(back)
    assert here.length == pytest.approx(there.length, rel=1e-9)
    assert here.displacement == pytest.approx(there.displacement, rel=1e-9, abs=1e-6)
    assert here.radius_of_gyration == pytest.approx(there.radius_of_gyration, rel=1e-9, abs=1e-6)


@given(line=tracks(min_size=2))
def test_the_figures_fit_each_other(line: Track) -> None:
    found = summary(line)
    assert found.displacement <= found.length + 1e-6
    assert 0 <= found.moving <= found.end - found.start
    assert found.speeds is not None
    percentiles = found.speeds.percentiles
    assert list(percentiles) == sorted(percentiles)
    assert found.speeds.mean <= found.speeds.maximum * (1 + 1e-9)
    assert percentiles[-1] <= found.speeds.maximum
    if found.straightness is not None:
        assert 0 <= found.straightness <= 1
    if found.bearing is not None:
        assert 0 <= found.bearing.mean < 360
        assert 0 <= found.bearing.concentration <= 1


@given(line=tracks())
def test_the_rectangle_holds_every_position(line: Track) -> None:
    box = bounds(line.lats, line.lngs)
    assert -180 <= box.west <= 180
    assert -180 <= box.east <= 180
    width = (box.east - box.west) % 360 if box.west > box.east else box.east - box.west
    for lat, lng in zip(line.lats, line.lngs, strict=True):
        assert box.south <= lat <= box.north
        assert (lng - box.west) % 360 <= width + 1e-9 or math.isclose((lng - box.west) % 360, 360)


@given(line=tracks(min_size=2), turn=st.integers(0, 360))
def test_turning_the_earth_changes_no_distance(line: Track, turn: int) -> None:
    turned = Track.of(line.times, line.lats, (line.lngs + turn + 180) % 360 - 180)
    there, here = summary(line), summary(turned)
    assert here.length == pytest.approx(there.length, rel=1e-6, abs=1e-4)
    assert here.radius_of_gyration == pytest.approx(there.radius_of_gyration, rel=1e-6, abs=1e-4)


@given(line=tracks())
def test_the_cells_are_those_of_h3(line: Track) -> None:
    expected = [h3.latlng_to_cell(lat, lng, 8) for lat, lng in zip(line.lats, line.lngs, strict=True)]
    found = summary(line)
    assert found.cells == list(dict.fromkeys(expected))
    assert found.cell_count == len(set(expected))


def test_names_a_thousand_cells_and_counts_all() -> None:
    line = track(*((second, 0.0, second / 10) for second in range(1500)))
    found = summary(line)
    assert (len(found.cells), found.cell_count) == (MAX_CELLS, 1500)


def test_percentiles_are_of_time_and_not_of_steps() -> None:
    # Half an hour in one slow step, then a minute in sixty fast ones.
    slow = [(0, 0.0, 0.0), (1800, 0.0, 0.001)]
    fast = [(1800 + second, 0.0, 0.001 + second / 1000) for second in range(1, 61)]
    speeds = summary(track(*slow, *fast)).speeds
    assert speeds is not None
    assert speeds.percentiles[0] == pytest.approx(111.319 / 1800, rel=1e-3)
    assert speeds.percentiles[3] == pytest.approx(111.319, rel=1e-3)


def test_moving_is_what_is_faster_than_the_stop_speed() -> None:
    line = track((0, 0.0, 0.0), (100, 0.0, 0.0), (200, 0.0, 0.01), (300, 0.0, 0.01))
    found = summary(line)
    assert found.moving == 100_000_000
    assert found.speeds is not None
    assert found.speeds.moving_mean == pytest.approx(11.132, rel=1e-3)


def test_bearings_around_north_have_their_mean_in_the_north() -> None:
    found = summary(track((0, 0.0, 0.0), (10, 0.1, 0.001), (20, 0.2, 0.0)))
    assert found.bearing is not None
    assert min(found.bearing.mean, 360 - found.bearing.mean) < 0.1
    assert found.bearing.concentration > 0.99


def test_a_long_step_counts_for_more_than_a_short_one() -> None:
    found = summary(track((0, 0.0, 0.0), (10, 0.0, 1.0), (20, 0.01, 1.0), (30, 0.02, 1.0)))
    assert found.bearing is not None
    assert found.bearing.mean == pytest.approx(88.9, abs=0.1)


def test_there_and_back_has_no_direction_and_no_straightness() -> None:
    found = summary(track((0, 0.0, 0.0), (10, 0.0, 0.1), (20, 0.0, 0.0)))
    assert found.straightness == pytest.approx(0.0)
    assert found.bearing is not None
    assert found.bearing.concentration == pytest.approx(0.0, abs=1e-9)


def test_the_middle_of_a_track_over_the_antimeridian_is_on_it() -> None:
    found = summary(track((0, 10.0, 179.0), (10, 10.0, -179.0)))
    assert abs(found.centre[1]) == pytest.approx(180.0)
    assert found.radius_of_gyration == pytest.approx(meters(*found.centre, 10.0, 179.0))
    assert (found.bounds.west, found.bounds.east) == (179.0, -179.0)


def test_a_way_around_the_world_is_as_wide_as_the_world() -> None:
    box = bounds(np.zeros(9), np.array([0.0, 45, 90, 135, 180, -135, -90, -45, 0]))
    assert (box.west, box.east) == (-180.0, 180.0)


def test_equal_times_divide_by_nothing() -> None:
    found = summary(Track.of([5, 5], [0.0, 1.0], [0.0, 1.0]))
    assert found.speeds is None
    assert found.length > 0


def test_a_teleport_spoils_the_maximum_and_not_the_percentiles() -> None:
    walk = [(second, 0.0, second / 1e5) for second in range(1000)]
    walk[500] = (500, 45.0, 90.0)
    speeds = summary(track(*walk)).speeds
    assert speeds is not None
    assert speeds.maximum > 1e6
    assert speeds.percentiles[2] == pytest.approx(1.11, rel=0.01)
