"""Trains a model: judged and calibrated on time that was held back, and then grown anew on everything."""

from collections.abc import Callable
from typing import Final

import numpy as np

from airquality.forecast import baselines
from airquality.forecast.boosting import HORIZONS, Boosted, Parameters, fit
from airquality.forecast.draw import block_hours
from airquality.forecast.features import LOOKBACK_HOURS
from airquality.forecast.frame import Floats, Frame, Ints
from airquality.forecast.intervals import Intervals
from airquality.forecast.left_out import LeftOut
from airquality.forecast.model import Model
from airquality.forecast.skill import CLIMATOLOGY, DAILY, PERSISTENCE, HorizonSkill, mean_skill, skill_of
from airquality.forecast.spatial import spatial_deviation
from airquality.units import Pollutant

FEWEST_HOURS: Final = 14 * 24
"""A shorter time is not learnt from: the simple forecast serves instead."""
MOST_HELD_BACK_HOURS: Final = 365 * 24

_STEPS: Final = (7, 35, 77, 175, 385, 875)  # hours between forecasts; none shares a factor with a day's 24
_MOST_JUDGED: Final = 20_000  # moments and stations that forecasts are judged at, about
_TURN_HOURS: Final = 7 * 24
_FEWEST_READINGS: Final = 72  # of a station that is learnt from
_LESS_WITH_ALL: Final = 0.98
"""The error of the mean of members that learnt from everything, as a share of that of one that left a quarter out.

On 2014-03 to 2015-02 of Beijing, trained on the year before: 35.2 µg/m³, against 35.6 of the mean of four that left a
quarter out each, and 0.8 % more of one than of the mean.
"""


