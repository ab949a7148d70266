"""The past of a station: values, coverage and index of each hour or day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from airquality.averages import HOURS, NOWCAST_PRECISION, SUFFICIENT, Basis, mean_of
from airquality.index import NONE, sub_indices
from airquality.nowcast import HOURS as NOWCAST_HOURS
from airquality.nowcast import particle_nowcast
from airquality.standards import Standard
from airquality.units import AveragingPeriod, Pollutant, to_usual_unit
from meshkit.errors import InvalidInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR_MICROSECONDS: Final = 3_600_000_000
LEAD_HOURS: Final = NOWCAST_HOURS
"""Hours before the first interval whose readings are needed, for its NowCast."""
TAIL_HOURS: Final = 8
"""Hours after the last interval whose readings are needed, for averages that begin in it."""

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
    """

    mean: Floats
    minimum: Floats
    maximum: Floats
    hour_count: Ints
    coverage: Floats
    index_concentration: Floats
    basis: Ints
    sub_index: Ints


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Intervals and what was measured in them.

    Attributes:
        edges: Where the intervals begin and the last one ends, in microseconds since 1970.
        versions: For each interval the place in the standard's versions of the one used.
        pollutants: Each pollutant's history.
    """

    edges: Ints
    versions: Ints
    pollutants: dict[Pollutant, PollutantHistory]


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
    pollutants = sorted({pollutant for pollutant, _ in series})
    return History(
        edges,
        versions,
        {
            pollutant: _pollutant_history(
                standard,
                versions,
                edges,
                pollutant,
                {period: each for (of, period), each in series.items() if of == pollutant},
            )
            for pollutant in pollutants
        },
    )


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
    first_hour = int(edges[0]) // HOUR_MICROSECONDS - LEAD_HOURS
    hour_count = int(edges[-1]) // HOUR_MICROSECONDS + TAIL_HOURS - first_hour
    grids = {period: _grid(pollutant, each, first_hour, hour_count) for period, each in series.items()}
    empty = np.full(hour_count, np.nan)
    hourly = grids.get(AveragingPeriod.HOUR, empty)
    # Hours into the grid at which each interval begins; time zones of half hours put the start of a day within an hour.
    bounds = edges // HOUR_MICROSECONDS - first_hour
    statistics = _statistics(hourly, bounds)
    # The other tables of a pollutant, which count where they give more: an hour of O3, and a day of SO2 above 200.
    others = [(AveragingPeriod.HOUR, statistics[2], np.full(len(bounds) - 1, Basis.AVERAGE_REPORTED))]
    if np.all(np.diff(edges) == HOUR_MICROSECONDS):
        concentration, basis, period = _hourly_concentrations(standard, pollutant, grids, bounds[:-1])
    else:
        concentration, basis, period = _daily_concentrations(standard, pollutant, grids, bounds)
        others.append((AveragingPeriod.TWENTY_FOUR_HOURS, *_day_averages(grids, bounds)))
    sub_index = _sub_indices(standard, versions, pollutant, period, concentration)
    for other, values, codes in others:
        given = _sub_indices(standard, versions, pollutant, other, values)
        higher = given > sub_index
        sub_index[higher], concentration[higher], basis[higher] = given[higher], values[higher], codes[higher]
    return PollutantHistory(*statistics, concentration, basis, sub_index)


def _sub_indices(
    standard: Standard, versions: Ints, pollutant: Pollutant, period: AveragingPeriod, concentration: Floats
) -> Ints:
    """Returns the sub-index of each concentration; NONE where it is NaN or the version has no table for the period."""
    number = len(concentration)
    computed = sub_indices(
        standard, versions, np.full(number, pollutant), np.full(number, period), np.nan_to_num(concentration)
    )
    return np.where(np.isnan(concentration), NONE, computed.values)


def _grid(pollutant: Pollutant, series: Series, first_hour: int, hour_count: int) -> Floats:
    """Returns one value an hour in the usual unit, of several in an hour the last, NaN for none."""
    grid = np.full(hour_count, np.nan)
    places = np.asarray(series.times) // HOUR_MICROSECONDS - first_hour
    inside = (places >= 0) & (places < hour_count)
    values = to_usual_unit(np.full(len(places), pollutant), np.asarray(series.units), np.asarray(series.values))
    grid[places[inside]] = values[inside]
    return grid


def _statistics(hourly: Floats, bounds: Ints) -> tuple[Floats, Floats, Floats, Ints, Floats]:
    """Returns mean, minimum, maximum, number of hours and coverage of each interval."""
    present = ~np.isnan(hourly)
    lengths = np.diff(bounds)
    count = np.add.reduceat(present.astype(np.int64), bounds)[:-1]
    total = np.add.reduceat(np.where(present, hourly, 0.0), bounds)[:-1]
    minimum = np.minimum.reduceat(np.where(present, hourly, np.inf), bounds)[:-1]
    maximum = np.maximum.reduceat(np.where(present, hourly, -np.inf), bounds)[:-1]
    none = count == 0
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=~none)
    return mean, np.where(none, np.nan, minimum), np.where(none, np.nan, maximum), count, count / lengths


def _hourly_concentrations(
    standard: Standard, pollutant: Pollutant, grids: Mapping[AveragingPeriod, Floats], hours: Ints
) -> tuple[Floats, Ints, AveragingPeriod]:
    """Returns for each hour the concentration that stood for the air then, with its basis and its period."""
    wanted = standard.current.get(pollutant, (AveragingPeriod.HOUR,))
    best, basis = np.full(len(hours), np.nan), np.zeros(len(hours), dtype=np.int64)
    for period in wanted:
        if period in grids:
            _fill(best, basis, grids[period][hours], _reported(period))
    hourly = grids.get(AveragingPeriod.HOUR)
    if hourly is None:
        return best, basis, wanted[0]
    for period in wanted:
        if period == AveragingPeriod.NOWCAST and pollutant in NOWCAST_PRECISION:
            windows = _windows(hourly, NOWCAST_HOURS)[hours - NOWCAST_HOURS + 1]
            _fill(best, basis, particle_nowcast(windows, NOWCAST_PRECISION[pollutant]), Basis.NOWCAST_COMPUTED)
        elif 1 < HOURS.get(period, 0) <= NOWCAST_HOURS:
            mean, share = mean_of(_windows(hourly, HOURS[period])[hours - HOURS[period] + 1])
            _fill(best, basis, np.where(share >= SUFFICIENT, mean, np.nan), Basis.AVERAGE_COMPUTED)
    return best, basis, wanted[0]


def _daily_concentrations(
    standard: Standard, pollutant: Pollutant, grids: Mapping[AveragingPeriod, Floats], bounds: Ints
) -> tuple[Floats, Ints, AveragingPeriod]:
    """Returns for each day the concentration that its index is made from, with its basis and its period."""
    period = standard.daily.get(pollutant, AveragingPeriod.HOUR)
    hourly = grids.get(AveragingPeriod.HOUR)
    if period == AveragingPeriod.TWENTY_FOUR_HOURS:
        best, basis = _day_averages(grids, bounds)
        if hourly is not None:
            _fill(best, basis, _statistics(hourly, bounds)[0], Basis.AVERAGE_INCOMPLETE)
        return best, basis, period
    best, basis = np.full(len(bounds) - 1, np.nan), np.zeros(len(bounds) - 1, dtype=np.int64)
    if period in grids:
        _fill(best, basis, _highest(grids[period], bounds), _reported(period))
    if period == AveragingPeriod.EIGHT_HOURS:
        mean = np.full(int(bounds[-1]) + 1, np.nan)
        if hourly is not None:
            mean, share = mean_of(_windows(hourly, HOURS[period]))
            _fill(best, basis, _highest(np.where(share >= SUFFICIENT, mean, np.nan), bounds), Basis.AVERAGE_COMPUTED)
        if standard.nowcast.get(pollutant) == period and AveragingPeriod.NOWCAST in grids:
            _fill(best, basis, _highest(grids[AveragingPeriod.NOWCAST], bounds), Basis.NOWCAST_REPORTED)
        _fill(best, basis, _highest(mean, bounds), Basis.AVERAGE_INCOMPLETE)
    return best, basis, period


def _day_averages(grids: Mapping[AveragingPeriod, Floats], bounds: Ints) -> tuple[Floats, Ints]:
    """Returns for each day its average, the provider's own or that of enough hours, with its basis."""
    best, basis = np.full(len(bounds) - 1, np.nan), np.zeros(len(bounds) - 1, dtype=np.int64)
    if AveragingPeriod.TWENTY_FOUR_HOURS in grids:
        _fill(best, basis, _highest(grids[AveragingPeriod.TWENTY_FOUR_HOURS], bounds), Basis.AVERAGE_REPORTED)
    if AveragingPeriod.HOUR in grids:
        mean, _, _, _, coverage = _statistics(grids[AveragingPeriod.HOUR], bounds)
        _fill(best, basis, np.where(coverage >= SUFFICIENT, mean, np.nan), Basis.AVERAGE_COMPUTED)
    return best, basis


def _reported(period: AveragingPeriod) -> Basis:
    return Basis.NOWCAST_REPORTED if period == AveragingPeriod.NOWCAST else Basis.AVERAGE_REPORTED


def _fill(best: Floats, basis: Ints, values: Floats, code: Basis) -> None:
    """Puts values where there is none yet."""
    missing = np.isnan(best) & ~np.isnan(values)
    best[missing] = values[missing]
    basis[missing] = code


def _windows(hourly: Floats, hours: int) -> Floats:
    """Returns all runs of so many hours, the one that begins with hour i at i."""
    return np.lib.stride_tricks.sliding_window_view(hourly, hours)


def _highest(values: Floats, bounds: Ints) -> Floats:
    """Returns the highest value that begins in each interval, NaN for none."""
    highest = np.maximum.reduceat(np.where(np.isnan(values), -np.inf, values), bounds)[:-1]
    return np.where(np.isneginf(highest), np.nan, highest)
