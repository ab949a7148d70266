"""The air around a station: means, extremes and slopes over the stations near it."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import KDTree

from airquality.forecast.frame import Floats, Frame

RADIUS_METERS: Final = 100_000.0
"""How far a station may be to count as near."""
MOST: Final = 16
"""Of the stations within the radius only so many count, the nearest; the station itself is one of them."""

_EARTH_RADIUS_METERS: Final = 6_371_008.8
_NONE: Final = -1
# Slopes need a few stations that do not stand in one line; below this share of the mean square the line is too thin.
_FEWEST_FOR_SLOPES: Final = 4
_THINNEST: Final = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Which stations are near which.

    Attributes:
        places: For each of S stations the places of those near it, by distance, itself among them, -1 for none; shape
            (S, K).
        east: How far each of them is to the east in kilometres, same shape.
        north: How far to the north.
        near: The same as a matrix of ones, shape (S, S).
    """

    places: NDArray[np.int64]
    east: Floats
    north: Floats
    near: csr_array

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """Returns the neighbours of the stations of a frame."""
        number = len(frame.stations)
        lat, lng = np.deg2rad(frame.lat), np.deg2rad(frame.lng)
        # Straight through the globe, so that neither the antimeridian nor a pole parts neighbours.
        points = np.stack([np.cos(lat) * np.cos(lng), np.cos(lat) * np.sin(lng), np.sin(lat)], axis=1)
        chord = 2 * np.sin(RADIUS_METERS / _EARTH_RADIUS_METERS / 2)
        _, found = KDTree(points).query(points, k=np.arange(1, min(MOST, number) + 1), distance_upper_bound=chord)
        places = np.where(found < number, found, _NONE).astype(np.int64)
        rows, columns = np.nonzero(places >= 0)
        near = csr_array((np.ones(len(rows)), (rows, places[rows, columns])), shape=(number, number))
        kilometers = np.pi / 180 * _EARTH_RADIUS_METERS / 1000
        east = (frame.lng[places] - frame.lng[:, None] + 180.0) % 360.0 - 180.0
        return cls(
            places,
            east * np.cos(lat)[:, None] * kilometers,
            (frame.lat[places] - frame.lat[:, None]) * kilometers,
            near,
        )

    def mean(self, values: Floats) -> Floats:
        """Returns for each station and hour the mean of those near it that have a value; shape (S, T), as `values`."""
        missing = np.isnan(values)
        if missing.all():
            return np.full_like(values, np.nan)
        total = np.asarray(self.near @ np.where(missing, 0.0, values))
        count = np.asarray(self.near @ (~missing).astype(np.float64))
        return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))

    def lowest(self, values: Floats) -> Floats:
        """Returns the lowest value near each station."""
        lowest = values
        for each in self._columns(values):
            lowest = np.fmin(lowest, each)
        return lowest

    def highest(self, values: Floats) -> Floats:
        """Returns the highest value near each station."""
        return -self.lowest(-values)

    def slopes(self, values: Floats) -> tuple[Floats, Floats]:
        """Returns how values grow per kilometre to the east and to the north, by least squares; NaN with too few."""
        mean = self.mean(values)
        sums = np.zeros((7, *values.shape))
        count = np.zeros_like(values)
        for place, each in enumerate(self._columns(values)):
            present = ~np.isnan(each)
            count += present
            east = np.where(present, self.east[:, place, None], 0.0)
            north = np.where(present, self.north[:, place, None], 0.0)
            above = np.where(present, each - mean, 0.0)
            sums += np.stack([east, north, east * east, east * north, north * north, east * above, north * above])
        east_sum, north_sum, ee, en, nn, ea, na = sums
        divisor = np.maximum(count, 1.0)
        ee, en, nn = ee - east_sum**2 / divisor, en - east_sum * north_sum / divisor, nn - north_sum**2 / divisor
        determinant = ee * nn - en * en
        enough = (count >= _FEWEST_FOR_SLOPES) & (determinant > _THINNEST * (ee + nn) ** 2 / 4)
        divisor = np.where(enough, determinant, 1.0)
        return (
            np.where(enough, (ea * nn - na * en) / divisor, np.nan),
            np.where(enough, (na * ee - ea * en) / divisor, np.nan),
        )

    def _columns(self, values: Floats) -> "list[Floats]":
        """Returns the values of the first, second … neighbours of all stations, NaN for none."""
        return [
            values[places] if (places >= 0).all() else np.where((places >= 0)[:, None], values[places], np.nan)
            for places in self.places.T
            if (places >= 0).any()
        ]


def distances_meters(lat: Floats, lng: Floats, other_lat: Floats, other_lng: Floats) -> Floats:
    """Returns the distances of N places from M others on the sphere, shape (N, M); degrees in, metres out."""
    first, second = np.deg2rad(lat)[:, None], np.deg2rad(other_lat)[None, :]
    longitude = np.deg2rad(np.asarray(lng)[:, None] - np.asarray(other_lng)[None, :])
    square = np.sin((first - second) / 2) ** 2 + np.cos(first) * np.cos(second) * np.sin(longitude / 2) ** 2
    return np.asarray(2 * _EARTH_RADIUS_METERS * np.arcsin(np.sqrt(np.clip(square, 0.0, 1.0))))
