"""What one station says of a pollutant: what its provider reported, or what its hours give."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Final, NamedTuple

import numpy as np

from airquality.averages import HOURS, NOWCAST_PRECISION, Basis, mean_of
from airquality.nowcast import HOURS as NOWCAST_HOURS
from airquality.nowcast import particle_nowcast
from airquality.ozone_nowcast import HOURS as OZONE_HOURS
from airquality.ozone_nowcast import ozone_nowcast
from airquality.standards import Rule, Version
from airquality.stations import Station
from airquality.units import AveragingPeriod, Factors, Pollutant

_HOUR_SECONDS: Final = 3600
_DAY_HOURS: Final = 24
_HOUR: Final = AveragingPeriod.HOUR

# What of a pollutant that the index does not take: it is told by the hour.
NO_RULE: Final = Rule((_HOUR,), (), (_HOUR,), None, 0.75)

Hourly = np.ndarray[tuple[int], np.dtype[np.float64]]


class Hours(NamedTuple):
    """Hourly values: hours of UTC since 1970 ascending, values, and codes of their units; all of one length."""

    hours: Sequence[int]
    values: Sequence[float]
    units: Sequence[int]


class Report(NamedTuple):
    """The newest reading of one series of a station, with the hours up to it where something is made of them."""

    station: Station
    pollutant: int
    averaging_period: int
    time: datetime
    value: float
    unit: int
    hours: Hours | None


class Contribution(NamedTuple):
    """What one station says of one pollutant, in the pollutant's usual unit.

    Attributes:
        station: The station, with its distance.
        averaging_period: What `value` counts as for the index.
        value: The concentration.
        basis: How it came about.
        time: Start of the newest period used.
        hourly_value: Its newest hourly reading; None when it has none.
        others: The other averages that the index counts beside `value`, by their periods.
    """

    station: Station
    averaging_period: AveragingPeriod
    value: float
    basis: Basis
    time: datetime
    hourly_value: float | None
    others: Mapping[AveragingPeriod, float]


class Wanted(NamedTuple):
    """Which hourly values conditions are made of.

    Attributes:
        hours: How many hours up to the newest one, for each code of Pollutant from 1 on.
        nowcasts: Whether a reported NowCast that is as new as the hour makes them needless, for each likewise.
    """

    hours: tuple[int, ...]
    nowcasts: tuple[bool, ...]

    def earliest(self, at: datetime, max_age_seconds: float) -> datetime:
        """Returns a moment before which no reading counts for the air at `at`.

        The longest period is a day, and the first of the hours lies the longest of them before an hour that may have ended
        `max_age_seconds` ago.
        """
        hours = max(_DAY_HOURS, 1 + max(self.hours))
        return at - timedelta(seconds=max_age_seconds, hours=hours)


@cache
def wanted_of(version: Version) -> Wanted:
    """Returns how many hours this version of an index makes something of."""
    hours, nowcasts = [1] * max(Pollutant), [False] * max(Pollutant)
    for pollutant, rule in version.rules.items():
        hours[pollutant - 1] = _longest(pollutant, rule)
        nowcasts[pollutant - 1] = AveragingPeriod.NOWCAST in rule.current
    return Wanted(tuple(hours), tuple(nowcasts))


def _length(pollutant: Pollutant, period: AveragingPeriod) -> int:
    if period == AveragingPeriod.NOWCAST:
        return OZONE_HOURS if pollutant == Pollutant.O3 else NOWCAST_HOURS
    return HOURS.get(period, 1)


def contribution_of(version: Version, pollutant: Pollutant, reports: Sequence[Report]) -> Contribution | None:
    """Returns what one station says of a pollutant, the best of what it offers.

    What the provider reported for one of the periods that the index wants comes first, unless an hourly reading is
    newer and gives as much; then what can be computed from the hours; at last a mean of too few of them.
    """
    rule, factors = version.rules.get(pollutant, NO_RULE), version.to_usual
    by_period = {report.averaging_period: report for report in reports}
    hourly = by_period.get(_HOUR)
    hourly_value = None if hourly is None else float(hourly.value * factors[pollutant, hourly.unit])
    hours = None
    if hourly is not None and hourly.hours is not None:
        hours = _last_hours(hourly.time, hourly.hours, _longest(pollutant, rule), factors[pollutant])
    reported = next((by_period[period] for period in rule.current if period in by_period), None)
    chosen: tuple[AveragingPeriod, float, Basis, datetime] | None = None
    if reported is not None and (hourly is None or reported.time >= hourly.time or _HOUR in rule.current):
        chosen = _as_reported(reported, pollutant, factors)
    elif hourly is not None and hourly_value is not None:
        computed = None if hours is None else _computed(rule, rule.current, pollutant, hours)
        if computed is not None:
            chosen = (*computed, hourly.time)
        elif reported is None:
            mean = hourly_value if hours is None else float(mean_of(hours)[0])
            chosen = (rule.current[0], mean, Basis.AVERAGE_INCOMPLETE, hourly.time)
    if chosen is None and reported is not None:
        chosen = _as_reported(reported, pollutant, factors)
    if chosen is None:
        return None
    period, value, basis, time = chosen
    others = _others(rule, pollutant, by_period, hours, factors)
    return Contribution(reports[0].station, period, value, basis, time, hourly_value, others)


def counts(version: Version, basis: Basis) -> bool:
    """Tells whether a concentration counts for an index, which one of too few hours does not where several must."""
    demanding = version.requirement.minimum > 1 or version.requirement.all_of
    return not demanding or basis != Basis.AVERAGE_INCOMPLETE


def _others(
    rule: Rule,
    pollutant: Pollutant,
    by_period: Mapping[int, Report],
    hours: Hourly | None,
    factors: Factors,
) -> dict[AveragingPeriod, float]:
    """Returns the averages that count beside the one chosen: reported ones, or those of enough hours."""
    found = {}
    for period in rule.also:
        if period in by_period:
            found[period] = float(by_period[period].value * factors[pollutant, by_period[period].unit])
        elif hours is not None:
            computed = _computed(rule, (period,), pollutant, hours)
            if computed is not None:
                found[period] = computed[1]
    return found


def _as_reported(
    report: Report, pollutant: Pollutant, factors: Factors
) -> tuple[AveragingPeriod, float, Basis, datetime]:
    period = AveragingPeriod(report.averaging_period)
    basis = Basis.NOWCAST_REPORTED if period == AveragingPeriod.NOWCAST else Basis.AVERAGE_REPORTED
    return period, float(report.value * factors[pollutant, report.unit]), basis, report.time


def _computed(
    rule: Rule, wanted: Sequence[AveragingPeriod], pollutant: Pollutant, hours: Hourly
) -> tuple[AveragingPeriod, float, Basis] | None:
    """Returns the best of `wanted` that enough of the hours give."""
    for period in wanted:
        if period == AveragingPeriod.NOWCAST:
            value = _nowcast(pollutant, hours)
            if value == value:  # noqa: PLR0124 -- not NaN
                return period, value, Basis.NOWCAST_COMPUTED
        elif period in HOURS:
            mean, share = mean_of(hours[-HOURS[period] :])
            if share >= rule.coverage:
                return period, float(mean), Basis.AVERAGE_COMPUTED
    return None


def _nowcast(pollutant: Pollutant, hours: Hourly) -> float:
    if pollutant == Pollutant.O3:
        return ozone_nowcast(hours)
    return float(particle_nowcast(hours[-NOWCAST_HOURS:], NOWCAST_PRECISION[pollutant]))


def _longest(pollutant: Pollutant, rule: Rule) -> int:
    return max(_length(pollutant, period) for period in (*rule.current, *rule.also))


def _last_hours(newest: datetime, found: Hours, number: int, factors: Factors) -> Hourly:
    """Returns so many hourly values in the usual unit, the newest last, of several in an hour the last, NaN for none."""
    hours = np.full(number, np.nan)
    places = number - 1 - (int(newest.timestamp() // _HOUR_SECONDS) - np.asarray(found.hours))
    hours[places] = np.asarray(found.values) * factors[np.asarray(found.units)]
    return hours
