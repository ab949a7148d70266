"""What each station says of a pollutant: the best of what it reported, or of what its hours give."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np

from airquality.averages import HOURS, NOWCAST_PRECISION, SUFFICIENT, Basis, mean_of
from airquality.nowcast import HOURS as NOWCAST_HOURS
from airquality.nowcast import particle_nowcast
from airquality.standards import Standard
from airquality.stations import Station
from airquality.units import TO_USUAL, AveragingPeriod, Pollutant

_HOUR_SECONDS: Final = 3600
_HOUR: Final = AveragingPeriod.HOUR
_FACTORS: Final[list[list[float]]] = TO_USUAL.tolist()


class Hours(NamedTuple):
    """Hourly values: hours of UTC since 1970 ascending, values, and codes of their units; all of one length."""

    hours: Sequence[int]
    values: Sequence[float]
    units: Sequence[int]


class Report(NamedTuple):
    """The newest reading of one series of a station, with the twelve hours up to it if it is newer than a NowCast."""

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
    """

    station: Station
    averaging_period: AveragingPeriod
    value: float
    basis: Basis
    time: datetime
    hourly_value: float | None


def contribution_of(standard: Standard, pollutant: Pollutant, reports: Sequence[Report]) -> Contribution | None:
    """Returns what one station says of a pollutant, the best of what it offers.

    What the provider reported for one of the periods that the index wants comes first, unless an hourly reading is
    newer and gives as much; then what can be computed from the hours; at last a mean of too few of them.
    """
    by_period = {report.averaging_period: report for report in reports}
    hourly = by_period.get(_HOUR)
    hourly_value = None if hourly is None else hourly.value * _FACTORS[pollutant][hourly.unit]
    wanted = standard.current.get(pollutant, (_HOUR,))
    reported = next((by_period[period] for period in wanted if period in by_period), None)
    if reported is not None and (hourly is None or reported.time >= hourly.time or _HOUR in wanted):
        return _as_reported(reported, pollutant, hourly_value)
    if hourly is not None:
        computed = _computed(wanted, pollutant, hourly, hourly_value, complete=True)
        if computed is not None:
            return computed
    if reported is not None:
        return _as_reported(reported, pollutant, hourly_value)
    return None if hourly is None else _computed(wanted, pollutant, hourly, hourly_value, complete=False)


def _as_reported(report: Report, pollutant: Pollutant, hourly_value: float | None) -> Contribution:
    period = AveragingPeriod(report.averaging_period)
    return Contribution(
        station=report.station,
        averaging_period=period,
        value=report.value * _FACTORS[pollutant][report.unit],
        basis=Basis.NOWCAST_REPORTED if period == AveragingPeriod.NOWCAST else Basis.AVERAGE_REPORTED,
        time=report.time,
        hourly_value=hourly_value,
    )


def _computed(
    wanted: Sequence[AveragingPeriod],
    pollutant: Pollutant,
    hourly: Report,
    hourly_value: float | None,
    *,
    complete: bool,
) -> Contribution | None:
    """Returns what the last twelve hours give: the best of `wanted`, or for an incomplete one its mean."""
    hours = _last_hours(pollutant, hourly)
    for period in wanted:
        if period == AveragingPeriod.NOWCAST and pollutant in NOWCAST_PRECISION:
            value = float(particle_nowcast(hours, NOWCAST_PRECISION[pollutant]))
            if value == value:  # noqa: PLR0124 -- not NaN
                return Contribution(hourly.station, period, value, Basis.NOWCAST_COMPUTED, hourly.time, hourly_value)
        elif HOURS.get(period, NOWCAST_HOURS + 1) <= NOWCAST_HOURS:
            mean, share = mean_of(hours[-HOURS[period] :])
            if share >= SUFFICIENT:
                return Contribution(
                    hourly.station, period, float(mean), Basis.AVERAGE_COMPUTED, hourly.time, hourly_value
                )
    if complete:
        return None
    mean, _ = mean_of(hours)
    return Contribution(hourly.station, wanted[0], float(mean), Basis.AVERAGE_INCOMPLETE, hourly.time, hourly_value)


def _last_hours(pollutant: Pollutant, hourly: Report) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Returns twelve hourly values in the usual unit, the newest last, of several in an hour the last, NaN for none."""
    hours = np.full(NOWCAST_HOURS, np.nan)
    newest = int(hourly.time.timestamp() // _HOUR_SECONDS)
    hours[-1] = hourly.value * _FACTORS[pollutant][hourly.unit]
    if hourly.hours is not None:
        for hour, value, unit in zip(*hourly.hours, strict=True):
            hours[NOWCAST_HOURS - 1 - (newest - hour)] = value * _FACTORS[pollutant][unit]
    return hours
