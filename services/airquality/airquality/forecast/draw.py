"""Draws what models learn from: columns of a station and an hour, and how much the air changed after it."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from airquality.forecast.features import LOOKBACK_HOURS, Matrix, horizon_features
from airquality.forecast.frame import Floats, Frame, Ints, last_known
from airquality.forecast.neighbours import Neighbours
from airquality.units import Pollutant

BASE_AGE_HOURS: Final = 6
"""How old the newest reading may be that a forecast starts from."""

_MOST_BLOCK_HOURS: Final = 720
_BLOCK_CELLS: Final = 15_000
_DAY: Final = 24


def block_hours(stations: int) -> int:
    """Returns how many hours of so many stations are held as columns at once, so that they take some 100 MB."""
    return max(_DAY, min(_MOST_BLOCK_HOURS, _BLOCK_CELLS // max(stations, 1)))


class Share(NamedTuple):
    """The hours of a block to draw from, and which share they are of all."""

    hours: int
    of_all: float


def blocks(frame: Frame) -> Iterator[tuple[Frame, Share]]:
    """Yields the frame in parts whose last hours are drawn from, so that no more than one is held as columns."""
    first, last = frame.first_hour + _DAY, frame.end_hour - 1  # the first day knows too little, the last hour no more
    hours = block_hours(len(frame.stations))
    for start in range(first, last, hours):
        end = min(start + hours, last)
        yield frame.between(start - LOOKBACK_HOURS, end), Share(end - start, (end - start) / (last - first))


class Rows(NamedTuple):
    """What is learnt from: columns, the newest reading in scales, the last hour known, and the change of roots."""

    columns: Matrix
    base: Floats
    hours: Ints
    changes: Floats


class Draw:
    """Draws rows from the last hours of a block, evenly over stations, hours and hours ahead."""

    def __init__(
        self,
        frame: Frame,
        block: Frame,
        target: Pollutant,
        scale: float,
        origins: Matrix,
        neighbours: Neighbours,
        generator: np.random.Generator,
    ) -> None:
        """Makes it.

        Args:
            frame: All hours, for what became of the air.
            block: Some of them, with those before that columns look at.
            target: What is to be forecast.
            scale: Its usual concentration.
            origins: The columns of the block's last hours, shape (S, N, F).
            neighbours: Of the stations.
            generator: Of chance.
        """
        self._block, self._target, self._scale = block, target, scale
        self._origins, self._neighbours, self._generator = origins, neighbours, generator
        self._roots = np.sqrt(np.maximum(frame.of(target), 0.0) / scale)
        self._hours = origins.shape[1]
        self._first = block.end_hour - self._hours
        self._begin = frame.first_hour
        base = last_known(block.of(target), BASE_AGE_HOURS)[0][:, -self._hours :]
        self._base = np.maximum(base, 0.0) / scale

    def of_band(self, band: tuple[int, int], number: int) -> Rows:
        """Returns rows for trees, of which each has hours ahead of its own."""
        station, origin = self._places(number)
        horizon = self._generator.integers(band[0], band[1] + 1, number)
        changes = self._changes(station, origin, horizon)
        kept = ~np.isnan(changes)
        station, origin, horizon = station[kept], origin[kept], horizon[kept]
        every = np.arange(band[0], band[1] + 1)
        ahead = horizon_features(self._block, self._target, self._scale, self._hours, every, self._neighbours)
        columns = [self._origins[station, origin], ahead[station, origin, horizon - band[0]]]
        return Rows(np.concatenate(columns, axis=1), self._base[station, origin], self._first + origin, changes[kept])

    def of_all(self, horizons: Ints, number: int) -> Rows:
        """Returns rows for networks, with the changes at all these hours ahead, NaN where they are not known."""
        station, origin = self._places(number)
        changes = self._changes(station[:, None], origin[:, None], horizons)
        kept = ~np.isnan(changes).all(axis=1)
        station, origin = station[kept], origin[kept]
        return Rows(self._origins[station, origin], self._base[station, origin], self._first + origin, changes[kept])

    def _places(self, number: int) -> tuple[Ints, Ints]:
        stations = self._generator.integers(0, self._origins.shape[0], number)
        return stations, self._generator.integers(0, self._hours, number)

    def _changes(self, station: Ints, origin: Ints, horizon: Ints) -> Floats:
        place = self._first - self._begin + origin + horizon
        last = self._roots.shape[1] - 1
        after = np.where(place <= last, self._roots[station, np.minimum(place, last)], np.nan)
        return np.asarray(after - np.sqrt(self._base[station, origin]))
