"""The past of a station: values, coverage and index of each hour or day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from airquality.averages import HOURS
from airquality.index import NONE, sub_indices
from airquality.concentrations import daily_concentrations, hourly_concentrations, statistics
from airquality.nowcast import HOURS as NOWCAST_HOURS
from airquality.overall import overall
from airquality.standards import Rule, Standard
from airquality.units import AveragingPeriod, Factors, Pollutant, to_usual_unit
from meshkit.errors import InvalidInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR_MICROSECONDS: Final = 3_600_000_000
LEAD_HOURS: Final = max(NOWCAST_HOURS, *HOURS.values())
"""Hours before the first interval whose readings are needed, for its NowCast and the averages that end in it."""
TAIL_HOURS: Final = 8
"""Hours after the last interval whose readings are needed, for averages that begin in it."""

# What of a pollutant that the index does not take; it then has no sub-index, but means and coverage all the same.
_NO_RULE: Final = Rule((AveragingPeriod.HOUR,), (), (AveragingPeriod.HOUR,), None, 0.75)

_MOST_DAYS_OF_HOURS: Final = 366
_MOST_DAYS_OF_DAYS: Final = 3660
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)  # leaves room for what is looked at after the end


class Granularity(IntEnum):
    """The length of the intervals; the codes are those of the enum in airquality.proto."""

    HOURLY = 1
    DAILY = 2


class Series(NamedTuple):
    """Readings of one series: start times in microseconds since 1970 ascending, values, codes of units."""

    times: Sequence[int]
    values: Sequence[float]
    units: Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class PollutantHistory:
    """One pollutant over the intervals, all arrays of one length, concentrations in the usual unit, NaN for none.

    Attributes:
        mean: Mean of the hourly readings.
        minimum: Lowest of them.
        maximum: Highest of them.
        hour_count: How many hours have one.
        coverage: The share of the interval's hours that have one.
        index_concentration: What the sub-index is made from.
        basis: Codes of Basis for it, 0 for none.
        sub_index: The sub-index, NONE for none.
        contribution: What it adds to a formula, 0 without one.
    """

    mean: Floats
    minimum: Floats
    maximum: Floats
    hour_count: Ints
    coverage: Floats
    index_concentration: Floats
    basis: Ints
    sub_index: Ints
    contribution: Floats


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Intervals and what was measured in them.

    Attributes:
        edges: Where the intervals begin and the last one ends, in microseconds since 1970.
        versions: For each interval the place in the standard's versions of the one used.
        pollutants: Each pollutant's history.
        index_values: The index of each interval, NONE for none.
        dominant: Codes of Pollutant of those that make it, 0 for none.
    """

    edges: Ints
    versions: Ints
    pollutants: dict[Pollutant, PollutantHistory]
    index_values: Ints
    dominant: Ints


