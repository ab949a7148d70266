"""The memory of a series: for each day of UTC the value of each of its hours, kept as readings arrive.

An hour's value is that of the latest reading that begins in it, in the usual unit. A reading replaces what an hour has
when it is at least as late: so the hours are the same in whatever order readings came, and the same as if they were
made anew from all of them.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airquality.quality import counted
from airquality.readings import MICROSECONDS, Readings
from airquality.units import MASS_UNITS, MOLAR_MASSES, Pollutant, to_usual_unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HOURS: Final = 24
HOUR_MICROSECONDS: Final = 3600 * MICROSECONDS
DAY_MICROSECONDS: Final = HOURS * HOUR_MICROSECONDS

HOUR: Final = np.dtype([("value", ">f8"), ("offset", ">u4"), ("flags", ">i2")])
"""One hour as it is stored: its value, NaN for none; the microseconds into the hour of its reading; its flags.

Among the flags is BY_MASS, since indices weigh a part per billion at other temperatures than the usual unit does.
"""

BY_MASS: Final = 1 << 14
"""Marks an hour of a gas whose reading was given in a unit of mass; no flag of quality control."""

DAY_BYTES: Final = HOURS * HOUR.itemsize
_DAY_BITS: Final = 15  # days since 1970 until 2059 in the lower bits of a key
_EMPTY: Final = np.array((np.nan, 0, 0), dtype=HOUR)


def keys_of(series: Ints, day: Ints) -> Ints:
    """Returns a number for each series (as `Readings.series`) and day since 1970, ascending by series, then by day."""
    return (series << _DAY_BITS) | day


class Parts(NamedTuple):
    """What keys are made of: station numbers, codes of pollutants and averaging periods, days since 1970."""

    station: Ints
    pollutant: Ints
    averaging_period: Ints
    day: Ints


def parts_of(keys: Ints) -> Parts:
    """Takes keys apart."""
    series = keys >> _DAY_BITS
    return Parts(series >> 16, series >> 8 & 0xFF, series & 0xFF, keys & ((1 << _DAY_BITS) - 1))


class Figures(NamedTuple):
    """What each of n days comes to; NaN where a day has no hour that counts. Flagged ones are also those that do not."""

    hour_count: Ints
    flagged_count: Ints
    mean: Floats
    minimum: Floats
    maximum: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Days of series in the order of their keys.

    Attributes:
        keys: As `keys_of`, ascending, each once, shape (n,).
        hours: Of dtype HOUR, shape (n, 24).
    """

    keys: Ints
    hours: NDArray[np.void]

    @classmethod
    def empty(cls, keys: Ints) -> "Blocks":
        """Returns days without any hour."""
        unique = np.unique(keys)
        return cls(unique, np.full((len(unique), HOURS), _EMPTY))

    def load(self, places: list[int], stored: list[bytes]) -> None:
        """Sets days, by their places among the keys, to what is stored of them."""
        self.hours[places] = np.frombuffer(b"".join(stored), dtype=HOUR).reshape(-1, HOURS)

    def hours_before(self, keys: Ints, hour: Ints, count: int) -> Floats:
        """Returns the values of so many hours before each, the newest first, NaN for none.

        The day before must be here where these hours begin in it.
        """
        flat = self.hours["value"].reshape(-1)
        at = (self.rows(keys) * HOURS + hour)[:, None] - np.arange(1, count + 1)
        return np.asarray(flat[at], dtype=np.float64)

    def values_at(self, keys: Ints, hour: Ints) -> Floats:
        """Returns the values of an hour of days, NaN where one or its day is missing; `keys` and `hour` broadcast."""
        row = self.rows(keys)
        return np.where(row < 0, np.nan, self.hours["value"][row, hour].astype(np.float64))

    def rows(self, keys: Ints) -> Ints:
        """Returns the places of keys, -1 for those that are not here."""
        if not len(self.keys):
            return np.full(keys.shape, -1)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, -1)

    def fold(self, slots: "Slots") -> None:
        """Takes readings into their hours, whose days must be here. Of each key there is one at most, ordered by time.

        Of several in one hour the last stays, which NumPy guarantees of a repeated index.
        """
        row = self.rows(slots.keys)
        hours = self.hours
        stored = hours["offset"][row, slots.hour]
        later = np.isnan(hours["value"][row, slots.hour]) | (slots.offset >= stored)
        at = (row[later], slots.hour[later])
        for name in ("value", "offset", "flags"):
            hours[name][at] = getattr(slots, name)[later]

    def figures(self) -> Figures:
        """Returns the figures of each day."""
        flags = self.hours["flags"]
        values = np.where(counted(flags), self.hours["value"].astype(np.float64), np.nan)
        present = ~np.isnan(values)
        count = present.sum(axis=1)
        none = count == 0
        wind = (self.keys >> (_DAY_BITS + 8) & 0xFF) == Pollutant.WIND_DIRECTION
        mean = np.divide(
            np.where(present, values, 0.0).sum(axis=1), count, out=np.full(len(count), np.nan), where=~none
        )
        if wind.any():
            mean[wind] = mean_direction(values[wind])
        return Figures(
            count,
            (flags & ~BY_MASS != 0).sum(axis=1),
            mean,
            np.where(none, np.nan, np.where(present, values, np.inf).min(axis=1)),
            np.where(none, np.nan, np.where(present, values, -np.inf).max(axis=1)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """Readings as what they are in the memory, all arrays of one length, ordered by key and time.

    Attributes:
        keys: The keys of their series and days.
        hour: The hour of the day, 0 to 23.
        offset: Microseconds into the hour.
        value: In the usual unit.
        flags: Codes of quality.Flag, and BY_MASS.
    """

    keys: Ints
    hour: Ints
    offset: Ints
    value: Floats
    flags: Ints

    @classmethod
    def of(cls, readings: Readings, flags: Ints) -> "Slots":
        """Returns where readings with these flags belong."""
        return cls(
            keys_of(readings.series(), readings.time // DAY_MICROSECONDS),
            readings.time % DAY_MICROSECONDS // HOUR_MICROSECONDS,
            readings.time % HOUR_MICROSECONDS,
            to_usual_unit(readings.pollutant, readings.unit, readings.value),
            flags | np.where(_is_by_mass(readings), BY_MASS, 0),
        )


def _is_by_mass(readings: Readings) -> NDArray[np.bool_]:
    return np.isin(readings.unit, MASS_UNITS) & np.isin(readings.pollutant, list(MOLAR_MASSES))


def grid(days: list[int], stored: bytes, first_hour: int, hour_count: int) -> tuple[Floats, Bools, Bools, Bools]:
    """Returns the hours of a series one after another.

    Args:
        days: The days since 1970 that are stored.
        stored: Their hours, day by day.
        first_hour: The first hour wanted, in hours since 1970.
        hour_count: How many.

    Returns:
        The values in the usual unit, NaN where there is none that counts; whether each has a flag, whether it does not
        count for that, and whether it was given in a unit of mass; all of shape (hour_count,).
    """
    hours = np.frombuffer(stored, dtype=HOUR).reshape(-1, HOURS)
    first_day = first_hour // HOURS
    day_count = (first_hour + hour_count - 1) // HOURS - first_day + 1
    values, marks = np.full((day_count, HOURS), np.nan), np.zeros((day_count, HOURS), dtype=np.int64)
    places = np.asarray(days) - first_day
    inside = (places >= 0) & (places < day_count)
    values[places[inside]] = hours["value"][inside]
    marks[places[inside]] = hours["flags"][inside]
    wanted = slice(first_hour - first_day * HOURS, first_hour - first_day * HOURS + hour_count)
    marked = marks.reshape(-1)[wanted]
    counts = counted(marked)
    found = np.where(counts, values.reshape(-1)[wanted], np.nan)
    return found, marked & ~BY_MASS != 0, ~counts, marked & BY_MASS != 0


def mean_direction(degrees: Floats) -> Floats:
    """Returns the directions of the mean unit vectors (the WMO's way), NaN where there is none or they cancel out.

    Args:
        degrees: Directions, shape (…, n), NaN for none.

    Returns:
        Degrees from 0 to 360, shape (…).
    """
    present = ~np.isnan(degrees)
    radians = np.radians(np.where(present, degrees, 0.0))
    east = np.where(present, np.sin(radians), 0.0).sum(axis=-1)
    north = np.where(present, np.cos(radians), 0.0).sum(axis=-1)
    count = present.sum(axis=-1)
    length = np.hypot(east, north)
    mean = np.degrees(np.arctan2(east, north)) % 360.0
    return np.where(length > np.maximum(count, 1) * 1e-9, mean, np.nan)
