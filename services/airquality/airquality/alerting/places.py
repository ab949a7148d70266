"""Where a rule looks: which rings are a polygon, in which box a circle lies, and the one value of several stations."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from airquality.alerting.definition import Box, Circle, Definition, Measure, Polygon
from airquality.alerting.rules import Direction, State
from airquality.inverse_distance import interpolate
from airquality.stations import latitudes_around
from meshkit.errors import InvalidInput, Reason

_MOST_POSITIONS: Final = 1000
_LEAST_POSITIONS: Final = 4
_METERS_PER_DEGREE: Final = 110_574.0
_POLAR: Final = 89.0


def check_polygon(polygon: Polygon, field: str) -> None:
    """Returns when the coordinates are those of a GeoJSON Polygon or MultiPolygon.

    Raises:
        InvalidInput: They are not.
    """
    polygons = [polygon.coordinates] if polygon.type == "Polygon" else polygon.coordinates
    rings = [ring for each in _lists(polygons, field) for ring in _lists(each, field)]
    if sum(len(_lists(ring, field)) for ring in rings) > _MOST_POSITIONS:
        raise _wrong(field, f"must not have more than {_MOST_POSITIONS} positions")
    for ring in rings:
        if len(ring) < _LEAST_POSITIONS or ring[0] != ring[-1]:
            raise _wrong(field, "a ring must have at least 4 positions, the last the same as the first")
        for position in ring:
            if not _is_position(position):
                raise _wrong(field, f"{json.dumps(position)[:80]} is no [longitude, latitude] in degrees")


def geojson_of(place: Circle | Box | Polygon) -> str:
    """Returns the geometry that stations are looked up with: of a circle a box that holds it."""
    if isinstance(place, Polygon):
        return json.dumps({"type": place.type, "coordinates": place.coordinates})
    boxes = [place] if isinstance(place, Box) else [_around(place)]
    if boxes[0].west > boxes[0].east:
        boxes = [replace(boxes[0], east=180.0), replace(boxes[0], west=-180.0)]
    return json.dumps({"type": "MultiPolygon", "coordinates": [[_ring(each)] for each in boxes]})


def merged(
    definition: Definition, state: State, values: Mapping[str, tuple[datetime, float, float]]
) -> tuple[State, datetime, float]:
    """Takes what stations report now into the state, and returns it with the value of the place and its time.

    A station's report counts unless a newer one of it is known, and no longer than the condition's longest gap. Of
    several stations the extreme counts; around a point a concentration is estimated by inverse squared distance.

    Args:
        definition: The rule.
        state: Where it stands.
        values: Time, value and distance in metres by station, at least one; values are finite.

    Returns:
        The state, the newest time and the value at it.
    """
    places = dict(state.places)
    for station, (time, value, meters) in values.items():
        if station not in places or places[station][0] <= time:
            places[station] = (time, value, meters)
    newest = max(time for time, _, _ in places.values())
    places = {name: each for name, each in places.items() if newest - each[0] <= definition.condition.max_gap}
    if isinstance(definition.place, Circle) and definition.measure is not Measure.INDEX:
        near = sorted((meters, value) for _, value, meters in places.values())[:_NEAREST]
        value = interpolate([meters for meters, _ in near], [value for _, value in near]).value
    else:
        extreme = max if definition.condition.direction is Direction.ABOVE else min
        value = extreme(value for _, value, _ in places.values())
    return replace(state, places=places), newest, value


_NEAREST: Final = 5
"""As many stations as GetCurrentConditions makes an estimate of."""


def _around(circle: Circle) -> Box:
    south, north = latitudes_around(circle.lat, circle.radius_meters)
    farthest = max(abs(south), abs(north))
    if farthest > _POLAR:
        return Box(-180.0, 180.0, south, north)
    # A hundredth more than on the sphere: the Earth's flattening changes a degree of longitude by a third of that.
    degrees = 1.01 * circle.radius_meters / (_METERS_PER_DEGREE * math.cos(math.radians(farthest)))
    west, east = circle.lng - degrees, circle.lng + degrees
    return Box(_wrapped(west), _wrapped(east), south, north)


def _wrapped(degrees: float) -> float:
    return (degrees + 180.0) % 360.0 - 180.0


def _ring(box: Box) -> list[list[float]]:
    return [
        [box.west, box.south],
        [box.east, box.south],
        [box.east, box.north],
        [box.west, box.north],
        [box.west, box.south],
    ]


def _is_position(position: Any) -> bool:
    return (
        isinstance(position, list)
        and len(position) in (2, 3)
        and all(isinstance(each, float) and math.isfinite(each) for each in position)
        and abs(position[0]) <= 180.0  # noqa: PLR2004 -- degrees
        and abs(position[1]) <= 90.0  # noqa: PLR2004 -- degrees
    )


def _lists(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _wrong(field, "must be arrays of rings of positions, none of them empty")
    return value


def _wrong(field: str, description: str) -> InvalidInput:
    return InvalidInput(field, description, reason=Reason.INVALID_GEOMETRY)
