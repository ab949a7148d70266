"""Places on the WGS84 ellipsoid as points in space, where neither the antimeridian nor the poles are special.

Coordinates are metres from the centre of the Earth: x towards latitude 0, longitude 0; y towards longitude 90; z north
(EPSG:4978 at height 0).
"""

import math
from collections.abc import Iterable
from itertools import product
from typing import TypeAlias

Point: TypeAlias = tuple[float, float, float]
"""x, y and z in metres."""

Box: TypeAlias = tuple[Point, Point]
"""The corners of least and of greatest coordinates."""

_MAJOR_METERS = 6_378_137.0
_FLATTENING = 1 / 298.257223563
_MINOR_METERS = _MAJOR_METERS * (1 - _FLATTENING)
_ECCENTRICITY_SQUARED = _FLATTENING * (2 - _FLATTENING)

_FLATTEST_RADIUS_METERS = _MAJOR_METERS**2 / _MINOR_METERS
"""Radius of curvature at the poles, where the ellipsoid is flattest."""

_SLACK_METERS = 0.001
"""More than what rounding moves a point or a distance by."""


def point(lat: float, lng: float) -> Point:
    """Returns where a latitude and longitude (degrees) are in space."""
    phi, lam = math.radians(lat), math.radians(lng)
    sine = math.sin(phi)
    prime_vertical = _MAJOR_METERS / math.sqrt(1 - _ECCENTRICITY_SQUARED * sine * sine)
    from_axis = prime_vertical * math.cos(phi)
    return from_axis * math.cos(lam), from_axis * math.sin(lam), prime_vertical * (1 - _ECCENTRICITY_SQUARED) * sine


def shortest_geodesic(chord_meters: float) -> float:
    """Returns a length in metres that no geodesic between two points that far apart in space undercuts.

    It is the arc over the chord of a circle with the radius R of the flattest curvature. No normal curvature of the
    ellipsoid is below 1/R, so that it is an intersection of balls of radius R (Blaschke's rolling theorem). Hence it
    holds the spindle between the two points that an arc of radius R sweeps out around their chord. The geodesic runs
    outside of that convex body, and nearest-point projection onto it lengthens no curve; on the spindle the shortest
    way from tip to tip is the arc.
    """
    half_angle = math.asin(min(chord_meters / (2 * _FLATTEST_RADIUS_METERS), 1.0))
    return max(2 * _FLATTEST_RADIUS_METERS * half_angle - _SLACK_METERS, 0.0)


def box(south: float, west: float, north: float, east: float) -> Box:
    """Returns the least box that holds a rectangle of latitudes and longitudes (degrees), and a millimetre around it.

    `west` greater than `east` means that the rectangle crosses the antimeridian.
    """
    if west > east:
        east += 360
    # Each coordinate is greatest or least at an edge, at the equator, or where a plane through two axes is crossed.
    lats = [south, north, *([0.0] if south < 0 < north else [])]
    quarters = range(math.ceil(west / 90), math.floor(east / 90) + 1)
    return _around(
        point(lat, lng) for lat, lng in product(lats, [west, east, *(quarter * 90.0 for quarter in quarters)])
    )


def join(one: Box, other: Box) -> Box:
    """Returns the least box that holds two."""
    (x0, y0, z0), (x1, y1, z1) = one
    (u0, v0, w0), (u1, v1, w1) = other
    return (min(x0, u0), min(y0, v0), min(z0, w0)), (max(x1, u1), max(y1, v1), max(z1, w1))


def _around(points: Iterable[Point]) -> Box:
    xs, ys, zs = zip(*points, strict=True)
    return (
        (min(xs) - _SLACK_METERS, min(ys) - _SLACK_METERS, min(zs) - _SLACK_METERS),
        (max(xs) + _SLACK_METERS, max(ys) + _SLACK_METERS, max(zs) + _SLACK_METERS),
    )
