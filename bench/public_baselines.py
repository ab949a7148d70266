"""Forecasts of well-known public methods, fitted to a station's last two weeks at each moment."""

import warnings
from typing import Any

import numpy as np
from statsforecast.models import AutoETS, AutoTheta

from airquality.forecast.frame import Floats, Frame, Ints, last_known
from airquality.units import Pollutant

_HOURS = 14 * 24
_DAY = 24


def ets(frame: Frame, target: Pollutant, origins: Ints, grid_hours: int) -> Floats:
    """Returns the forecasts of exponential smoothing whose form is chosen by the AICc, shape (S, N, 24 / grid)."""
    return _fitted(AutoETS(season_length=_DAY // grid_hours), frame, target, origins, grid_hours)


def theta(frame: Frame, target: Pollutant, origins: Ints, grid_hours: int) -> Floats:
    """Returns those of the best of the Theta methods."""
    return _fitted(AutoTheta(season_length=_DAY // grid_hours), frame, target, origins, grid_hours)


def _fitted(model: Any, frame: Frame, target: Pollutant, origins: Ints, grid_hours: int) -> Floats:
    steps = _DAY // grid_hours
    made = np.full((len(frame.stations), len(origins), steps), np.nan)
    for place, origin in enumerate(origins.tolist()):
        past = frame.between(origin + 1 - _HOURS, origin + 1).of(target)[:, grid_hours - 1 :: grid_hours]
        for station, values in enumerate(past):
            if np.isnan(values).mean() < 0.5 and not np.isnan(values[-6:]).all():  # noqa: PLR2004 -- half of it
                made[station, place] = np.maximum(_one(model, _filled(values), steps), 0.0)
    return made


def _one(model: Any, values: Floats, steps: int) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(model.forecast(y=values, h=steps)["mean"])


def _filled(values: Floats) -> Floats:
    """Returns values without gaps: the newest value before, and at the beginning the first of all."""
    known = last_known(values, len(values))[0]
    return np.where(np.isnan(known), values[~np.isnan(values)][0], known)
