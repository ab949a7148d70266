"""Tracks that someone recorded, measured by us and by others."""

import csv
import gzip
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import gpxpy
import numpy as np
import pytest
from gpxpy.geo import Location, length_2d

from tests.trajectory.conftest import SHARED
from trajectory.ais import read_ais
from trajectory.load import FILE
from trajectory.positions import Position
from trajectory.settings import Settings
from trajectory.simplify import douglas_peucker, time_ratio
from trajectory.stays import find_stays
from trajectory.summary import summarize
from trajectory.track import Track, to_microseconds

GPX = ["around-visnjan-with-car", "cerknicko-jezero", "korita-zbevnica", "Mojstrovka"]
MINUTE = 60_000_000

needs_shared = pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not here")


def gpx_points(path: Path) -> list[gpxpy.gpx.GPXTrackPoint]:
    """Returns the longest segment of a GPX file."""
    segments = [segment for track in gpxpy.parse(path.read_text()).tracks for segment in track.segments]
    longest = max(segments, key=lambda segment: len(segment.points))
    return list(longest.points)


def numbered(points: list[gpxpy.gpx.GPXTrackPoint]) -> Track:
    """Returns the points as a track with a second between each two."""
    lats, lngs = np.transpose([(point.latitude, point.longitude) for point in points])
    return Track.of(np.arange(len(points)) * 1_000_000, lats, lngs)


def timed(path: Path) -> Track:
    """Returns a GPX file as a track with its own times."""
    rows = {to_microseconds(point.time): (point.latitude, point.longitude) for point in gpx_points(path) if point.time}
    return Track.of(list(rows), *np.transpose(list(rows.values())))


@needs_shared
@pytest.mark.parametrize("name", [f"gpxpy_{each}.gpx" for each in GPX] + ["movingpandas_304_to_UL.gpx"])
def test_lengths_are_those_of_gpxpy(name: str) -> None:
    points = gpx_points(SHARED / name)
    assert len(points) > 10
    # gpxpy measures on a sphere, which is up to 0.6 % off.
    expected = length_2d([Location(point.latitude, point.longitude) for point in points])
    assert summarize(numbered(points), stop_speed=1.0, cell_resolution=8).length == pytest.approx(expected, rel=6e-3)


@needs_shared
def test_the_walk_to_the_university_is_walked_at_a_walkers_pace() -> None:
    # movingpandas' example: an activity that was recorded with a phone every few seconds.
    line = timed(SHARED / "movingpandas_304_to_UL.gpx")
    summary = summarize(line, stop_speed=5 / 3.6, cell_resolution=9)
    assert summary.speeds is not None
    assert 0.5 < summary.speeds.percentiles[0] < 12
    assert summary.moving <= summary.end - summary.start
    for simplifier in (douglas_peucker, time_ratio):
        kept = simplifier(line, 10.0)
        assert kept.sum() < 0.5 * len(line)
        thin = summarize(line.take(kept), stop_speed=5 / 3.6, cell_resolution=9)
        assert thin.length == pytest.approx(summary.length, rel=0.05)


@needs_shared
def test_a_phone_on_a_train_stays_nowhere_for_long() -> None:
    # trackintel's Posmo sample: 52 minutes, with fixes that jump.
    with (SHARED / "posmo_trajectory.csv").open() as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    moments = {int(np.datetime64(row["tracked_at"], "us").astype(np.int64)): row for row in rows}
    times = sorted(moments)
    line = Track.of(
        times,
        [float(moments[time]["latitude"]) for time in times],
        [float(moments[time]["longitude"]) for time in times],
    )
    assert not find_stays(line, max_distance_meters=200.0, min_duration=30 * MINUTE)
    speeds = summarize(line, stop_speed=5 / 3.6, cell_resolution=8).speeds
    assert speeds is not None
    assert speeds.maximum > 300 > speeds.percentiles[0]


@needs_shared
def test_cars_and_buses_go_as_far_as_was_recorded_with_them() -> None:
    with (SHARED / "gotrack_tracks.csv").open() as file:
        recorded = {row["id"]: float(row["distance"]) for row in csv.DictReader(file)}
    tracks: dict[str, list[tuple[float, float]]] = {}
    with gzip.open(SHARED / "gotrack_points.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            tracks.setdefault(row["track_id"], []).append((float(row["latitude"]), float(row["longitude"])))
    ratios = [
        length_of(points) / 1000 / recorded[track_id] for track_id, points in tracks.items() if recorded[track_id] > 1
    ]
    assert len(ratios) > 100
    assert np.median(ratios) == pytest.approx(1.0, abs=0.03)


def length_of(points: list[tuple[float, float]]) -> float:
    """Returns the length in metres of a track whose times do not matter."""
    line = Track.of(np.arange(len(points)), *np.transpose(points))
    return summarize(line, stop_speed=1.0, cell_resolution=9).length


def test_ships_at_anchor_or_moored_stay_and_ships_under_way_do_not() -> None:
    """Holds stays against the status that the crews set: 1 at anchor, 5 moored, 0 under way (and making 4 knots)."""
    shares: dict[int, list[float]] = {1: [], 5: [], 0: []}
    for positions in vessels():
        statuses = {json.loads(each.attributes or "{}").get("navigation_status") for each in positions}
        (status, *others) = statuses
        under_way = min(each.speed or 0.0 for each in positions) > 2.0
        if len(positions) < 5 or others or status not in shares or (status == 0 and not under_way):
            continue
        times = [to_microseconds(each.time) for each in positions]
        line = Track.of(times, [each.lat for each in positions], [each.lng for each in positions])
        # A ship at anchor swings in a circle whose radius is its chain and its own length.
        limit = 1000.0 if status == 1 else 100.0
        stays = find_stays(line, max_distance_meters=limit, min_duration=5 * MINUTE)
        shares[status].append(sum(stay.departure - stay.arrival for stay in stays) / (times[-1] - times[0]))
    anchored, moored, under_way_shares = (np.array(shares[status]) for status in (1, 5, 0))
    assert min(len(anchored), len(moored), len(under_way_shares)) > 100
    assert np.mean(anchored > 0.9) > 0.99
    assert np.mean(moored > 0.9) > 0.96
    assert np.mean(under_way_shares > 0.0) < 0.02


def vessels() -> Iterator[list[Position]]:
    """Yields the positions of each vessel of the AIS sample, one a moment, in order of time."""
    found: dict[str, dict[datetime, Position]] = {}
    for position in read_ais(Settings().data_dir / FILE):
        found.setdefault(position.entity_id, {}).setdefault(position.time, position)
    for moments in found.values():
        yield [moments[time] for time in sorted(moments)]
