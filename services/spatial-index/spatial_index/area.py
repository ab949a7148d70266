"""Areas on the globe, laid out flat: whatever crosses the antimeridian is cut there, whatever holds a pole reaches it.

Edges are straight in longitude and latitude, as GeoJSON has them (RFC 7946, 3.1.1).
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate

from meshkit.errors import InvalidInput, Reason

Ring: TypeAlias = NDArray[np.float64]
"""Longitudes and latitudes in degrees, shape (n, 2), the last position the same as the first."""

_EARTH_RADIUS_METERS = 6_371_007.180918475
"""Radius of the sphere with the area of the WGS84 ellipsoid, which H3 uses."""

_TURN = 360.0
_HALF_TURN = 180.0
_POLE = 90.0
_WORLD = shapely.box(-_HALF_TURN, -_POLE, _HALF_TURN, _POLE)

_MIN_POSITIONS = 4

_NEGLIGIBLE = 1e-12
"""Square degrees that rounding may make or lose; of a square, 0.1 m wide."""


@dataclass(frozen=True, slots=True)
class Area:
    """An area on the globe.

    Attributes:
        geometry: Valid polygons within longitudes -180 to 180 and latitudes -90 to 90, x being longitude.
    """

    geometry: shapely.Polygon | shapely.MultiPolygon

    def slices(self) -> Iterator[shapely.Polygon]:
        """Yields polygons that make up the area, none of them wider than 90 degrees of longitude."""
        west, _, east, _ = self.geometry.bounds
        if east - west <= _HALF_TURN / 2:
            yield from _polygons(self.geometry)
            return
        for edge in range(-180, 180, 90):
            strip = shapely.box(edge, -_POLE, edge + 90, _POLE)
            yield from _polygons(shapely.intersection(self.geometry, strip))

    def square_meters(self) -> float:
        """Returns the size on the sphere, exact for edges that are straight in longitude and latitude."""
        total = 0.0
        for polygon in _polygons(self.geometry):
            shell, *holes = (abs(_integral_of_sine(shapely.get_coordinates(ring))) for ring in _rings(polygon))
            total += shell - sum(holes)
        return total * _EARTH_RADIUS_METERS**2

    def perimeter_meters(self) -> float:
        """Returns the length of all borders on the sphere, the cuts at the antimeridian among them."""
        rings = (ring for polygon in _polygons(self.geometry) for ring in _rings(polygon))
        return sum(_length(np.radians(shapely.get_coordinates(ring))) for ring in rings) * _EARTH_RADIUS_METERS


def area_of_ring(ring: Ring, field: str) -> Area:
    """Returns the area within one ring, as `area_of_polygons`; `field` names the ring."""
    return Area(_laid_out(ring, field))


def area_of_polygons(polygons: Sequence[Sequence[Ring]], fields: Sequence[str]) -> Area:
    """Returns the area of polygons together, each a shell and its holes.

    An edge of more than 180 degrees of longitude takes the shorter way, unless it runs along a pole or is exactly 360
    degrees wide. A ring around the Earth encloses the pole on its smaller side, one along the equator that to its left.
    Rings may go round in either direction.

    Args:
        polygons: At least one.
        fields: The name of each polygon in errors; its rings are called `name[0]`, `name[1]` and so on.

    Raises:
        InvalidInput: With INVALID_GEOMETRY, when a ring is not closed, has no area or crosses itself, or a hole lies
            outside its shell or leaves nothing of it.
    """
    parts = [_polygon(rings, field) for rings, field in zip(polygons, fields, strict=True)]
    return Area(parts[0] if len(parts) == 1 else _polygonal(shapely.union_all(parts)))


def _polygon(rings: Sequence[Ring], field: str) -> shapely.Polygon | shapely.MultiPolygon:
    whole = _laid_out(rings[0], f"{field}[0]")
    shell = whole
    for index, ring in enumerate(rings[1:], 1):
        hole = _laid_out(ring, f"{field}[{index}]")
        outside = shapely.difference(hole, whole)
        if outside.area > _NEGLIGIBLE:
            spot = shapely.point_on_surface(outside)
            raise _refusal(f"{field}[{index}]", f"lies outside of its polygon's outer ring at {_name(spot.x, spot.y)}")
        shell = _polygonal(shapely.difference(shell, hole))
    if shell.area <= _NEGLIGIBLE:
        raise _refusal(field, "has no area: its holes fill it")
    return shell


def _laid_out(ring: Ring, field: str) -> shapely.Polygon | shapely.MultiPolygon:
    """Returns what a ring encloses."""
    _require_closed(ring, field)
    unwrapped = _unwrap(ring)
    turns = round((unwrapped[-1, 0] - unwrapped[0, 0]) / _TURN)
    if abs(turns) > 1:
        raise _refusal(field, "goes more than once around the Earth")
    polygon = shapely.Polygon(_close_over_pole(unwrapped) if turns else unwrapped)
    if not polygon.convex_hull.area:
        raise _refusal(field, "has no area")
    if not polygon.is_valid:
        raise _refusal(field, f"crosses or touches itself at {_point_of(shapely.is_valid_reason(polygon))}")
    return _fold(polygon, field)


def _require_closed(ring: Ring, field: str) -> None:
    if len(ring) < _MIN_POSITIONS:
        raise _refusal(field, f"must have at least {_MIN_POSITIONS} positions")
    # A ring around the Earth may begin at longitude -180 and end at 180: the same place.
    lng, lat = np.abs(ring[-1] - ring[0])
    if lat or lng not in {0.0, _TURN}:
        raise _refusal(field, "must end where it begins")


def _unwrap(ring: Ring) -> Ring:
    """Returns a ring whose longitudes go on beyond 180 degrees instead of jumping."""
    steps = np.diff(ring[:, 0])
    along_pole = (np.abs(ring[:-1, 1]) == _POLE) & (ring[:-1, 1] == ring[1:, 1])
    jumps = (np.abs(steps) > _HALF_TURN) & (np.abs(steps) != _TURN) & ~along_pole
    unwrapped = ring.copy()
    unwrapped[1:, 0] -= np.cumsum(np.where(jumps, np.copysign(_TURN, steps), 0.0))
    return unwrapped


def _close_over_pole(unwrapped: Ring) -> Ring:
    """Returns a ring around the Earth, led to the pole on its smaller side and back."""
    eastward = unwrapped[-1, 0] > unwrapped[0, 0]
    integral = _integral_of_sine(unwrapped) * (1 if eastward else -1)
    side = math.copysign(1.0, integral) if integral else (1.0 if eastward else -1.0)
    # The way to the pole starts where the ring comes nearest to it: there it cannot meet the ring again, even if that
    # turns back on its way.
    start = int(np.argmax(unwrapped[:-1, 1] * side))
    turn = unwrapped[-1] - unwrapped[0]
    around = np.concatenate([unwrapped[start:-1], unwrapped[: start + 1] + turn])
    over = [[around[-1, 0], side * _POLE], [around[0, 0], side * _POLE], around[0]]
    return np.concatenate([around, over])


def _fold(polygon: shapely.Polygon, field: str) -> shapely.Polygon | shapely.MultiPolygon:
    """Returns a polygon of unbounded longitudes, brought back within -180 to 180."""
    west, _, east, _ = polygon.bounds
    if west >= -_HALF_TURN and east <= _HALF_TURN:
        return polygon
    parts = []
    for turns in range(math.floor((west + _HALF_TURN) / _TURN), math.ceil((east - _HALF_TURN) / _TURN) + 1):
        shifted = translate(polygon, -turns * _TURN)
        parts += list(_polygons(shapely.intersection(shifted, _WORLD)))
    folded = _polygonal(shapely.union_all(parts))
    if sum(part.area for part in parts) - folded.area > _NEGLIGIBLE * _TURN**2:
        raise _refusal(field, "overlaps itself around the Earth")
    return folded


def _polygonal(geometry: shapely.Geometry) -> shapely.Polygon | shapely.MultiPolygon:
    """Returns the polygons of a geometry without the lines and points where its parts only touched."""
    polygons = list(_polygons(geometry))
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


def _polygons(geometry: shapely.Geometry) -> Iterator[shapely.Polygon]:
    for part in shapely.get_parts(geometry):
        if isinstance(part, shapely.Polygon) and not part.is_empty:
            yield part
        elif isinstance(part, shapely.MultiPolygon):
            yield from _polygons(part)


def _rings(polygon: shapely.Polygon) -> Iterator[shapely.LinearRing]:
    yield polygon.exterior
    yield from polygon.interiors


def _integral_of_sine(positions: Ring) -> float:
    """Returns the integral of sin(latitude) over the longitude along a line, in radians.

    Around a closed ring it is minus the area within, on the unit sphere and by the right-hand rule.
    """
    lng, lat = np.radians(positions).T
    half = np.diff(lat) / 2
    # The mean of the sine between two latitudes, by the sum-to-product identity so that nothing cancels.
    mean = np.sin((lat[1:] + lat[:-1]) / 2) * np.sinc(half / np.pi)
    return float(np.sum(np.diff(lng) * mean))


def _length(radians: Ring) -> float:
    """Returns the length of a line, as if its edges were great circles, in radians."""
    lng, lat = radians.T
    haversines = np.sin(np.diff(lat) / 2) ** 2 + np.cos(lat[1:]) * np.cos(lat[:-1]) * np.sin(np.diff(lng) / 2) ** 2
    return float(np.sum(2 * np.arcsin(np.sqrt(np.minimum(haversines, 1.0)))))


def _point_of(reason: str) -> str:
    """Returns the point that GEOS names in what it says of an invalid polygon."""
    found = re.search(r"\[(\S+) (\S+)\]", reason)
    return _name(float(found[1]), float(found[2])) if found else "a point"


def _name(lng: float, lat: float) -> str:
    """Writes a position as GeoJSON has it, longitude first."""
    return f"[{round((lng + _HALF_TURN) % _TURN - _HALF_TURN, 6):g}, {round(lat, 6):g}]"


def _refusal(field: str, description: str) -> InvalidInput:
    return InvalidInput(field, description, reason=Reason.INVALID_GEOMETRY)
