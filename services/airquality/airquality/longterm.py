"""Months and years, official limits and how often they were exceeded, and profiles."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from airquality.averages import HOURS, SUFFICIENT, running_mean
from airquality.blocks import mean_direction
from airquality.concentrations import highest_in
from airquality.history import History, Hours, statistics_of, unflagged
from airquality.index import NONE
from airquality.units import AveragingPeriod, Pollutant, Unit, to_usual_unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_HOURS_OF_DAY: Final = 24
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_THURSDAY: Final = 3  # the weekday of 1970-01-01, Monday being 0


class Limit(NamedTuple):
    """A concentration not to be exceeded, in the pollutant's usual unit."""

    limit_id: str
    pollutant: Pollutant
    averaging_period: AveragingPeriod
    concentration: float


class Exceedances(NamedTuple):
    """How many hours or days of each interval were above a limit, and of how many it is known; both n."""

    limit: Limit
    above: Ints
    known: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Longterm:
    """What months and years have beside their statistics.

    Attributes:
        sub_index: For each pollutant the median sub-index of its days, NONE for none, n.
        index: The median index of the days, NONE for none, n.
        dominant: The code of the pollutant that dominates on the most days, 0 where none does, n.
        category_days: How many days had their index in each category, shape (n, categories).
    """

    sub_index: dict[Pollutant, Ints]
    index: Ints
    dominant: Ints
    category_days: Ints


class ProfileKind(IntEnum):
    """What a profile goes over; the codes are those of the enum in airquality.proto."""

    HOUR_OF_DAY = 1
    DAY_OF_WEEK = 2
    MONTH = 3


class Profile(NamedTuple):
    """One pollutant by hour of the day, day of the week or month; all arrays of one length, NaN for none."""

    pollutant: Pollutant
    kind: ProfileKind
    number: Ints
    mean: Floats
    minimum: Floats
    maximum: Floats
    hour_count: Ints
    coverage: Floats


@cache
def limits() -> tuple[Limit, ...]:
    """Returns the official limits, in the order of the file."""
    text = resources.files("airquality").joinpath("limits.toml").read_text(encoding="utf-8")
    return tuple(
        _limit(authority, row) for authority in tomllib.loads(text)["authority"] for row in authority["limits"]
    )


def exceedances(pollutant: Pollutant, hourly: Hours, day_bounds: Ints, places: Ints) -> list[Exceedances]:
    """Counts how often the limits of a pollutant were exceeded.

    Args:
        pollutant: The pollutant.
        hourly: Its hours.
        day_bounds: Where in them each of m days begins and the last one ends, m + 1.
        places: Which of the days is the first of each of n intervals, and m, n + 1.

    Returns:
        One for each limit of the pollutant.
    """
    found = []
    for limit in limits():
        if limit.pollutant == pollutant:
            above, known = _above(limit, hourly.values, day_bounds)
            found.append(Exceedances(limit, _sums(above, places), _sums(known, places)))
    return found


def longterm(days: History, places: Ints, lowest: Ints) -> Longterm:
    """Sums up days in months or years.

    Args:
        days: The history of m days.
        places: Which of the days is the first of each of n intervals, and m, n + 1.
        lowest: The lowest index of each category, ascending.
    """
    index = days.index_values
    dominated = _counts(days.dominant, max(Pollutant) + 1, places)[:, 1:]
    categories = np.where(index == NONE, NONE, np.searchsorted(lowest, index, side="right") - 1)
    return Longterm(
        {pollutant: _medians(each.sub_index, places) for pollutant, each in days.pollutants.items()},
        _medians(index, places),
        np.where(dominated.any(axis=1), dominated.argmax(axis=1) + 1, 0),
        _counts(categories, len(lowest), places),
    )


def parts_of_time(first_hour: int, count: int, zone: ZoneInfo) -> dict[ProfileKind, Ints]:
    """Returns of each of some hours which hour of the day, day of the week and month clocks showed.

    Args:
        first_hour: The first, in hours since 1970.
        count: How many.
        zone: Whose clocks; where they are half an hour off, the hour counts that had begun.
    """
    local = _local_hours(first_hour, count, zone)
    day = local // _HOURS_OF_DAY
    return {
        ProfileKind.HOUR_OF_DAY: local % _HOURS_OF_DAY,
        ProfileKind.DAY_OF_WEEK: (day + _THURSDAY) % 7 + 1,
        ProfileKind.MONTH: day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12 + 1,
    }


