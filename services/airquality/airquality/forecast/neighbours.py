"""The air around a station: means, extremes and slopes over the stations near it."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from airquality.forecast.frame import Floats, Frame

RADIUS_METERS: Final = 100_000.0
"""How far a station may be to count as near."""
MOST: Final = 16
"""Of the stations within the radius only so many count, the nearest; the station itself is one of them."""

_EARTH_RADIUS_METERS: Final = 6_371_008.8
_NONE: Final = -1
_BLOCK: Final = 512  # stations whose distances from all others are held at once
# Slopes need a few stations that do not stand in one line; below this share of the mean square the line is too thin.
_FEWEST_FOR_SLOPES: Final = 4
_THINNEST: Final = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Which stations are near which.

    Attributes:
        places: For each of S stations the places of those near it, itself first, then by distance, -1 for none;
            shape (S, K).
        east: How far each of them is to the east in kilometres, same shape.
        north: How far to the north.
    """

    places: NDArray[np.int64]
    east: Floats
    north: Floats

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """Returns the neighbours of the stations of a frame."""
        number = len(frame.stations)
        places, near = np.empty((2, number, min(MOST, number)), dtype=np.int64)
        for start in range(0, number, _BLOCK):
            block = slice(start, min(start + _BLOCK, number))
            distances = distances_meters(frame.lat[block], frame.lng[block], frame.lat, frame.lng)
            own = np.arange(block.start, block.stop)
            distances[own - start, own] = -1.0  # itself comes first, also before one that stands on the same spot
            places[block] = np.argsort(distances, axis=1, kind="stable")[:, :MOST]
            near[block] = np.take_along_axis(distances, places[block], axis=1) <= RADIUS_METERS
        kilometers = np.pi / 180 * _EARTH_RADIUS_METERS / 1000
        east = (frame.lng[places] - frame.lng[:, None] + 180.0) % 360.0 - 180.0
        return cls(
            np.where(near == 1, places, _NONE),
            east * np.cos(np.deg2rad(frame.lat))[:, None] * kilometers,
            (frame.lat[places] - frame.lat[:, None]) * kilometers,
        )

    def mean(self, values: Floats) -> Floats:
        """Returns for each station and hour the mean of those near it that have a value; shape (S, T), as `values`."""
        total, count = np.zeros_like(values), np.zeros_like(values)
        for each in self._columns(values):
            present = ~np.isnan(each)
            total += np.where(present, each, 0.0)
            count += present
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

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
