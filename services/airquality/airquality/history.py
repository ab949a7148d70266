"""The past of a station: values, coverage and index of each hour or day."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airquality.averages import HOURS, NOWCAST_PRECISION, SUFFICIENT, Basis, mean_of, running_mean
from airquality.blocks import mean_direction
from airquality.index import NONE, sub_indices
from airquality.intervals import HOUR_MICROSECONDS, microseconds, moment
from airquality.nowcast import HOURS as NOWCAST_HOURS
from airquality.nowcast import particle_nowcast
from airquality.standards import Standard
from airquality.units import AveragingPeriod, Pollutant

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAD_HOURS: Final = NOWCAST_HOURS
"""Hours before the first interval whose readings are needed, for its NowCast."""
TAIL_HOURS: Final = 8
"""Hours after the last interval whose readings are needed, for averages that begin in it."""


class Statistics(NamedTuple):
    """The first fields of PollutantHistory."""

    mean: Floats
    minimum: Floats
    maximum: Floats
    hour_count: Ints
    flagged_count: Ints
    coverage: Floats


class Hours(NamedTuple):
    """Hours of a series one after another from LEAD_HOURS before the first edge to TAIL_HOURS after the last.

    Attributes:
        values: In the usual unit, NaN for none.
        flagged: Whether quality control found something about it.
    """

    values: Floats
    flagged: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class PollutantHistory:
    """One pollutant over the intervals, all arrays of one length, concentrations in the usual unit, NaN for none.

    Attributes:
        mean: Mean of the hourly readings.
        minimum: Lowest of them.
        maximum: Highest of them.
        hour_count: How many hours have one.
        flagged_count: How many of these quality control flagged.
        coverage: The share of the interval's hours that have one.
        index_concentration: What the sub-index is made from.
        basis: Codes of Basis for it, 0 for none.
        sub_index: The sub-index, NONE for none.
    """

    mean: Floats
    minimum: Floats
    maximum: Floats
    hour_count: Ints
    flagged_count: Ints
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


def history_of(
    standard: Standard,
    versions: Ints,
    edges: Ints,
    series: Mapping[tuple[Pollutant, AveragingPeriod], Hours],
) -> History:
    """Computes the history of each pollutant from the readings of its station.

    Args:
        standard: The index.
        versions: For each interval the place in `standard.versions` of the one to use.
        edges: As `edges_of` gives them, n + 1; intervals of hours or of days.
        series: The hours of each series.

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


def _pollutant_history(
    standard: Standard, versions: Ints, edges: Ints, pollutant: Pollutant, series: Mapping[AveragingPeriod, Hours]
) -> PollutantHistory:
    first_hour, hour_count = span(edges)
    grids = {period: each.values for period, each in series.items()}
    hourly = series.get(AveragingPeriod.HOUR, nothing(hour_count))
    # Hours into the grid at which each interval begins; time zones of half hours put the start of a day within an hour.
    bounds = edges // HOUR_MICROSECONDS - first_hour
    statistics = statistics_of(pollutant, hourly, bounds)
    # The other tables of a pollutant, which count where they give more: an hour of O3, and a day of SO2 above 200.
    others = [(AveragingPeriod.HOUR, statistics.maximum, np.full(len(bounds) - 1, Basis.AVERAGE_REPORTED))]
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


def span(edges: Ints) -> tuple[int, int]:
    """Returns the first hour, since 1970, and the number of hours that the history of intervals is made from."""
    first_hour = int(edges[0]) // HOUR_MICROSECONDS - LEAD_HOURS
    return first_hour, int(edges[-1]) // HOUR_MICROSECONDS + TAIL_HOURS - first_hour


def summed_up(statistics: Statistics, sub_index: Ints) -> PollutantHistory:
    """Returns the history of intervals whose index is made of their days' and of no concentration."""
    none = np.full(len(sub_index), np.nan)
    return PollutantHistory(*statistics, none, np.zeros(len(sub_index), dtype=np.int64), sub_index)


def nothing(hour_count: int) -> Hours:
    """Returns so many hours without a reading."""
    return Hours(np.full(hour_count, np.nan), np.zeros(hour_count, dtype=np.bool_))


