"""Distances and directions on the WGS84 ellipsoid."""

from typing import Final

import numpy as np
from pyproj import Geod

from trajectory.track import Floats

SEMI_MAJOR_AXIS_METERS: Final = 6_378_137.0
FLATTENING: Final = 1 / 298.257223563
_ECCENTRICITY_SQUARED: Final = FLATTENING * (2 - FLATTENING)
_GEOD: Final = Geod(ellps="WGS84")


def geodesics(lats: Floats, lngs: Floats, to_lats: Floats, to_lngs: Floats) -> tuple[Floats, Floats]:
    """Returns bearings and lengths of the geodesics between pairs of points (Karney 2013, through PROJ).

    Args:
        lats: Where they begin, degrees, shape (n,).
        lngs: As `lats`.
        to_lats: Where they end, degrees, shape (n,).
        to_lngs: As `to_lats`.

    Returns:
        Bearings where they begin, degrees clockwise from north in [-180, 180], and lengths in metres, shape (n,).
    """
    bearings, _, lengths = _GEOD.inv(lngs, lats, to_lngs, to_lats)
    return np.asarray(bearings), np.asarray(lengths)


def to_earth_centred(lats: Floats, lngs: Floats) -> Floats:
    """Returns points of the ellipsoid's surface as Earth-centred coordinates in metres, shape (n, 3).

    In these nothing is special about the antimeridian or the poles. The straight line between two of them is shorter
    than their geodesic, by 4 cm for 100 km and by 1 mm for 30 km.
    """
    phi, lam = np.radians(lats), np.radians(lngs)
    normal = SEMI_MAJOR_AXIS_METERS / np.sqrt(1 - _ECCENTRICITY_SQUARED * np.sin(phi) ** 2)
    planar = normal * np.cos(phi)
    return np.stack(
        [planar * np.cos(lam), planar * np.sin(lam), normal * (1 - _ECCENTRICITY_SQUARED) * np.sin(phi)], axis=-1
    )


def centroid(lats: Floats, lngs: Floats) -> tuple[float, float]:
    """Returns latitude and longitude below the mean of the points in space, the usual centre of gravity.

    Points that balance each other around the Earth have none; then it is the first of them.
    """
    if np.ptp(lats) == 0 and np.ptp(lngs) == 0:
        return float(lats[0]), float(lngs[0])
    phi, lam = np.radians(lats), np.radians(lngs)
    x = float(np.mean(np.cos(phi) * np.cos(lam)))
    y = float(np.mean(np.cos(phi) * np.sin(lam)))
    z = float(np.mean(np.sin(phi)))
    if np.hypot(np.hypot(x, y), z) < 1e-12:  # noqa: PLR2004 -- rounding of a mean of unit vectors
        return float(lats[0]), float(lngs[0])
    return float(np.degrees(np.arctan2(z, np.hypot(x, y)))), float(np.degrees(np.arctan2(y, x)))