def train(frame: Frame, target: Pollutant, parameters: Parameters, say: Callable[[str], None]) -> Model:
    """Trains on all hours of a frame.

    Args:
        frame: Hourly values.
        target: What to forecast.
        parameters: How trees are grown.
        say: Is told what is being done.

    Returns:
        The model, with its skill from the last half of the time, at most a year, which the trees that were judged had
        not seen; and with intervals as `crossed` finds them, or, of less than a year, from the same time as the skill.

    Raises:
        ValueError: There is too little to learn from.
    """
    counts = (~np.isnan(frame.of(target))).sum(axis=1)
    frame = frame.take(np.flatnonzero(counts >= _FEWEST_READINGS).tolist())
    frame = _without_empty_ends(frame, target) if frame.stations else frame
    if not frame.stations or frame.hour_count < FEWEST_HOURS:
        message = f"fewer than {FEWEST_HOURS} hours of {target.name}, or no station with {_FEWEST_READINGS} readings"
        raise ValueError(message)
    cut = frame.end_hour - min(frame.hour_count // 2, MOST_HELD_BACK_HOURS)
    say(f"growing trees on {frame.hour_count} hours of {len(frame.stations)} stations but the last")
    past = frame.between(frame.first_hour, cut)
    judge = fit(past, target, parameters)
    say(f"judging them on the {frame.end_hour - cut} hours held back")
    origins, medians = forecasts(judge, frame, cut, frame.end_hour, parameters.threads)
    happened = baselines.truth(frame, target, origins, HORIZONS)
    skill = _skill(frame, target, cut, origins, medians, happened, judge.scales[target])
    say("calibrating intervals")
    intervals = crossed(frame, target, parameters) or Intervals.calibrated(
        _flat(medians), _flat(happened), judge.scales[target]
    )
    if intervals is None:
        message = f"too few hours of {target.name} to calibrate intervals with"
        raise ValueError(message)
    say("growing trees on everything")
    return Model(
        fit(frame, target, parameters),
        intervals,
        frozenset(frame.stations),
        skill,
        (frame.first_hour, frame.end_hour),
        (cut, frame.end_hour),
        spatial_deviation(frame, target),
    )


def serves(skill: tuple[HorizonSkill, ...]) -> bool:
    """Tells whether a model may serve: it was better than both persistences and the climatology over a day."""
    day = mean_skill(skill)
    return all(day.mae < error for error in day.baselines.values())


def forecasts(model: Boosted, frame: Frame, start: int, end: int, threads: int) -> tuple[Ints, Floats]:
    """Forecasts from every few hours from `start` up to before `end`, from what was known then.

    Args:
        model: The trees.
        frame: Hourly values, of which each forecast sees only those up to its moment.
        start: The first hour in hours since 1970; what is known at first is the hours before it.
        end: The hour after the last forecast moment.
        threads: Threads to compute on.

    Returns:
        The last hours known, N of them, in hours since 1970, and the medians, shape (S, N, len(HORIZONS)).
    """
    moments = len(frame.stations) * (end - start)
    step = next((each for each in _STEPS if moments <= each * _MOST_JUDGED), _STEPS[-1])
    hours = max(1, block_hours(len(frame.stations)) // step) * step
    origins, medians = [], []
    for begin in range(start - 1, end - 1, hours):
        stop = min(begin + hours, end - 1)
        block = frame.between(begin - LOOKBACK_HOURS, stop)
        origins.append(np.arange(begin, stop, step))
        medians.append(model.forecast(block, stop - begin, step=step, threads=threads))
    return np.concatenate(origins), np.concatenate(medians, axis=1)


def crossed(frame: Frame, target: Pollutant, parameters: Parameters) -> Intervals | None:
    """Calibrates intervals on all of a frame, by members of which each forecasts the hours that it did not learn from.

    Errors on time held back from all members are those of a model that knew half as much as the one that serves, and of
    some seasons more than of others; these are of all seasons, by members that knew nearly everything. Cross-conformal
    prediction (Vovk, 2015) with blocks of time.

    Returns:
        The intervals, or None of less than a year, or where too few hours can be compared.
    """
    left_out = LeftOut.of(frame, parameters.members)
    if left_out is None:
        return None
    model = fit(frame, target, parameters, left_out)
    medians, happened = [], []
    for number, start, end in left_out.of_each():
        # `forecasts` begins with what is known before `start`; the first hour known is to be one left out.
        origins, made = forecasts(model.member(number), frame, start + 1, end, parameters.threads)
        truth = baselines.truth(frame, target, origins, HORIZONS)
        medians.append(_flat(made))
        # Beyond the end lie hours that the member learnt from.
        truth = np.where(origins[:, None] + HORIZONS < end, truth, np.nan)
        happened.append(_flat(made + (truth - made) * _LESS_WITH_ALL))
    return Intervals.calibrated(np.concatenate(medians), np.concatenate(happened), model.scales[target])


def _skill(
    frame: Frame, target: Pollutant, cut: int, origins: Ints, medians: Floats, happened: Floats, scale: float
) -> tuple[HorizonSkill, ...]:
    """Returns the skill, with the coverage of intervals that were calibrated on every other week, or shorter time."""
    turn = min(_TURN_HOURS, (frame.end_hour - cut) // 6)
    odd = ((origins - cut) // turn) % 2 == 1
    bounds = np.full((4, *medians.shape), np.nan)
    for half in (odd, ~odd):
        other = Intervals.calibrated(_flat(medians[:, ~half]), _flat(happened[:, ~half]), scale)
        if other is not None:
            bounds[:, :, half] = other.around(medians[:, half])
    return skill_of(
        medians,
        None if np.isnan(bounds[0][~np.isnan(medians)]).any() else bounds,
        happened,
        {
            PERSISTENCE: baselines.persistence(frame, target, origins, HORIZONS),
            DAILY: baselines.daily_persistence(frame, target, origins, HORIZONS),
            CLIMATOLOGY: baselines.climatology(frame, target, cut, origins, HORIZONS),
        },
        HORIZONS,
    )


def _without_empty_ends(frame: Frame, target: Pollutant) -> Frame:
    some = np.flatnonzero(~np.isnan(frame.of(target)).all(axis=0))
    return frame.between(frame.first_hour + int(some[0]), frame.first_hour + int(some[-1]) + 1)


def _flat(values: Floats) -> Floats:
    return values.reshape(-1, values.shape[-1])
