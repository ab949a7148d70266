"""Windows over the hours up to each hour, the last axis of arrays; NaN stands for no value and is passed over."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_QUARTER = 4


def lagged(values: Floats, hours: int) -> Floats:
    """Returns what was so many hours before each hour, NaN before the first."""
    moved = np.full_like(values, np.nan)
    moved[..., hours:] = values[..., : values.shape[-1] - hours]
    return moved


def rolling_mean(values: Floats, hours: int) -> Floats:
    """Returns the mean of the window that ends with each hour, NaN where less than a quarter of it has a value."""
    present = ~np.isnan(values)
    total = _window_sum(np.where(present, values, 0.0), hours)
    count = _window_sum(present.astype(np.float64), hours)
    enough = count >= max(1, hours // _QUARTER)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=enough)


def rolling_highest(values: Floats, hours: int) -> Floats:
    """Returns the highest value of the window that ends with each hour, NaN where there is none."""
    highest, covered = values, 1
    while covered < hours:  # a window of 2 n hours is two of n; the last step may overlap
        step = min(covered, hours - covered)
        highest, covered = np.fmax(highest, lagged(highest, step)), covered + step
    return highest


def rolling_lowest(values: Floats, hours: int) -> Floats:
    """Returns the lowest value of the window that ends with each hour, NaN where there is none."""
    return -rolling_highest(-values, hours)


def _window_sum(values: Floats, hours: int) -> Floats:
    total = np.cumsum(values, axis=-1)
    total[..., hours:] -= total[..., : total.shape[-1] - hours].copy()
    return total