def statistics_of(pollutant: Pollutant, hourly: Hours, bounds: Ints) -> Statistics:
    """Returns the statistics of intervals, given where in `hourly` they begin and the last one ends."""
    values = hourly.values
    present = ~np.isnan(values)
    count = np.add.reduceat(present.astype(np.int64), bounds)[:-1]
    flagged = np.add.reduceat((present & hourly.flagged).astype(np.int64), bounds)[:-1]
    none = count == 0
    coverage = count / np.diff(bounds)
    if pollutant == Pollutant.WIND_DIRECTION:
        parts = np.split(values, bounds)[1:-1]
        mean = np.array([mean_direction(part) for part in parts])
        return Statistics(mean, np.full(len(mean), np.nan), np.full(len(mean), np.nan), count, flagged, coverage)
    total = np.add.reduceat(np.where(present, values, 0.0), bounds)[:-1]
    minimum = np.minimum.reduceat(np.where(present, values, np.inf), bounds)[:-1]
    maximum = np.maximum.reduceat(np.where(present, values, -np.inf), bounds)[:-1]
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=~none)
    return Statistics(mean, np.where(none, np.nan, minimum), np.where(none, np.nan, maximum), count, flagged, coverage)


def _means(hourly: Floats, bounds: Ints) -> tuple[Floats, Floats]:
    """Returns mean and coverage of each interval."""
    found = statistics_of(Pollutant.PM25, Hours(hourly, np.zeros(len(hourly), dtype=np.bool_)), bounds)
    return found.mean, found.coverage


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
            windows = windows_of(hourly, NOWCAST_HOURS)[hours - NOWCAST_HOURS + 1]
            _fill(best, basis, particle_nowcast(windows, NOWCAST_PRECISION[pollutant]), Basis.NOWCAST_COMPUTED)
        elif 1 < HOURS.get(period, 0) <= NOWCAST_HOURS:
            mean, share = mean_of(windows_of(hourly, HOURS[period])[hours - HOURS[period] + 1])
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
            _fill(best, basis, _means(hourly, bounds)[0], Basis.AVERAGE_INCOMPLETE)
        return best, basis, period
    best, basis = np.full(len(bounds) - 1, np.nan), np.zeros(len(bounds) - 1, dtype=np.int64)
    if period in grids:
        _fill(best, basis, highest_in(grids[period], bounds), _reported(period))
    if period == AveragingPeriod.EIGHT_HOURS:
        mean = np.full(int(bounds[-1]) + 1, np.nan)
        if hourly is not None:
            mean, share = running_mean(hourly, HOURS[period])
            _fill(best, basis, highest_in(np.where(share >= SUFFICIENT, mean, np.nan), bounds), Basis.AVERAGE_COMPUTED)
        if standard.nowcast.get(pollutant) == period and AveragingPeriod.NOWCAST in grids:
            _fill(best, basis, highest_in(grids[AveragingPeriod.NOWCAST], bounds), Basis.NOWCAST_REPORTED)
        _fill(best, basis, highest_in(mean, bounds), Basis.AVERAGE_INCOMPLETE)
    return best, basis, period


def _day_averages(grids: Mapping[AveragingPeriod, Floats], bounds: Ints) -> tuple[Floats, Ints]:
    """Returns for each day its average, the provider's own or that of enough hours, with its basis."""
    best, basis = np.full(len(bounds) - 1, np.nan), np.zeros(len(bounds) - 1, dtype=np.int64)
    if AveragingPeriod.TWENTY_FOUR_HOURS in grids:
        _fill(best, basis, highest_in(grids[AveragingPeriod.TWENTY_FOUR_HOURS], bounds), Basis.AVERAGE_REPORTED)
    if AveragingPeriod.HOUR in grids:
        mean, coverage = _means(grids[AveragingPeriod.HOUR], bounds)
        _fill(best, basis, np.where(coverage >= SUFFICIENT, mean, np.nan), Basis.AVERAGE_COMPUTED)
    return best, basis


def _reported(period: AveragingPeriod) -> Basis:
    return Basis.NOWCAST_REPORTED if period == AveragingPeriod.NOWCAST else Basis.AVERAGE_REPORTED


def _fill(best: Floats, basis: Ints, values: Floats, code: Basis) -> None:
    """Puts values where there is none yet."""
    missing = np.isnan(best) & ~np.isnan(values)
    best[missing] = values[missing]
    basis[missing] = code


def windows_of(hourly: Floats, hours: int) -> Floats:
    """Returns all runs of so many hours, the one that begins with hour i at i."""
    return np.lib.stride_tricks.sliding_window_view(hourly, hours)


def highest_in(values: Floats, bounds: Ints) -> Floats:
    """Returns the highest value that begins in each interval, NaN for none."""
    highest = np.maximum.reduceat(np.where(np.isnan(values), -np.inf, values), bounds)[:-1]
    return np.where(np.isneginf(highest), np.nan, highest)