def edges_of(start: datetime, end: datetime, granularity: Granularity, time_zone: str) -> Ints:
    """Returns where the intervals from `start` to `end` begin and the last one ends, in microseconds since 1970.

    Raises:
        InvalidInput: The end is not after the start or too far off, the time is too long, or the time zone is unknown.
    """
    if end <= start:
        raise InvalidInput("end_time", "must be after start_time")
    if end > _LATEST:
        raise InvalidInput("end_time", f"must not be later than {_LATEST:%Y-%m-%dT%H:%M:%SZ}")
    most_days = _MOST_DAYS_OF_HOURS if granularity is Granularity.HOURLY else _MOST_DAYS_OF_DAYS
    if end - start > timedelta(days=most_days):
        raise InvalidInput("end_time", f"must be at most {most_days} days after start_time")
    if granularity is Granularity.HOURLY:
        first = microseconds(start) // HOUR_MICROSECONDS
        last = -(-microseconds(end) // HOUR_MICROSECONDS)
        return np.arange(first, last + 1) * HOUR_MICROSECONDS
    zone = _zone(time_zone)
    day = start.astimezone(zone).date()
    midnights = [_midnight(day, zone)]
    while not midnights[1:] or midnights[-1] < end:
        day += timedelta(days=1)
        midnight = _midnight(day, zone)
        # A zone that moved over the date line has skipped a day, which would begin when the next one does.
        if midnight.astimezone(zone).date() == day:
            midnights.append(midnight)
    return np.array([microseconds(each) for each in midnights])


def history_of(
    standard: Standard,
    versions: Ints,
    edges: Ints,
    series: Mapping[tuple[Pollutant, AveragingPeriod], Series],
) -> History:
    """Computes the history of each pollutant from the readings of its station.

    Args:
        standard: The index.
        versions: For each interval the place in `standard.versions` of the one to use.
        edges: As `edges_of` gives them, n + 1; intervals of hours or of days.
        series: The readings from LEAD_HOURS before the first edge to TAIL_HOURS after the last.

    Returns:
        The history of n intervals.
    """
    pollutants = {
        pollutant: _pollutant_history(
            standard,
            versions,
            edges,
            pollutant,
            {period: each for (of, period), each in series.items() if of == pollutant},
        )
        for pollutant in sorted({pollutant for pollutant, _ in series})
    }
    return History(edges, versions, pollutants, *_indices(standard, versions, pollutants))


def _indices(standard: Standard, versions: Ints, pollutants: Mapping[Pollutant, PollutantHistory]) -> tuple[Ints, Ints]:
    """Returns the index of each interval and the code of its dominant pollutant."""
    values, dominant = np.full(len(versions), NONE), np.zeros(len(versions), dtype=np.int64)
    if not pollutants:
        return values, dominant
    sub = np.stack([each.sub_index for each in pollutants.values()])
    parts = np.stack([each.contribution for each in pollutants.values()])
    codes = np.array([*pollutants, 0])  # the last one, which NONE names, stands for no pollutant
    for version in np.unique(versions).tolist():
        mine = versions == version
        whole = overall(standard.versions[version], list(pollutants), sub[:, mine], parts[:, mine])
        values[mine], dominant[mine] = whole.values, codes[whole.dominant]
    return values, dominant


def versions_at(standard: Standard, edges: Ints, version_id: str) -> Ints:
    """Returns for each interval the place of the version asked for, or of the one in force when it begins.

    Raises:
        InvalidInput: There is no such version, or no table that old.
    """
    if version_id:
        return np.full(len(edges) - 1, standard.version_of(version_id))
    standard.version_at(moment(int(edges[0])), field="start_time")
    effective = np.array([microseconds(version.effective) for version in standard.versions])
    return np.searchsorted(effective, edges[:-1], side="right") - 1


def check_granularity(standard: Standard, versions: Ints, granularity: Granularity) -> None:
    """Returns when the index is defined for intervals of this length.

    Raises:
        InvalidInput: It is a formula of hours, and the sum of a day's highest values would be too high.
    """
    by_formula = any(standard.versions[version].formula is not None for version in np.unique(versions).tolist())
    if by_formula and granularity is not Granularity.HOURLY:
        raise InvalidInput("granularity", f"{standard.index} is defined by the hour alone; ask for hours")


def microseconds(when: datetime) -> int:
    """Returns a time as microseconds since 1970."""
    return (when - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def moment(since_1970: int) -> datetime:
    """Returns microseconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=since_1970)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a name that is a folder or leads out of it raises the others
        raise InvalidInput("time_zone", "must be a time zone of the IANA database, e.g. America/Los_Angeles") from None


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _pollutant_history(
    standard: Standard, versions: Ints, edges: Ints, pollutant: Pollutant, series: Mapping[AveragingPeriod, Series]
) -> PollutantHistory:
    """Returns the history of a pollutant, of each interval under its own version."""
    used = np.unique(versions).tolist()
    found = [_under_version(standard, version, edges, pollutant, series) for version in used]
    which = np.searchsorted(used, versions)
    return PollutantHistory(
        *(
            np.choose(which, [getattr(each, field.name) for each in found])
            if found[1:]
            else getattr(found[0], field.name)
            for field in fields(PollutantHistory)
        )
    )


def _under_version(
    standard: Standard, version: int, edges: Ints, pollutant: Pollutant, series: Mapping[AveragingPeriod, Series]
) -> PollutantHistory:
    rule = standard.versions[version].rules.get(pollutant, _NO_RULE)
    first_hour = int(edges[0]) // HOUR_MICROSECONDS - LEAD_HOURS
    hour_count = int(edges[-1]) // HOUR_MICROSECONDS + TAIL_HOURS - first_hour
    factors = standard.versions[version].to_usual
    grids = {period: _grid(pollutant, each, first_hour, hour_count, factors) for period, each in series.items()}
    hourly = grids.get(AveragingPeriod.HOUR, np.full(hour_count, np.nan))
    # Hours into the grid at which each interval begins; time zones of half hours put the start of a day within an hour.
    bounds = edges // HOUR_MICROSECONDS - first_hour
    measured = statistics(hourly, bounds)
    by_hour = bool(np.all(np.diff(edges) == HOUR_MICROSECONDS))
    if by_hour:
        concentration, basis, period = hourly_concentrations(rule, pollutant, grids, bounds[:-1])
    else:
        concentration, basis, period = daily_concentrations(rule, rule.daily[0], grids, bounds)
    sub_index, contribution = _sub_indices(standard, version, pollutant, period, concentration)
    for other in rule.also if by_hour else rule.daily[1:]:
        if by_hour:
            values, codes, _ = hourly_concentrations(rule._replace(current=(other,)), pollutant, grids, bounds[:-1])
        else:
            values, codes, _ = daily_concentrations(rule, other, grids, bounds, complete=True)
        given, _ = _sub_indices(standard, version, pollutant, other, values)
        higher = given > sub_index
        sub_index[higher], concentration[higher], basis[higher] = given[higher], values[higher], codes[higher]
    return PollutantHistory(*measured, concentration, basis, sub_index, contribution)


def _sub_indices(
    standard: Standard, version: int, pollutant: Pollutant, period: AveragingPeriod, concentration: Floats
) -> tuple[Ints, Floats]:
    """Returns the sub-index of each concentration and what it adds to a formula.

    The sub-index is NONE where the concentration is NaN or the version has no table for the period.
    """
    number = len(concentration)
    computed = sub_indices(standard, version, np.full(number, pollutant), np.full(number, period), concentration)
    return computed.values, computed.contributions


def _grid(pollutant: Pollutant, series: Series, first_hour: int, hour_count: int, factors: Factors) -> Floats:
    """Returns one value an hour in the usual unit, of several in an hour the last, NaN for none."""
    grid = np.full(hour_count, np.nan)
    places = np.asarray(series.times) // HOUR_MICROSECONDS - first_hour
    inside = (places >= 0) & (places < hour_count)
    values = to_usual_unit(
        np.full(len(places), pollutant), np.asarray(series.units), np.asarray(series.values), factors
    )
    grid[places[inside]] = values[inside]
    return grid