def profiles(pollutant: Pollutant, values: Floats, parts: Mapping[ProfileKind, Ints]) -> list[Profile]:
    """Returns the profiles of a pollutant.

    Args:
        pollutant: The pollutant.
        values: Its hours, n, NaN for none.
        parts: What `parts_of_time` says of them.
    """
    return [_profile(pollutant, kind, values, number) for kind, number in parts.items()]


def _profile(pollutant: Pollutant, kind: ProfileKind, values: Floats, number: Ints) -> Profile:
    order = np.argsort(number, kind="stable")
    parts, starts = np.unique(number[order], return_index=True)
    ordered = values[order]
    if pollutant == Pollutant.WIND_DIRECTION:
        mean = np.array([mean_direction(part) for part in np.split(ordered, starts[1:])])
        count = np.add.reduceat((~np.isnan(ordered)).astype(np.int64), starts)
        empty = np.full(len(parts), np.nan)
        lengths = np.diff(np.append(starts, len(values)))
        return Profile(pollutant, kind, parts, mean, empty, empty, count, count / lengths)
    found = statistics_of(pollutant, unflagged(np.append(ordered, np.nan)), np.append(starts, len(values)))
    return Profile(pollutant, kind, parts, found.mean, found.minimum, found.maximum, found.hour_count, found.coverage)


def _local_hours(first_hour: int, count: int, zone: ZoneInfo) -> Ints:
    """Returns hours as the hours since 1970 that clocks showed, rounded down where they are half an hour off."""
    hours = first_hour + np.arange(count)
    begins = [*range(0, count, _HOURS_OF_DAY), count]
    offsets = np.array([_offset(first_hour + begin, zone) for begin in begins])
    seconds = np.repeat(offsets[:-1], np.diff(begins))
    for place in np.flatnonzero(offsets[1:] != offsets[:-1]).tolist():  # clocks were changed between these two
        some = range(begins[place], begins[place + 1])
        seconds[some.start : some.stop] = [_offset(first_hour + each, zone) for each in some]
    return np.asarray((hours * 3600 + seconds) // 3600)


def _offset(hour: int, zone: ZoneInfo) -> int:
    offset = (_EPOCH + timedelta(hours=hour)).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _limit(authority: Mapping[str, Any], row: Mapping[str, Any]) -> Limit:
    pollutant, unit = Pollutant[row["pollutant"]], Unit[row.get("unit", authority["unit"])]
    concentration = float(to_usual_unit(pollutant, unit, row["value"]))
    return Limit(authority["id"], pollutant, AveragingPeriod[row["averaging_period"]], concentration)


def _above(limit: Limit, values: Floats, day_bounds: Ints) -> tuple[Ints, Ints]:
    """Returns for each day how many of its hours, or whether it, were above a limit, and of how many that is known."""
    if limit.averaging_period == AveragingPeriod.HOUR:
        above = (values > limit.concentration).astype(np.int64)
        known = (~np.isnan(values)).astype(np.int64)
        return np.add.reduceat(above, day_bounds)[:-1], np.add.reduceat(known, day_bounds)[:-1]
    if limit.averaging_period == AveragingPeriod.EIGHT_HOURS:
        mean, share = running_mean(values, HOURS[limit.averaging_period])
        running = np.full(int(day_bounds[-1]) + 1, np.nan)
        usable = np.where(share >= SUFFICIENT, mean, np.nan)[: len(running)]
        running[: len(usable)] = usable
        average = highest_in(running, day_bounds)
    else:
        found = statistics_of(limit.pollutant, unflagged(values), day_bounds)
        average = np.where(found.coverage >= SUFFICIENT, found.mean, np.nan)
    return (average > limit.concentration).astype(np.int64), (~np.isnan(average)).astype(np.int64)


def _sums(each_day: Ints, places: Ints) -> Ints:
    return np.diff(np.append(0, np.cumsum(each_day))[places])


def _counts(codes: Ints, number: int, places: Ints) -> Ints:
    """Returns how often each code from 0 on occurs in each interval."""
    return np.stack([_sums((codes == code).astype(np.int64), places) for code in range(number)], axis=1)


def _medians(values: Ints, places: Ints) -> Ints:
    """Returns the lower median of the values of each interval that are not NONE."""
    medians = []
    for begin, end in zip(places[:-1].tolist(), places[1:].tolist(), strict=True):
        known = np.sort(values[begin:end][values[begin:end] != NONE])
        medians.append(int(known[(len(known) - 1) // 2]) if len(known) else NONE)
    return np.array(medians)
