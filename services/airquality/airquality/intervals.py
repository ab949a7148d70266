"""The hours, days, months and years of a time zone."""

from collections.abc import Iterator
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from meshkit.errors import InvalidInput

Ints = NDArray[np.int64]

HOUR_MICROSECONDS: Final = 3_600_000_000

# They leave room for what is looked at before the start and after the end.
_EARLIEST: Final = datetime(2, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)
_MONTHS: Final = 12
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_DAY_MICROSECONDS: Final = 86_400_000_000
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND_MIDNIGHT: Final = time(fold=1)


class Granularity(IntEnum):
    """The length of the intervals; the codes are those of the enum in airquality.proto."""

    HOURLY = 1
    DAILY = 2
    MONTHLY = 3
    YEARLY = 4


_MOST_DAYS: Final = {
    Granularity.HOURLY: 366,
    Granularity.DAILY: 3660,
    Granularity.MONTHLY: 18_263,
    Granularity.YEARLY: 18_263,
}


def edges_of(start: datetime, end: datetime, granularity: Granularity, time_zone: str) -> Ints:
    """Returns where the intervals from `start` to `end` begin and the last one ends, in microseconds since 1970.

    Raises:
        InvalidInput: The end is not after the start, one is too far off, the time is too long, or the time zone is
            unknown.
    """
    if end <= start:
        raise InvalidInput("end_time", "must be after start_time")
    if start < _EARLIEST:
        raise InvalidInput("start_time", "must not be earlier than 0002-01-01T00:00:00Z")
    if end > _LATEST:
        raise InvalidInput("end_time", f"must not be later than {_LATEST:%Y-%m-%dT%H:%M:%SZ}")
    most_days = _MOST_DAYS[granularity]
    if end - start > timedelta(days=most_days):
        raise InvalidInput("end_time", f"must be at most {most_days} days after start_time")
    if granularity is Granularity.HOURLY:
        first = microseconds(start) // HOUR_MICROSECONDS
        last = -(-microseconds(end) // HOUR_MICROSECONDS)
        return np.arange(first, last + 1) * HOUR_MICROSECONDS
    return _calendar_edges(start, end, granularity, zone_of(time_zone))


def days_between(edges: Ints, time_zone: str) -> Ints:
    """Returns the edges of the days of a time zone that make up its months or years."""
    return _calendar_edges(moment(int(edges[0])), moment(int(edges[-1])), Granularity.DAILY, zone_of(time_zone))


def _calendar_edges(start: datetime, end: datetime, granularity: Granularity, zone: ZoneInfo) -> Ints:
    first_day = start.astimezone(zone).date()
    if granularity is Granularity.DAILY:
        years = range(first_day.year, min(end.astimezone(zone).year + 1, MAXYEAR) + 1)
        days = np.concatenate([_midnights(zone, year) for year in years])
        first = np.searchsorted(days, microseconds(start), side="right") - 1
        return days[first : np.searchsorted(days, microseconds(end)) + 1]
    edges: list[int] = []
    for day in _first_days(first_day, granularity):
        edges.append(_midnight(day, zone))
        if edges[1:] and edges[-1] >= microseconds(end):
            break
    return np.array(edges)


@lru_cache(maxsize=1024)  # ten years of days take 15 ms to find out
def _midnights(zone: ZoneInfo, year: int) -> Ints:
    """Returns when each day of a year begins."""
    first, last = date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal()
    days = [date.fromordinal(each) for each in range(first, last + 1)]
    return np.array([_midnight(day, zone) for day in days if _is_had(day, zone)])


def _midnight(day: date, zone: ZoneInfo) -> int:
    """Returns when a day begins, in microseconds since 1970."""
    offset = zone.utcoffset(datetime.combine(day, time.min)) or timedelta(0)
    return (day.toordinal() - _EPOCH_ORDINAL) * _DAY_MICROSECONDS - offset // _MICROSECOND


def _is_had(day: date, zone: ZoneInfo) -> bool:
    """Tells whether a zone had a day: one that moved over the date line skipped one."""
    # Where clocks neither skip nor repeat midnight, both are the same.
    first, second = datetime.combine(day, time.min), datetime.combine(day, _SECOND_MIDNIGHT)
    if zone.utcoffset(first) == zone.utcoffset(second):
        return True
    return moment(_midnight(day, zone)).astimezone(zone).date() == day


def zone_of(name: str) -> ZoneInfo:
    """Returns a time zone of the IANA database.

    Raises:
        InvalidInput: There is none of this name.
    """
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a name that is a folder or leads out of it raises the others
        raise InvalidInput("time_zone", "must be a time zone of the IANA database, e.g. America/Los_Angeles") from None


def microseconds(when: datetime) -> int:
    """Returns a time as microseconds since 1970."""
    return (when - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def moment(since_1970: int) -> datetime:
    """Returns microseconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=since_1970)


def _first_days(day: date, granularity: Granularity) -> Iterator[date]:
    """Yields the first day of the month or year that holds a day, and of all that follow it."""
    months = 1 if granularity is Granularity.MONTHLY else _MONTHS
    count = day.year * _MONTHS + (day.month - 1) // months * months
    while True:
        yield date(count // _MONTHS, count % _MONTHS + 1, 1)
        count += months
