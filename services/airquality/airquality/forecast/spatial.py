"""A forecast between stations: theirs, weighted by distance, and surer of nothing than they are."""

from typing import Final

import numpy as np

from airquality.forecast.baselines import truth
from airquality.forecast.features import level
from airquality.forecast.frame import Floats, Frame
from airquality.forecast.intervals import nested
from airquality.forecast.neighbours import distances_meters
from airquality.inverse_distance import SAME_PLACE_METERS, interpolate
from airquality.units import Pollutant

MOST_STATIONS: Final = 5
TYPICAL_DEVIATION: Final = 0.45
"""Of the logarithm, where no model has measured it: AirNow's PM2.5 of August 2020, as `spatial_deviation` measures."""

_RADIUS_METERS: Final = 50_000.0
_MOMENTS: Final = 200
_FEWEST: Final = 100
# Of a normal distribution, in the order of intervals.TAILS.
_NORMAL: Final = np.array([1.96, 1.2816, 1.2816, 1.96])
_FLOOR: Final = 0.02  # of the median, below which a bound's logarithm is not taken


def spatial_deviation(frame: Frame, target: Pollutant) -> float:
    """Measures by how much interpolation between stations is wrong, each station left out in turn.

    Args:
        frame: Hourly values; some moments of it, spread evenly, are looked at.
        target: The pollutant.

    Returns:
        The standard deviation of the logarithm's error, from its median absolute value so that a few instruments out
        of order do not set it; TYPICAL_DEVIATION with fewer than 100 stations and moments.
    """
    moments = np.unique(np.linspace(frame.first_hour, frame.end_hour - 2, _MOMENTS).astype(np.int64))
    values = truth(frame, target, moments, np.array([0]))[..., 0]
    known = values[~np.isnan(values)]
    scale = max(float(np.median(known)), 1e-6) if known.size else 1.0
    distances = distances_meters(frame.lat, frame.lng, frame.lat, frame.lng)
    np.fill_diagonal(distances, np.inf)
    errors: list[float] = []
    for station, near in enumerate(np.argsort(distances, axis=1)[:, : 3 * MOST_STATIONS]):
        near = near[distances[station, near] <= _RADIUS_METERS]  # noqa: PLW2901 -- the same stations, fewer
        for moment in np.flatnonzero(~np.isnan(values[station])):
            there = near[~np.isnan(values[near, moment])][:MOST_STATIONS]
            if there.size:
                estimate = interpolate(distances[station, there].tolist(), values[there, moment].tolist()).value
                pair = level(np.array([estimate, values[station, moment]]), scale)
                errors.append(float(pair[0] - pair[1]))
    return float(1.4826 * np.median(np.abs(errors))) if len(errors) >= _FEWEST else TYPICAL_DEVIATION


def between_stations(
    distances: list[float], medians: Floats, bounds: Floats, deviation: float
) -> tuple[Floats, Floats, tuple[float, ...]]:
    """Returns the forecast of a place from those of stations near it.

    The half-widths of the intervals, in logarithms, are the stations' own, weighted as their medians are, since they
    err together; to these adds, as an independent error, what interpolation is wrong by. A station on the spot
    (`inverse_distance.SAME_PLACE_METERS`) speaks alone and adds nothing.

    Args:
        distances: Distances in metres, ascending.
        medians: The stations' forecasts, shape (S, H).
        bounds: Their intervals in the order of `intervals.TAILS`, shape (4, S, H).
        deviation: As `spatial_deviation` measures it.

    Returns:
        Medians (H,), bounds (4, H), and the weights of the nearest stations, which may be fewer than given.
    """
    first = interpolate(distances, [1.0] * len(distances))
    weights = first.weights
    used = len(weights)
    share = np.array(weights)
    median = share @ medians[:used]
    floors = np.maximum(median * _FLOOR, 1e-9)
    ratio = np.maximum(bounds[:, :used], floors) / np.maximum(medians[:used], floors)
    widths = np.abs(np.einsum("s,bsh->bh", share, np.log(ratio)))
    alone = used == 1 and distances[0] <= SAME_PLACE_METERS
    extra = 0.0 if alone else deviation
    widths = np.sqrt(widths**2 + (_NORMAL[:, None] * extra) ** 2)
    signs = np.array([-1.0, -1.0, 1.0, 1.0])[:, None]
    return median, nested(np.maximum(median, floors) * np.exp(signs * widths), median), weights
