"""Tracks in the formats of others: Google's encoded polyline, GeoJSON, GPX."""

from itertools import pairwise
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
import polyline

from trajectory.summary import bounds
from trajectory.track import Floats, Track

_POLYLINE_DECIMALS: Final = 5
_GPX_DECIMALS: Final = 7

Vertex = list[float]
Json = dict[str, Any]


def to_polyline(track: Track) -> str:
    """Returns Google's encoded polyline with five decimals, which knows no antimeridian and needs none."""
    return polyline.encode(list(zip(track.lats.tolist(), track.lngs.tolist(), strict=True)), _POLYLINE_DECIMALS)


def to_gpx(entity_id: str, track: Track) -> str:
    """Returns a GPX 1.1 document.

    Written by hand, because gpxpy takes 1.2 s for 100,000 positions and this 0.3 s; the tests read it with gpxpy.
    """
    # GPX longitudes are below 180, also once they are rounded.
    lngs = np.round(track.lngs, _GPX_DECIMALS)
    lngs[lngs == 180.0] = -180.0  # noqa: PLR2004 -- the antimeridian
    elevations = ["" if np.isnan(each) else f"<ele>{each:.3f}</ele>" for each in track.altitudes.tolist()]
    points = [
        f'<trkpt lat="{lat:.{_GPX_DECIMALS}f}" lon="{lng:.{_GPX_DECIMALS}f}">{elevation}<time>{time}</time></trkpt>\n'
        for lat, lng, elevation, time in zip(
            track.lats.tolist(), lngs.tolist(), elevations, to_rfc3339(track), strict=True
        )
    ]
    return "".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>\n',
            '<gpx version="1.1" creator="geomesh" xmlns="http://www.topografix.com/GPX/1/1">\n',
            f"<trk><name>{escape(entity_id)}</name><trkseg>\n",
            *points,
            "</trkseg></trk>\n</gpx>\n",
        ]
    )


def to_geojson(entity_id: str, track: Track) -> Json:
    """Returns a GeoJSON Feature (RFC 7946), its line cut where it crosses the antimeridian (section 3.1.9).

    Coordinates have a third number, the altitude in metres, when every position has one.
    """
    geometry, times = _geometry(track)
    box = bounds(track.lats, track.lngs)
    return {
        "type": "Feature",
        "bbox": [box.west, box.south, box.east, box.north],
        "geometry": geometry,
        "properties": {"entityId": entity_id, "times": times},
    }


def to_rfc3339(track: Track) -> list[str]:
    """Returns the times in UTC, with six decimals where a time has a fraction of a second and none where it has not."""
    return _format_times(track.times)


def _format_times(times: np.typing.NDArray[np.int64]) -> list[str]:
    texts = np.datetime_as_string(times.astype("datetime64[us]"), unit="us").tolist()
    return [f"{text.removesuffix('.000000')}Z" for text in texts]


def _geometry(track: Track) -> tuple[Json, object]:
    with_altitudes = not np.isnan(track.altitudes).any()
    if len(track) == 1:
        (time,) = to_rfc3339(track)
        return {"type": "Point", "coordinates": _vertices(track.lngs, track, with_altitudes=with_altitudes)[0]}, time
    parts = cut_at_antimeridian(track)
    lines = [_vertices(lngs, part, with_altitudes=with_altitudes) for lngs, part in parts]
    times = [to_rfc3339(part) for _, part in parts]
    if len(parts) == 1:
        return {"type": "LineString", "coordinates": lines[0]}, times[0]
    return {"type": "MultiLineString", "coordinates": lines}, times


def _vertices(lngs: Floats, track: Track, *, with_altitudes: bool) -> list[Vertex]:
    columns = [lngs, track.lats]
    if with_altitudes:
        # Stored in single precision, whose noise begins below the millimetre.
        columns.append(np.round(track.altitudes, 3))
    vertices: list[Vertex] = np.stack(columns, axis=-1).tolist()
    return vertices


def cut_at_antimeridian(track: Track) -> list[tuple[Floats, Track]]:
    """Cuts a track so that no part crosses the antimeridian.

    Successive positions are joined the shorter way round. Where that way crosses, both parts get a vertex on the
    antimeridian, one at 180 and one at -180 degrees, with latitude, altitude and time in proportion.

    Args:
        track: At least two positions.

    Returns:
        The parts in order, each of at least two vertices: its longitudes, and the track, whose own longitudes are
        unrolled over the antimeridian and not to be used.
    """
    unrolled = _with_crossings(track)
    lngs = unrolled.lngs
    # Which copy of the world each step runs through; its ends may lie on the border, its middle does not.
    worlds = np.floor(((lngs[:-1] + lngs[1:]) / 2 + 180.0) / 360.0)
    turns = np.flatnonzero(np.diff(worlds)) + 1
    borders = [0, *turns.tolist(), len(worlds)]
    parts = []
    for begin, end in pairwise(borders):
        rows = slice(begin, end + 1)
        # Unrolling adds up roundings, which must not carry a vertex on the border past it.
        parts.append((np.clip(lngs[rows] - 360.0 * worlds[begin], -180.0, 180.0), unrolled.take(rows)))
    return parts


def _with_crossings(track: Track) -> Track:
    """Returns the track with longitudes unrolled and a vertex wherever a step crosses the antimeridian."""
    lngs = np.unwrap(track.lngs, period=360.0)
    worlds = (lngs + 180.0) / 360.0
    low, high = np.minimum(worlds[:-1], worlds[1:]), np.maximum(worlds[:-1], worlds[1:])
    border = np.floor(low) + 1
    crossing = np.flatnonzero(border < high)
    at = border[crossing] * 360.0 - 180.0
    share = (at - lngs[crossing]) / (lngs[crossing + 1] - lngs[crossing])

    def between(column: Floats) -> Floats:
        inserted = column[crossing] + share * (column[crossing + 1] - column[crossing])
        return np.insert(column, crossing + 1, inserted)

    times = np.insert(
        track.times,
        crossing + 1,
        track.times[crossing] + (share * (track.times[crossing + 1] - track.times[crossing])).astype(np.int64),
    )
    return Track.of(times, between(track.lats), np.insert(lngs, crossing + 1, at), between(track.altitudes))
