"""Reads GeoJSON polygons out of protobuf's open-ended lists."""

from collections.abc import Iterator

import numpy as np
from google.protobuf.struct_pb2 import ListValue, Value

from geomesh.spatial_index.v1 import spatial_index_pb2 as pb
from meshkit.errors import InvalidInput, Reason
from spatial_index.area import Area, Ring, area_of_polygons

_AXES = 2
_HALF_TURN = 180
_POLE = 90
_MOST_POSITIONS = 10_000


def area(geometry: pb.Geometry, field: str) -> Area:
    """Returns the area of a Polygon or MultiPolygon.

    Raises:
        InvalidInput: With INVALID_GEOMETRY, naming the place below `field`, like `area.coordinates[0][3]`.
    """
    coordinates = f"{field}.coordinates"
    if geometry.type == "MultiPolygon":
        found = list(_items(geometry.coordinates, coordinates, "a polygon"))
    else:
        found = [(coordinates, geometry.coordinates)]
    polygons = []
    positions = 0
    for name, rings in found:
        polygon = []
        for ring_name, ring in _items(rings, name, "a ring"):
            positions += len(ring.values)
            if positions > _MOST_POSITIONS:
                raise _refusal(coordinates, f"must have at most {_MOST_POSITIONS} positions")
            polygon.append(_ring(ring, ring_name))
        polygons.append(polygon)
    return area_of_polygons(polygons, [name for name, _ in found])


def _items(values: ListValue, field: str, what: str) -> Iterator[tuple[str, ListValue]]:
    """Yields the arrays within an array with their names."""
    if not values.values:
        raise _refusal(field, f"must have {what}")
    for index, value in enumerate(values.values):
        name = f"{field}[{index}]"
        yield name, _array(value, name)


def _array(value: Value, field: str) -> ListValue:
    if value.WhichOneof("kind") != "list_value":
        raise _refusal(field, "must be an array")
    return value.list_value


def _ring(values: ListValue, field: str) -> Ring:
    positions = [_position(value, field, index) for index, value in enumerate(values.values)]
    return np.array(positions, dtype=np.float64).reshape(-1, _AXES)


def _position(value: Value, field: str, index: int) -> tuple[float, float]:
    name = f"{field}[{index}]"
    axes = _array(value, name).values
    if len(axes) < _AXES or any(axis.WhichOneof("kind") != "number_value" for axis in axes):
        raise _refusal(name, "must be [longitude, latitude], two numbers")
    lng, lat = axes[0].number_value, axes[1].number_value
    # So written that NaN is refused.
    if not (abs(lng) <= _HALF_TURN and abs(lat) <= _POLE):
        raise _refusal(name, "must have a longitude from -180 to 180 and a latitude from -90 to 90 degrees")
    return lng, lat


def _refusal(field: str, description: str) -> InvalidInput:
    return InvalidInput(field, description, reason=Reason.INVALID_GEOMETRY)
