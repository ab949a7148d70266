"""Which days are needed to judge readings, and the judgement."""

import time
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from airquality.blocks import DAY_MICROSECONDS, HOUR_MICROSECONDS, HOURS, Blocks, Slots, keys_of
from airquality.quality import MOST_NEIGHBOURS, PAST_HOURS, check, counted
from airquality.readings import Ints, Readings
from airquality.units import AveragingPeriod

_NOBODY: Final = -1
_STALE_SECONDS: Final = 600.0  # after which stations that were registered meanwhile are seen


class Neighbours:
    """Remembers for some minutes who is near whom, by the stations' numbers."""

    def __init__(self) -> None:
        self._found: dict[int, list[int]] = {}
        self._since = time.monotonic()

    def unknown(self, stations: Ints) -> list[int]:
        """Returns those stations whose neighbours must be looked for."""
        if time.monotonic() - self._since > _STALE_SECONDS:
            self._found, self._since = {}, time.monotonic()
        return [each for each in stations.tolist() if each not in self._found]

    def learn(self, stations: Sequence[int], pairs: Iterable[tuple[int, int]]) -> None:
        """Notes the neighbours of stations, given as pairs of a station and one of its neighbours."""
        found: dict[int, list[int]] = {each: [] for each in stations}
        for station, neighbour in pairs:
            found[station].append(neighbour)
        self._found |= found

    def of(self, stations: Ints) -> Ints:
        """Returns the neighbours of n stations, shape (n, MOST_NEIGHBOURS), -1 for none."""
        unique, inverse = np.unique(stations, return_inverse=True)
        table = np.full((len(unique), MOST_NEIGHBOURS), _NOBODY)
        for row, station in enumerate(unique.tolist()):
            near = self._found.get(station, [])
            table[row, : len(near)] = near
        return table[inverse]


def keys_needed(readings: Readings, neighbours: Neighbours) -> Ints:
    """Returns the keys of the days that readings change, of those before, and of the neighbours' on the same days."""
    slots = Slots.of(readings, np.zeros(len(readings), dtype=np.int64))
    hourly = readings.averaging_period == AveragingPeriod.HOUR
    before = slots.keys[hourly & (slots.hour < PAST_HOURS)] - 1
    # A day has many readings: the neighbours of each day are looked up once.
    keys, first = np.unique(slots.keys[hourly], return_index=True)
    around = _neighbour_keys(readings.take(np.flatnonzero(hourly)[first]), neighbours)
    # Of a day's first hour the hour before lies in the day before.
    midnight = _neighbour_keys(readings.take(np.flatnonzero(hourly & (slots.hour == 0))), neighbours, hours_before=1)
    near = np.concatenate([around.ravel(), midnight.ravel()])
    return np.unique(np.concatenate([slots.keys, before, keys, near[near != _NOBODY]]))


def flags_of(stored: Readings, marks: Ints, blocks: Blocks, neighbours: Neighbours) -> Ints:
    """Takes readings into their days and returns their flags, which the days then have as well.

    Args:
        stored: The readings that are new or corrected, in the order of their keys.
        marks: The flags that they have already.
        blocks: All days that `keys_needed` named, as they are stored.
        neighbours: Who is near whom.
    """
    slots = Slots.of(stored, marks)
    blocks.fold(slots)
    flags = marks.copy()
    hourly = np.flatnonzero(stored.averaging_period == AveragingPeriod.HOUR)
    past, around = (np.full((len(stored), count), np.nan) for count in (PAST_HOURS, MOST_NEIGHBOURS))
    if len(hourly):
        keys, hour = slots.keys[hourly], slots.hour[hourly]
        past[hourly] = blocks.hours_before(keys, hour, PAST_HOURS)
        near = _neighbour_keys(stored.take(hourly), neighbours)
        around[hourly] = blocks.values_at(near, hour[:, None])
    found = check(stored.pollutant, stored.averaging_period, slots.value, past, around)
    doubtful = hourly[~counted(found[hourly])]
    if len(doubtful):  # the hour before is asked about few readings
        some = stored.take(doubtful)
        near = _neighbour_keys(some, neighbours, hours_before=1)
        around_before = blocks.values_at(near, (slots.hour[doubtful][:, None] - 1) % HOURS)
        found[doubtful] = check(
            some.pollutant,
            some.averaging_period,
            slots.value[doubtful],
            past[doubtful],
            around[doubtful],
            around_before,
        )
    flags |= found
    blocks.fold(Slots(slots.keys, slots.hour, slots.offset, slots.value, flags | slots.flags))
    return flags


def _neighbour_keys(readings: Readings, neighbours: Neighbours, *, hours_before: int = 0) -> Ints:
    """Returns the keys of the neighbours' days of the readings' pollutants, shape (n, MOST_NEIGHBOURS), -1 for none.

    The days are those of the readings' hours, or of so many hours before them.
    """
    near = neighbours.of(readings.station)
    series = near << 16 | (readings.pollutant << 8 | readings.averaging_period)[:, None]
    day = ((readings.time - hours_before * HOUR_MICROSECONDS) // DAY_MICROSECONDS)[:, None]
    return np.where(near == _NOBODY, _NOBODY, keys_of(series, day))
