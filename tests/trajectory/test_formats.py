from itertools import pairwise

import gpxpy
import numpy as np
import polyline
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trajectory.tracks import track, tracks
from trajectory.formats import cut_at_antimeridian, to_geojson, to_gpx, to_polyline, to_rfc3339
from trajectory.track import Track, to_datetime


@given(line=tracks())
def test_a_polyline_leads_back_to_the_track(line: Track) -> None:
    lats, lngs = np.transpose(polyline.decode(to_polyline(line)))
    assert lats == pytest.approx(line.lats, abs=0.5001e-5)
    assert lngs == pytest.approx(line.lngs, abs=0.5001e-5)


def test_writes_the_polyline_of_googles_documentation() -> None:
    documented = track((0, 38.5, -120.2), (1, 40.7, -120.95), (2, 43.252, -126.453))
    assert to_polyline(documented) == "_p~iF~ps|U_ulLnnqC_mqNvxq`@"


@given(line=tracks())
def test_gpx_is_read_back_by_others_as_the_track(line: Track) -> None:
    (segment,) = gpxpy.parse(to_gpx("a.b~c@d-e", line)).tracks[0].segments
    assert [point.latitude for point in segment.points] == pytest.approx(line.lats, abs=1e-7)
    assert all(-180 <= point.longitude < 180 for point in segment.points)
    assert np.cos(np.radians([point.longitude for point in segment.points])) == pytest.approx(
        np.cos(np.radians(line.lngs)), abs=1e-7
    )
    assert [point.time for point in segment.points] == [to_datetime(time) for time in line.times.tolist()]
    assert not any(point.elevation for point in segment.points)


def test_a_gpx_longitude_is_below_180_also_when_it_is_rounded_up() -> None:
    (segment,) = gpxpy.parse(to_gpx("a", track((0, 0.0, 179.99999997), (1, 0.0, 180.0)))).tracks[0].segments
    assert [point.longitude for point in segment.points] == [-180.0, -180.0]


def test_gpx_has_the_altitudes_that_are_known() -> None:
    line = Track.of([0, 1], [1.0, 2.0], [1.0, 2.0], [float(np.float32(12.3)), np.nan])
    points = gpxpy.parse(to_gpx("a", line)).tracks[0].segments[0].points
    assert [point.elevation for point in points] == [12.3, None]


@pytest.mark.parametrize(
    ("microseconds", "expected"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (-30_610_224_000_000_000, "1000-01-01T00:00:00Z"),
    ],
)
def test_writes_times_by_rfc_3339(microseconds: int, expected: str) -> None:
    assert to_rfc3339(Track.of([microseconds], [0.0], [0.0])) == [expected]


@given(line=tracks(min_size=2))
def test_no_part_of_a_cut_track_crosses_the_antimeridian(line: Track) -> None:
    for lngs, part in cut_at_antimeridian(line):
        assert len(part) >= 2
        assert (np.abs(lngs) <= 180).all()
        assert (np.abs(np.diff(lngs)) <= 180 + 1e-9).all()


def test_roundings_on_the_antimeridian_carry_no_vertex_past_it() -> None:
    line = track((0, 0.0, 90.0), (10, 0.0, -179.999999999999), (20, 0.0, 179.999999999999), (30, 0.0, 180.0))
    assert all((np.abs(lngs) <= 180).all() for lngs, _ in cut_at_antimeridian(line))


@given(line=tracks(min_size=2))
def test_the_parts_of_a_cut_track_hold_it_all_in_order_and_join(line: Track) -> None:
    parts = cut_at_antimeridian(line)
    vertices = [vertex for _, part in parts for vertex in zip(part.times, part.lats, strict=True)]
    remaining = iter(vertices)
    assert all(position in remaining for position in zip(line.times, line.lats, strict=True))
    assert [time for time, _ in vertices] == sorted(time for time, _ in vertices)
    for (lngs, part), (next_lngs, next_part) in pairwise(parts):
        assert abs(lngs[-1]) == abs(next_lngs[0]) == 180
        assert lngs[-1] == -next_lngs[0]
        assert part.lats[-1] == next_part.lats[0]


def test_the_line_of_rfc_7946_is_cut_as_there() -> None:
    line = track((0, 45.0, 170.0), (10, 45.0, -170.0))
    assert to_geojson("a", line) == {
        "type": "Feature",
        "bbox": [170.0, 45.0, -170.0, 45.0],
        "geometry": {
            "type": "MultiLineString",
            "coordinates": [[[170.0, 45.0], [180.0, 45.0]], [[-180.0, 45.0], [-170.0, 45.0]]],
        },
        "properties": {
            "entityId": "a",
            "times": [
                ["1970-01-01T00:00:00Z", "1970-01-01T00:00:05Z"],
                ["1970-01-01T00:00:05Z", "1970-01-01T00:00:10Z"],
            ],
        },
    }


def test_altitudes_are_the_third_coordinate_when_all_are_known() -> None:
    line = Track.of([0, 1], [1.0, 2.0], [1.0, 2.0], np.array([12.3, 4.5], dtype=np.float32))
    assert to_geojson("a", line)["geometry"]["coordinates"] == [[1.0, 1.0, 12.3], [2.0, 2.0, 4.5]]
    partly = Track.of([0, 1], [1.0, 2.0], [1.0, 2.0], [12.3, np.nan])
    assert to_geojson("a", partly)["geometry"]["coordinates"] == [[1.0, 1.0], [2.0, 2.0]]


def test_an_altitude_that_is_missing_before_the_antimeridian_is_missing_beyond_it_too() -> None:
    line = Track.of([0, 1, 2], [0.0] * 3, [178.0, 179.0, -179.0], [np.nan, 4.5, 12.3])
    coordinates = to_geojson("a", line)["geometry"]["coordinates"]
    assert [len(vertex) for part in coordinates for vertex in part] == [2] * 5


@given(lng=st.sampled_from([180.0, -180.0]))
def test_a_line_along_the_antimeridian_crosses_nothing(lng: float) -> None:
    geometry = to_geojson("a", track((0, 0.0, lng), (1, 1.0, lng), (2, 2.0, lng)))["geometry"]
    assert geometry["type"] == "LineString"


def test_touching_the_antimeridian_is_not_crossing_it() -> None:
    geometry = to_geojson("a", track((0, 0.0, 179.0), (1, 1.0, -180.0), (2, 2.0, 179.0)))["geometry"]
    assert geometry == {"type": "LineString", "coordinates": [[179.0, 0.0], [180.0, 1.0], [179.0, 2.0]]}


def test_leaving_the_antimeridian_is_not_crossing_it() -> None:
    geometry = to_geojson("a", track((0, 0.0, -180.0), (1, 1.0, -179.0)))["geometry"]
    assert geometry == {"type": "LineString", "coordinates": [[-180.0, 0.0], [-179.0, 1.0]]}


def test_one_position_is_a_point() -> None:
    assert to_geojson("a", track((0, 1.0, 2.0)))["geometry"] == {"type": "Point", "coordinates": [2.0, 1.0]}
