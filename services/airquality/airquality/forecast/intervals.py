"""How sure a forecast is: intervals that held as often as they say on time that the model had not seen.

Split conformal prediction (Vovk et al., Algorithmic Learning in a Random World, 2005; Romano et al., 2019, for a lower
and an upper bound each on its own) of residuals relative to the forecast, apart for each horizon and for each class of
forecast levels, since clean air errs by less than smog and in another direction.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from airquality.forecast.frame import Floats

TAILS: Final = (0.025, 0.1, 0.9, 0.975)
"""The bounds of the 95 % and the 80 % interval: lower 95, lower 80, upper 80, upper 95."""

_CLASSES: Final = 4
_OFFSET: Final = 0.3
_MANY: Final = 500
_FEWEST: Final = 50  # residuals of a class, of which the outermost bound then is the lowest or highest


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Calibrated intervals.

    Attributes:
        scale: The usual concentration; forecasts are relative to it.
        edges: The forecast levels between the classes, in scales, shape (C - 1,).
        quantiles: Of the residuals divided by forecast and offset: TAILS by horizon by class, shape (4, H, C).
    """

    scale: float
    edges: Floats
    quantiles: Floats

    @classmethod
    def calibrated(cls, medians: Floats, truth: Floats, scale: float) -> Self | None:
        """Learns how far the truth was from forecasts of time that the model had not seen.

        Args:
            medians: Forecasts, shape (N, H), NaN for none.
            truth: What happened, same shape, NaN where it is not known.
            scale: The usual concentration.

        Returns:
            The intervals, or None when any horizon has too few residuals.
        """
        known = ~(np.isnan(medians) | np.isnan(truth))
        if known.sum(axis=0).min() < _FEWEST * _CLASSES:
            return None
        relative = (truth - medians) / (medians + _OFFSET * scale)
        edges = np.quantile(medians[known] / scale, np.arange(1, _CLASSES) / _CLASSES)
        classes = np.searchsorted(edges, medians / scale)
        horizons = medians.shape[1]
        quantiles = np.empty((len(TAILS), horizons, _CLASSES))
        reach = 0 if known.sum(axis=0).min() >= _MANY * _CLASSES else 1
        for horizon in range(horizons):
            # Where residuals are few, those of the horizons before and after are nearly the same task.
            around = slice(max(horizon - reach, 0), min(horizon + reach + 1, horizons))
            inside = known[:, around]
            everything = relative[:, around][inside]
            for each in range(_CLASSES):
                own = relative[:, around][inside & (classes[:, around] == each)]
                quantiles[:, horizon, each] = conformal(own if own.size >= _FEWEST else everything)
        return cls(scale, edges, quantiles)

    def around(self, medians: Floats) -> Floats:
        """Returns the bounds around forecasts, nested around them and not below zero.

        Args:
            medians: Forecasts, shape (…, H).

        Returns:
            TAILS, shape (4, …, H).
        """
        classes = np.searchsorted(self.edges, medians / self.scale)
        horizons = np.broadcast_to(np.arange(medians.shape[-1]), medians.shape)
        bounds = medians + self.quantiles[:, horizons, classes] * (medians + _OFFSET * self.scale)
        return nested(bounds, medians)


def conformal(residuals: Floats) -> Floats:
    """Returns TAILS of residuals, each moved outwards by what a finite sample needs: the (n + 1) p-th smallest."""
    ordered = np.sort(residuals)
    number = len(ordered)
    places = [
        int(np.floor((number + 1) * tail)) - 1 if tail < 0.5 else int(np.ceil((number + 1) * tail)) - 1  # noqa: PLR2004 -- the middle
        for tail in TAILS
    ]
    return np.asarray(ordered[np.clip(places, 0, number - 1)])


def nested(bounds: Floats, medians: Floats) -> Floats:
    """Returns bounds in the order of TAILS that hold the medians, each wider one the narrower, none below zero."""
    lower_80 = np.minimum(bounds[1], medians)
    upper_80 = np.maximum(bounds[2], medians)
    wider = np.stack([np.minimum(bounds[0], lower_80), lower_80, upper_80, np.maximum(bounds[3], upper_80)])
    return np.asarray(np.maximum(wider, 0.0))
