"""What stands for the air in each hour or day, from one value an hour."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from airquality.averages import HOURS, NOWCAST_PRECISION, Basis, mean_of, running_mean
from airquality.nowcast import HOURS as NOWCAST_HOURS
from airquality.nowcast import particle_nowcast
from airquality.standards import Rule
from airquality.units import AveragingPeriod, Pollutant

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def hourly_concentrations(
    rule: Rule, pollutant: Pollutant, grids: Mapping[AveragingPeriod, Floats], hours: Ints
) -> tuple[Floats, Ints, AveragingPeriod]:
    """Returns for each hour the concentration that stood for the air then, with its basis and its period."""
    best, basis = np.full(len(hours), np.nan), np.zeros(len(hours), dtype=np.int64)
    for period in rule.current:
        if period in grids:
            _fill(best, basis, grids[period][hours], _reported(period))
    hourly = grids.get(AveragingPeriod.HOUR)
    if hourly is None:
        return best, basis, rule.current[0]
    for period in rule.current:
        if period == AveragingPeriod.NOWCAST and pollutant in NOWCAST_PRECISION:
            windows = _windows(hourly, NOWCAST_HOURS)[hours - NOWCAST_HOURS + 1]
            _fill(best, basis, particle_nowcast(windows, NOWCAST_PRECISION[pollutant]), Basis.NOWCAST_COMPUTED)
        elif HOURS.get(period, 0) > 1:
            mean, share = mean_of(_windows(hourly, HOURS[period])[hours - HOURS[period] + 1])
            _fill(best, basis, np.where(share >= rule.coverage, mean, np.nan), Basis.AVERAGE_COMPUTED)
    return best, basis, rule.current[0]


def daily_concentrations(
    rule: Rule,
    period: AveragingPeriod,
    grids: Mapping[AveragingPeriod, Floats],
    bounds: Ints,
    *,
    complete: bool = False,
) -> tuple[Floats, Ints, AveragingPeriod]:
    """Returns for each day the concentration that its index is made from, with its basis and its period.

    What is made of too few hours is given too, unless only `complete` ones are wanted.
    """
    hourly = grids.get(AveragingPeriod.HOUR)
    if period == AveragingPeriod.TWENTY_FOUR_HOURS:
        best, basis = _day_averages(rule, grids, bounds)
        if hourly is not None and not complete:
            _fill(best, basis, _means(hourly, bounds)[0], Basis.AVERAGE_INCOMPLETE)
        return best, basis, period
    best, basis = np.full(len(bounds) - 1, np.nan), np.zeros(len(bounds) - 1, dtype=np.int64)
    if period in grids:
        _fill(best, basis, highest_in(grids[period], bounds), _reported(period))
    if HOURS.get(period, 0) > 1:
        mean = np.full(int(bounds[-1]) + 1, np.nan)
        if hourly is not None:
            mean, share = running_mean(hourly, HOURS[period])
            enough = np.where(share >= rule.coverage, mean, np.nan)
            _fill(best, basis, highest_in(enough, bounds), Basis.AVERAGE_COMPUTED)
        if rule.nowcast == period and AveragingPeriod.NOWCAST in grids:
            _fill(best, basis, highest_in(grids[AveragingPeriod.NOWCAST], bounds), Basis.NOWCAST_REPORTED)
        if not complete:
            _fill(best, basis, highest_in(mean, bounds), Basis.AVERAGE_INCOMPLETE)
    return best, basis, period


def _day_averages(rule: Rule, grids: Mapping[AveragingPeriod, Floats], bounds: Ints) -> tuple[Floats, Ints]:
    """Returns for each day its average, the provider's own or that of enough hours, with its basis."""
    best, basis = np.full(len(bounds) - 1, np.nan), np.zeros(len(bounds) - 1, dtype=np.int64)
    if AveragingPeriod.TWENTY_FOUR_HOURS in grids:
        _fill(best, basis, highest_in(grids[AveragingPeriod.TWENTY_FOUR_HOURS], bounds), Basis.AVERAGE_REPORTED)
    if AveragingPeriod.HOUR in grids:
        mean, coverage = _means(grids[AveragingPeriod.HOUR], bounds)
        _fill(best, basis, np.where(coverage >= rule.coverage, mean, np.nan), Basis.AVERAGE_COMPUTED)
    return best, basis


def _means(hourly: Floats, bounds: Ints) -> tuple[Floats, Floats]:
    """Returns mean and coverage of each interval."""
    present = ~np.isnan(hourly)
    count = np.add.reduceat(present.astype(np.int64), bounds)[:-1]
    total = np.add.reduceat(np.where(present, hourly, 0.0), bounds)[:-1]
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean, count / np.diff(bounds)


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


def highest_in(values: Floats, bounds: Ints) -> Floats:
    """Returns the highest value that begins in each interval, NaN for none."""
    highest = np.maximum.reduceat(np.where(np.isnan(values), -np.inf, values), bounds)[:-1]
    return np.where(np.isneginf(highest), np.nan, highest)
