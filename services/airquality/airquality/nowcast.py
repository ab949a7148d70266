"""The US EPA's NowCast for particles: what the average of the day will be, from the hours so far."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

HOURS: Final = 12
"""Number of hourly values that a NowCast looks back on."""

_RECENT_HOURS: Final = 3
_RECENT_NEEDED: Final = 2
_LOWEST_WEIGHT: Final = 0.5

# As in airquality.index: a millionth of a step is no concentration.
_TOLERANCE: Final = 1e-6


def particle_nowcast(hourly: ArrayLike, truncate_to: ArrayLike) -> NDArray[np.float64]:
    """Computes the NowCast of PM2.5 or PM10.

    The mean of the last twelve hourly values, weighted by w^age in hours, where w is the lowest of them divided by the
    highest, and at least one half. Source: EPA-454/B-24-002, "How the NowCast is calculated". That document says
    nothing about values below zero, which instruments report around it: they count as zero here.

    Args:
        hourly: Concentrations in µg/m³, shape (…, 12), the oldest first, NaN where there is none.
        truncate_to: What the result is truncated to, 0.1 for PM2.5 and 1 for PM10; shape (…) or one for all.

    Returns:
        The NowCast in µg/m³, shape (…); NaN where fewer than two of the last three hours have a value.
    """
    values = np.asarray(hourly, dtype=np.float64)
    present = ~np.isnan(values)
    filled = np.where(present, np.maximum(values, 0.0), 0.0)
    highest = filled.max(axis=-1)
    lowest = np.where(present, filled, np.inf).min(axis=-1)
    # All zero is the steadiest air there is.
    ratio = np.divide(lowest, highest, out=np.ones_like(highest), where=highest > 0)
    weight = np.clip(ratio, _LOWEST_WEIGHT, 1.0)
    weights = np.where(present, weight[..., None] ** np.arange(HOURS - 1, -1, -1), 0.0)
    total = weights.sum(axis=-1)
    mean = np.divide((weights * filled).sum(axis=-1), total, out=np.full_like(total, np.nan), where=total > 0)
    enough = present[..., -_RECENT_HOURS:].sum(axis=-1) >= _RECENT_NEEDED
    per_unit = np.round(1 / np.asarray(truncate_to, dtype=np.float64))
    return np.where(enough, np.floor(mean * per_unit + _TOLERANCE) / per_unit, np.nan)
