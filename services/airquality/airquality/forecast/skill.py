"""How good forecasts were: errors by horizon, beside those of what anyone could have forecast."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from airquality.forecast.frame import Floats, Ints

PERSISTENCE: Final = "persistence"
DAILY: Final = "daily persistence"
CLIMATOLOGY: Final = "climatology"


@dataclass(frozen=True, slots=True)
class HorizonSkill:
    """How good forecasts so many hours ahead were.

    Attributes:
        horizon: Hours ahead.
        count: Number of forecasts that were held against a reading.
        mae: Mean absolute error in the usual unit.
        bias: Mean of forecast minus reading.
        coverage_80: The share of readings within the 80 % interval, NaN without intervals.
        coverage_95: The share within the 95 % interval.
        baselines: The mean absolute error of each baseline on the same readings.
    """

    horizon: int
    count: int
    mae: float
    bias: float
    coverage_80: float
    coverage_95: float
    baselines: Mapping[str, float]

    @property
    def skill(self) -> float:
        """Returns by which share the error is below that of persistence; 0 is as good, 1 is perfect."""
        error = self.baselines[PERSISTENCE]
        return 1.0 - self.mae / error if error > 0 else 0.0


def skill_of(
    medians: Floats, bounds: Floats | None, truth: Floats, baselines: Mapping[str, Floats], horizons: Ints
) -> tuple[HorizonSkill, ...]:
    """Compares forecasts with what happened, and with baselines on the same hours.

    Args:
        medians: Forecasts, shape (…, H), NaN for none.
        bounds: Their intervals, shape (4, …, H), in the order of `intervals.TAILS`.
        truth: What happened, shape (…, H), NaN where it is not known.
        baselines: Forecasts of each baseline, of the same shape.
        horizons: Hours ahead, H of them.

    Returns:
        The skill of each horizon at which anything can be compared.
    """
    usable = ~(np.isnan(medians) | np.isnan(truth))
    for each in baselines.values():
        usable &= ~np.isnan(each)
    found = []
    for place, horizon in enumerate(horizons.tolist()):
        kept = usable[..., place]
        if not kept.any():
            continue
        happened, error = truth[..., place][kept], (medians - truth)[..., place][kept]
        coverage = (np.nan, np.nan)
        if bounds is not None:
            lower_95, lower_80, upper_80, upper_95 = (each[..., place][kept] for each in bounds)
            coverage = (
                float(((lower_80 <= happened) & (happened <= upper_80)).mean()),
                float(((lower_95 <= happened) & (happened <= upper_95)).mean()),
            )
        errors = {name: float(np.abs(each[..., place][kept] - happened).mean()) for name, each in baselines.items()}
        found.append(
            HorizonSkill(horizon, len(error), float(np.abs(error).mean()), float(error.mean()), *coverage, errors)
        )
    return tuple(found)


def mean_skill(skill: tuple[HorizonSkill, ...], first: int = 1, last: int = 24) -> HorizonSkill:
    """Returns the plain mean over horizons from `first` to `last`, named after the last.

    Raises:
        ValueError: There is none of these.
    """
    chosen = [each for each in skill if first <= each.horizon <= last]
    if not chosen:
        message = f"nothing could be compared {first} to {last} hours ahead"
        raise ValueError(message)

    def mean(name: str) -> float:
        return float(np.mean([getattr(each, name) for each in chosen]))

    return HorizonSkill(
        horizon=chosen[-1].horizon,
        count=sum(each.count for each in chosen),
        mae=mean("mae"),
        bias=mean("bias"),
        coverage_80=mean("coverage_80"),
        coverage_95=mean("coverage_95"),
        baselines={name: float(np.mean([each.baselines[name] for each in chosen])) for name in chosen[0].baselines},
    )
