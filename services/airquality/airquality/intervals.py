"""The hours, days, months and years of a time zone."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from meshkit.errors import InvalidInput

Ints = NDArray[np.int64]

HOUR_MICROSECONDS: Final = 3_600_000_000

_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)  # leaves room for what is looked at after the end
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
        InvalidInput: The end is not after the start or too far off, the time is too long, or the time zone is unknown.
    """
    if end <= start:
        raise InvalidInput("end_time", "must be after start_time")
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
    edges: list[int] = []
    until = microseconds(end)
    for day in _first_days(start.astimezone(zone).date(), granularity):
        offset = zone.utcoffset(datetime.combine(day, time.min)) or timedelta(0)
        later = zone.utcoffset(datetime.combine(day, _SECOND_MIDNIGHT))  # another one where clocks skip or repeat it
        midnight = (day.toordinal() - _EPOCH_ORDINAL) * _DAY_MICROSECONDS - offset // _MICROSECOND
        # A zone that moved over the date line has skipped a day, which would begin when the next one does.
        if not edges or offset == later or moment(midnight).astimezone(zone).date() == day:
            edges.append(midnight)
        if edges[1:] and midnight >= until:
            break
    return np.array(edges)


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
    """Yields the first day of the interval that holds a day, and of all that follow it."""
    if granularity is Granularity.DAILY:
        while True:
            yield day
            day += timedelta(days=1)
    months = 1 if granularity is Granularity.MONTHLY else _MONTHS
    count = day.year * _MONTHS + (day.month - 1) // months * months
    while True:
        yield date(count // _MONTHS, count % _MONTHS + 1, 1)
        count += months
