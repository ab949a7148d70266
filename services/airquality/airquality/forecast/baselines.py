"""What anyone could forecast without a model, and what a forecast is therefore held against."""

from typing import Final

import numpy as np

from airquality.forecast.frame import Floats, Frame, Ints, last_known
from airquality.units import Pollutant

_DAY: Final = 24
_EVER: Final = 10**6


def truth(frame: Frame, target: Pollutant, origins: Ints, horizons: Ints) -> Floats:
    """Returns what was measured.

    Args:
        frame: Hourly values.
        target: The pollutant.
        origins: The last hours known, in hours since 1970, N of them.
        horizons: Hours ahead, H of them.

    Returns:
        Values of shape (S, N, H), NaN where there is none.
    """
    places = origins[:, None] + horizons - frame.first_hour
    values = frame.of(target)
    inside = (places >= 0) & (places < values.shape[1])
    return np.where(inside, values[:, np.clip(places, 0, values.shape[1] - 1)], np.nan)


def persistence(frame: Frame, target: Pollutant, origins: Ints, horizons: Ints) -> Floats:
    """Returns the newest value as forecast for every hour; shapes as `truth`."""
    known = last_known(frame.of(target), _EVER)[0][:, origins - frame.first_hour]
    return np.repeat(known[..., None], len(horizons), axis=-1)


def daily_persistence(frame: Frame, target: Pollutant, origins: Ints, horizons: Ints) -> Floats:
    """Returns the value of the same hour of the newest day that has one within the last three; shapes as `truth`."""
    found = np.full((len(frame.stations), len(origins), len(horizons)), np.nan)
    for days in range(3):
        seen = truth(frame, target, origins, horizons - _DAY * (-(-horizons // _DAY) + days))
        found = np.where(np.isnan(found), seen, found)
    return found


def climatology(frame: Frame, target: Pollutant, until: int, origins: Ints, horizons: Ints) -> Floats:
    """Returns each station's median of the hour of the day in all hours before `until`; shapes as `truth`."""
    past = frame.between(frame.first_hour, until)
    values = past.of(target)
    hours = np.arange(past.first_hour, past.end_hour) % _DAY
    profile = np.stack([_median(values[:, hours == hour]) for hour in range(_DAY)], axis=1)
    return profile[:, (origins[:, None] + horizons) % _DAY]


def _median(values: Floats) -> Floats:
    """Returns the medians of rows, NaN for a row without any value."""
    result = np.full(len(values), np.nan)
    some = ~np.isnan(values).all(axis=1)
    result[some] = np.nanmedian(values[some], axis=1)
    return result
