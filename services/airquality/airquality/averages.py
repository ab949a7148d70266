"""Averages over hours, and where a concentration comes from."""

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airquality.units import AveragingPeriod, Pollutant

Floats = NDArray[np.float64]

HOURS: Final = {
    AveragingPeriod.HOUR: 1,
    AveragingPeriod.THREE_HOURS: 3,
    AveragingPeriod.FOUR_HOURS: 4,
    AveragingPeriod.EIGHT_HOURS: 8,
    AveragingPeriod.TWENTY_FOUR_HOURS: 24,
}
"""The length of the averaging periods that are plain means of hours."""

SUFFICIENT: Final = 0.75
"""The share of hours that a mean needs to stand for its period (40 CFR 50 appendix U, for 8-hour ozone)."""

NOWCAST_PRECISION: Final = {Pollutant.PM25: 0.1, Pollutant.PM10: 1.0}
"""What the NowCast of each particle is truncated to, in µg/m³ (EPA-454/B-24-002)."""


class Basis(IntEnum):
    """How a concentration came about; the codes are those of the enum in airquality.proto."""

    NOWCAST_REPORTED = 1
    NOWCAST_COMPUTED = 2
    AVERAGE_REPORTED = 3
    AVERAGE_COMPUTED = 4
    AVERAGE_INCOMPLETE = 5


def mean_of(windows: Floats) -> tuple[Floats, Floats]:
    """Averages the hours that have a value.

    Args:
        windows: Hourly values, shape (…, hours), NaN where there is none.

    Returns:
        The means, NaN where no hour has a value, and the shares of hours that have one; both of shape (…).
    """
    present = ~np.isnan(windows)
    count = present.sum(axis=-1)
    total = np.where(present, windows, 0.0).sum(axis=-1)
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean, count / windows.shape[-1]


def running_mean(hourly: Floats, hours: int) -> tuple[Floats, Floats]:
    """Averages each run of so many hours, as `mean_of` does, without a table of all runs.

    Args:
        hourly: Hourly values, n, NaN where there is none.
        hours: The length of a run.

    Returns:
        The means and the shares of hours that have a value, of the run that begins with hour i at i; n - hours + 1.
    """
    number = len(hourly) - hours + 1
    present = ~np.isnan(hourly)
    filled = np.where(present, hourly, 0.0)
    total, count = np.zeros(number), np.zeros(number)
    for begin in range(hours):
        total += filled[begin : begin + number]
        count += present[begin : begin + number]
    mean = np.divide(total, count, out=np.full(number, np.nan), where=count > 0)
    return mean, count / hours
