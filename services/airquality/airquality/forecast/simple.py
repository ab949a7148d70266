"""The simple forecast, for where there is too little to learn from: back to the usual, at the pace of the last weeks.

In logarithms the air is what it usually is at this hour of the day plus how much it differs now, which fades. How
fast, and how far this was off, is measured at the station itself over the last weeks, beside what is typical where these
are few. Source: damped persistence, as in Gneiting and others' reference forecasts; an autoregression of order one.
"""

from typing import Final, NamedTuple

import numpy as np

from airquality.forecast.frame import Floats, Ints, last_known
from airquality.forecast.intervals import nested

WINDOW_HOURS: Final = 672
"""Hours up to the moment of a forecast that it looks at: four weeks."""
FEWEST_READINGS: Final = 3
"""With fewer hourly readings in the window there is no forecast."""
OLDEST_HOURS: Final = 24
"""How old the newest reading may be."""

_DAY: Final = 24
_SHARE: Final = 0.1  # of the usual concentration, added before the logarithm is taken
_PRIOR_HOURS: Final = 48.0
_PROFILE_PRIOR: Final = 4.0  # days of "no daily course" that the hours of a day are weighed against
# What is typical of PM2.5 in AirNow's August 2020 and in Beijing: the anomaly halves in about 16 hours, and its
# logarithm has a standard deviation of 0.7. The readings of a few days outweigh them.
_TYPICAL_FADING: Final = 0.957
_TYPICAL_DEVIATION: Final = 0.7
_NORMAL: Final = np.array([-1.96, -1.2816, 1.2816, 1.96])  # of intervals.TAILS
_FEWEST_RESIDUALS: Final = 100
# The course and the fading were fitted to the same weeks that the residuals are of, which makes these too small.
_WIDENING: Final = 1.1


class Simple(NamedTuple):
    """Forecasts of S stations for H horizons.

    Attributes:
        medians: In the usual unit, shape (S, H), NaN where there is nothing to go by.
        bounds: In the order of `intervals.TAILS`, shape (4, S, H).
        errors: Mean absolute errors over the last weeks, of the same horizons, shape (S, H), NaN where too few.
    """

    medians: Floats
    bounds: Floats
    errors: Floats


def forecast(values: Floats, end_hour: int, horizons: Ints) -> Simple:
    """Forecasts from the end of hourly values.

    Args:
        values: Concentrations of the hours up to the moment, shape (S, T), NaN for none.
        end_hour: The hour after the last, in hours since 1970.
        horizons: Hours ahead, from 1.

    Returns:
        The forecasts.
    """
    values = values[:, -WINDOW_HOURS:]
    hours = (np.arange(end_hour - values.shape[1], end_hour)) % _DAY
    results = [_of_station(each, hours, end_hour, horizons) for each in values]
    return Simple(
        *(np.stack(each, axis=axis) for each, axis in zip(zip(*results, strict=True), (0, 1, 0), strict=True))
    )


def _of_station(values: Floats, hours: Ints, end_hour: int, horizons: Ints) -> tuple[Floats, Floats, Floats]:
    present = ~np.isnan(values)
    base, age = last_known(values, OLDEST_HOURS)
    nothing = np.full(len(horizons), np.nan)
    if present.sum() < FEWEST_READINGS or np.isnan(base[-1]):
        return nothing, np.full((4, len(horizons)), np.nan), nothing
    offset = _SHARE * max(float(np.median(values[present])), 1e-6)
    logs = np.log(np.maximum(values, 0.0) + offset)
    course = _course(logs, hours)
    anomaly = logs - course[hours]
    weight = float(np.mean(anomaly[present] ** 2)) * present.sum() + _TYPICAL_DEVIATION**2 * _PRIOR_HOURS
    variance = weight / (present.sum() + _PRIOR_HOURS)
    medians, bounds, errors = nothing.copy(), np.empty((4, len(horizons))), nothing.copy()
    for place, horizon in enumerate(horizons.tolist()):
        before, after = anomaly[:-horizon], anomaly[horizon:]
        both = ~(np.isnan(before) | np.isnan(after))
        typical = _TYPICAL_FADING**horizon
        prior = _PRIOR_HOURS * _TYPICAL_DEVIATION**2
        product = float((before[both] * after[both]).sum())
        fading = np.clip((product + prior * typical) / (float((before[both] ** 2).sum()) + prior), 0.0, 1.0)
        # What is so many hours old has faded for as long already.
        usual = course[(end_hour - 1 + horizon) % _DAY]
        center = usual + fading * _TYPICAL_FADING ** age[-1] * anomaly[len(anomaly) - 1 - age[-1]]
        tails = _tails(after[both] - fading * before[both], variance, typical * _TYPICAL_FADING ** age[-1])
        medians[place] = np.exp(center) - offset
        bounds[:, place] = np.exp(center + tails) - offset
        if both.sum() >= _FEWEST_RESIDUALS:
            earlier = course[hours[horizon:]][both]
            made = np.exp(earlier + fading * before[both]) - offset
            errors[place] = float(np.abs(np.maximum(made, 0.0) - values[horizon:][both]).mean())
    medians = np.maximum(medians, 0.0)
    return medians, nested(bounds, medians), errors


def _course(logs: Floats, hours: Ints) -> Floats:
    """Returns the usual logarithm at each hour of the day, drawn to that of all hours where days are few."""
    present = ~np.isnan(logs)
    center = float(np.median(logs[present]))
    count = np.bincount(hours[present], minlength=_DAY)
    total = np.bincount(hours[present], weights=logs[present] - center, minlength=_DAY)
    return np.asarray(center + total / (count + _PROFILE_PRIOR))


def _tails(residuals: Floats, variance: float, correlation: float) -> Floats:
    """Returns the bounds around a logarithm: those of the residuals, or of a normal distribution where they are few."""
    typical = _NORMAL * np.sqrt(variance * max(1.0 - correlation**2, 0.01))
    if len(residuals) == 0:
        return np.asarray(typical * _WIDENING)
    measured = np.quantile(residuals, [0.025, 0.1, 0.9, 0.975])
    share = len(residuals) / (len(residuals) + _FEWEST_RESIDUALS)
    return np.asarray((share * measured + (1.0 - share) * typical) * _WIDENING)
