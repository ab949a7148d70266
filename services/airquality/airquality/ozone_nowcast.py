"""The US EPA's NowCast for ozone: what the eight-hour average around this hour will be, from two weeks of hours.

Source: USEPA/O3-Nowcast (2019, with the completeness check of 2021): a regression by partial least squares of the
eight-hour mean centred on an hour on the 96 hours up to it, fitted to the last two weeks of the same monitor. EPA's
code leaves the number of components at the most there can be, 96, and with all of them partial least squares is
ordinary least squares, which LAPACK solves here.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

HOURS: Final = 338
"""Hourly values looked back on: two weeks, and two hours more for the NowCast of an earlier hour that stands in."""

_WINDOW: Final = 336
_ENOUGH: Final = 252  # hours of 336 below which a monitor has no regression
_LONGEST_GAP: Final = 7
_LAGS: Final = 96
_RECENT: Final = 3
_BEFORE, _AFTER = 4, 3  # the eight hours around an hour
_ENOUGH_OF_EIGHT: Final = 6
_MOST_MEANS_MISSING: Final = 0.25
_SLOPE, _INTERCEPT_PPB = 0.85, 4.5  # of the line that stands in for a regression
_REACH: Final = 4  # hours to either side from which a missing one is filled
_FEWEST_NEIGHBOURS: Final = 2

# A millionth of a part per billion is no concentration.
_TOLERANCE: Final = 1e-6


def ozone_nowcast(hourly: ArrayLike) -> float:
    """Computes the NowCast of ozone at one monitor.

    With fewer than 252 of 336 hours, or more than seven missing in a row, the newest of the last three hours is taken
    by a fixed line (0.85 x + 4.5 ppb). Else, where the newest hour is missing, the NowCast of the newest of the two
    before it stands.

    Args:
        hourly: Concentrations in ppb, shape (338,), the oldest first, NaN where there is none.

    Returns:
        The NowCast in whole ppb, truncated and at least 0; NaN where none of the last three hours has a value, or too
        few eight-hour means do.
    """
    values = np.asarray(hourly, dtype=np.float64)
    present = ~np.isnan(values[-_WINDOW:])
    newest = next((hour for hour in range(_RECENT) if present[-1 - hour]), None)
    if newest is None:
        return np.nan
    if present.sum() < _ENOUGH or _longest_run(~present) > _LONGEST_GAP:
        return _whole(_SLOPE * float(values[-1 - newest]) + _INTERCEPT_PPB)
    window = values[len(values) - newest - _WINDOW : len(values) - newest]
    if not np.nansum(window):
        return 0.0
    return _whole(_regression(window))


def _regression(window: Floats) -> float:
    """Returns the eight-hour mean around the last of 336 hours, NaN where too few such means are known."""
    means = _centred_means(window)[_LAGS - 1 :]
    known = ~np.isnan(means)
    if (~known).mean() > _MOST_MEANS_MISSING:
        return np.nan
    lags = np.lib.stride_tricks.sliding_window_view(_filled(window), _LAGS)
    middle, level = lags[known].mean(axis=0), means[known].mean()
    coefficients = np.linalg.lstsq(lags[known] - middle, means[known] - level, rcond=None)[0]
    return float(level + (lags[-1] - middle) @ coefficients)


def _centred_means(window: Floats) -> Floats:
    """Returns the mean of the eight hours around each hour, NaN where fewer than six are known or they reach outside."""
    around = np.lib.stride_tricks.sliding_window_view(window, _BEFORE + 1 + _AFTER)
    count = (~np.isnan(around)).sum(axis=1)
    total = np.nansum(around, axis=1)
    means = np.full(len(window), np.nan)
    means[_BEFORE:-_AFTER] = np.divide(total, count, out=np.full(len(count), np.nan), where=count >= _ENOUGH_OF_EIGHT)
    return means


def _filled(window: Floats) -> Floats:
    """Returns the hours with each missing one replaced by the mean of those around it, weighted by 1/2^distance.

    The reach of four hours to either side grows until two are known (na_ma of the R package imputeTS, as EPA uses it).
    """
    filled = window.copy()
    known = np.flatnonzero(~np.isnan(window))
    for place in np.flatnonzero(np.isnan(window)).tolist():
        distances = np.abs(known - place)
        reach = max(_REACH, int(np.partition(distances, _FEWEST_NEIGHBOURS - 1)[_FEWEST_NEIGHBOURS - 1]))
        near = distances <= reach
        filled[place] = np.average(window[known[near]], weights=0.5 ** distances[near])
    return filled


def _longest_run(mask: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _whole(ppb: float) -> float:
    return float(np.maximum(np.floor(ppb + _TOLERANCE), 0.0))
