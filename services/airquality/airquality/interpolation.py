"""The concentration between stations: local ordinary kriging of log concentrations.

Concentrations differ by factors rather than by amounts, and a plume is local: so the logarithms of the nearest stations
are combined, with the weights of ordinary kriging (Matheron 1963; Cressie, Statistics for Spatial Data, 1993, 3.2) under
one exponential variogram. Its shape was chosen on hours of August 2020 that the evaluation does not use, and on another
year; its height, which is what an interval hangs on, is estimated at every place from the stations themselves.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg.lapack import dgesv

from airquality.units import Pollutant

Floats = NDArray[np.float64]

SAME_PLACE_METERS: Final = 1.0
"""Distance up to which a place is a station's own, and its value the answer.

More would make the answer worse: monitors some metres apart differ, so that those further off add to what is known. Where
this was 500 m, the error of the estimates was 5 % larger.
"""

MOST_STATIONS: Final = 8
"""How many stations an estimate rests on. With more the error stays within 0.3 %, and the reply grows."""

REACH_METERS: Final = 150_000.0
"""How far a station may be that is weighed in beside a nearer one."""

# The variogram, in units of the scale that is estimated on the spot: nugget + sill (1 - exp(-d / range)).
_NUGGET: Final = 0.1
_SILL: Final = 3.0
_RANGE_METERS: Final = 1_000_000.0

# How many differences between stations the usual scale of a pollutant counts as, beside those on the spot.
_PRIOR_COUNT: Final = 4.0
_NORMAL_80: Final = 1.2815515655446004
_EARTH_RADIUS_METERS: Final = 6_371_008.8
# WGS84.
_SEMI_MAJOR_METERS: Final = 6_378_137.0
_FIRST_ECCENTRICITY_SQUARED: Final = 6.694379990141316e-3


class Scale(NamedTuple):
    """How concentrations of a pollutant are put on a logarithmic scale: z = log(max(value, 0) + offset).

    Attributes:
        offset: In the pollutant's usual unit; about what instruments cannot tell from clean air.
        variance: The usual height of the variogram of z, where there are too few stations to tell.
    """

    offset: float
    variance: float


# PM2.5 and O3: the medians over stations and hours of August 2020 that the evaluation does not use. The others have no
# such record here, and are taken to vary as PM2.5 does, with offsets in proportion to their usual levels.
SCALES: Final = {
    Pollutant.PM25: Scale(6.0, 0.153),
    Pollutant.PM10: Scale(12.0, 0.153),
    Pollutant.O3: Scale(20.0, 0.064),
    Pollutant.NO2: Scale(6.0, 0.153),
    Pollutant.SO2: Scale(2.0, 0.153),
    Pollutant.CO: Scale(0.2, 0.153),
}
_OTHER: Final = Scale(6.0, 0.153)


class Estimate(NamedTuple):
    """A concentration and how it was made; everything in the unit of the values.

    Attributes:
        value: The concentration: the median of what it may be.
        weights: The shares of the stations, adding up to 1, none below 0.
        low: Where the 80 % interval begins; zero or more.
        high: Where it ends.
        standard_error: Half the interval divided by 1.28: of a normal distribution its standard deviation.
        standard_deviation: The weighted standard deviation of the stations' values; None with one station.
    """

    value: float
    weights: tuple[float, ...]
    low: float
    high: float
    standard_error: float
    standard_deviation: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Concentrations at n places from k stations each.

    Attributes:
        values: The concentrations, n.
        lows: Where the 80 % intervals begin, n.
        highs: Where they end, n.
    """

    values: Floats
    lows: Floats
    highs: Floats


def scale_of(pollutant: int) -> Scale:
    """Returns how a pollutant is put on a logarithmic scale."""
    return SCALES.get(Pollutant(pollutant), _OTHER)


def positions(lat: ArrayLike, lng: ArrayLike) -> Floats:
    """Returns earth-centred coordinates on WGS84 in metres, shape (…, 3), in which neither pole nor date line is special.

    Args:
        lat: Latitudes in degrees.
        lng: Longitudes in degrees; of the same shape, or one that broadcasts to it.
    """
    phi, theta = np.radians(np.asarray(lat, dtype=np.float64)), np.radians(np.asarray(lng, dtype=np.float64))
    radius = _SEMI_MAJOR_METERS / np.sqrt(1.0 - _FIRST_ECCENTRICITY_SQUARED * np.sin(phi) ** 2)
    flat = radius * np.cos(phi)
    z = radius * (1.0 - _FIRST_ECCENTRICITY_SQUARED) * np.sin(phi)
    places = np.empty((*np.broadcast_shapes(phi.shape, theta.shape), 3))
    places[..., 0], places[..., 1], places[..., 2] = flat * np.cos(theta), flat * np.sin(theta), z
    return places


def position(lat: float, lng: float) -> Floats:
    """Returns the same of one place, 3: a tenth of what `positions` takes for it."""
    phi, theta = math.radians(lat), math.radians(lng)
    radius = _SEMI_MAJOR_METERS / math.sqrt(1.0 - _FIRST_ECCENTRICITY_SQUARED * math.sin(phi) ** 2)
    flat = radius * math.cos(phi)
    z = radius * (1.0 - _FIRST_ECCENTRICITY_SQUARED) * math.sin(phi)
    return np.array((flat * math.cos(theta), flat * math.sin(theta), z))


def along_the_ground(chord_meters: Floats) -> Floats:
    """Returns distances over the ground of points that are so far apart straight through it, in metres.

    The first two terms of the series of 2 R asin(c / 2 R): up to 1000 km right to a few metres in a thousand kilometres.
    """
    return chord_meters * (1.0 + chord_meters * chord_meters / (24.0 * _EARTH_RADIUS_METERS**2))


def between(places: Floats) -> Floats:
    """Returns the distances in metres between places, as `positions` gives them: (…, k, 3) to (…, k, k)."""
    difference = places[..., :, None, :] - places[..., None, :, :]
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", difference, difference)))


def interpolate(distances_meters: Floats, between_meters: Floats, values: Floats, scale: Scale) -> Estimate:
    """Estimates the concentration at one place.

    Stations within SAME_PLACE_METERS measure the place itself: where there are any, only they are weighed.

    Args:
        distances_meters: Distances of k ≥ 1 stations from the place, ascending.
        between_meters: Distances between them, (k, k).
        values: Their concentrations, k.
        scale: Of the pollutant.

    Returns:
        The estimate, with k weights, or as many as there are stations at the place itself.
    """
    count = len(values)
    z = np.log(np.maximum(values, 0.0) + scale.offset)
    # The variogram of both at once: the last row is the place, whose column is the right side of its weights.
    system = np.empty((count + 1, count + 1), order="F")
    system[:count, :count], system[:count, count] = between_meters, distances_meters
    system[:count] = _variogram(system[:count])
    right = np.empty((count + 1, 2), order="F")
    right[:count, 0], right[:count, 1] = system[:count, count], z
    right[count] = 1.0, 0.0
    solution = dgesv(_bordered(system), right)[2]
    to_place = right[:count, 0]
    height = _height(-float(z @ solution[:count, 1]), count, scale)
    here = bisect_right(distances_meters.tolist(), SAME_PLACE_METERS)
    if 0 < here < count:
        z, values, count = z[:here], values[:here], here
        to_place, system = to_place[:here], _bordered(system[: here + 1, : here + 1].copy(order="F"))
        solution = dgesv(system, np.append(to_place, 1.0))[2][:, None]
    weights = np.maximum(solution[:count, 0], 0.0)
    weights /= weights.sum()
    inner = system[:count, :count]
    variance = height * max(float(weights @ (2.0 * to_place - inner @ weights)), _NUGGET)
    middle, spread = float(weights @ z), _NORMAL_80 * math.sqrt(variance)
    low = max(0.0, math.exp(middle - spread) - scale.offset)
    high = math.exp(middle + spread) - scale.offset
    value = max(0.0, math.exp(middle) - scale.offset if count > 1 else float(values[0]))
    return Estimate(
        value, tuple(weights.tolist()), low, high, (high - low) / (2.0 * _NORMAL_80), _deviation(weights, values)
    )


def interpolate_many(distances_meters: Floats, between_meters: Floats, values: Floats, scale: Scale) -> Estimates:
    """Estimates the concentration at many places, as `interpolate` does at one.

    Args:
        distances_meters: Distances of k stations from each of n places, (n, k), infinite where there are fewer.
        between_meters: Distances between them, (n, k, k).
        values: Their concentrations, (n, k); anything finite where there are fewer.
        scale: Of the pollutant.
    """
    number, most = values.shape
    there = np.isfinite(distances_meters)
    z = np.where(there, np.log(np.maximum(values, 0.0) + scale.offset), 0.0)
    to_place = _variogram(np.where(there, distances_meters, 0.0))
    inner = _variogram(between_meters)
    inner[:, range(most), range(most)] = 0.0
    right = np.ones((number, most + 1, 2))
    right[:, :most, 0] = np.where(there, to_place, 0.0)
    right[:, :most, 1] = z
    right[:, most, 1] = 0.0
    solution = np.linalg.solve(_systems(inner, there), right)[:, :most]
    quadratic = np.maximum(-np.einsum("ij,ij->i", z, solution[:, :, 1]), 0.0)
    height = (_PRIOR_COUNT * scale.variance + quadratic) / (_PRIOR_COUNT + there.sum(axis=1) - 1)
    weights = np.maximum(solution[:, :, 0], 0.0) * there
    here = distances_meters <= SAME_PLACE_METERS
    own = np.flatnonzero(here.any(axis=1))
    if own.size:
        ones = np.ones((own.size, 1))
        alone = np.concatenate([np.where(here[own], to_place[own], 0.0), ones], axis=1)
        solved = np.linalg.solve(_systems(inner[own], here[own]), alone[..., None])
        weights[own] = np.maximum(solved[:, :most, 0], 0.0) * here[own]
    weights /= weights.sum(axis=1, keepdims=True)
    variance = 2.0 * np.einsum("ij,ij->i", weights, to_place)
    variance -= np.einsum("ij,ij->i", weights, np.matmul(inner, weights[..., None])[..., 0])
    middle = np.einsum("ij,ij->i", weights, z)
    spread = _NORMAL_80 * np.sqrt(height * np.maximum(variance, _NUGGET))
    return Estimates(
        *(np.maximum(0.0, np.exp(each) - scale.offset) for each in (middle, middle - spread, middle + spread))
    )


def _variogram(distances_meters: Floats) -> Floats:
    """Returns half the expected squared difference of two stations so far apart; of no station with itself."""
    return _NUGGET + _SILL - _SILL * np.exp(distances_meters / -_RANGE_METERS)


def _bordered(system: Floats) -> Floats:
    """Makes the matrix of ordinary kriging in its place: the variogram between stations, bordered by ones."""
    system[-1] = system[:, -1] = 1.0
    system.ravel(order="K")[:: len(system) + 1] = 0.0  # the diagonal
    return system


def _systems(inner: Floats, used: NDArray[np.bool_]) -> Floats:
    """Returns the matrices of many places; a station that is not used stands alone in its row and gets no weight."""
    number, most = used.shape
    matrices = np.zeros((number, most + 1, most + 1))
    matrices[:, :most, :most] = inner * (used[:, :, None] & used[:, None, :])
    matrices[:, range(most), range(most)] = ~used
    matrices[:, :most, most] = matrices[:, most, :most] = used
    return matrices


def _height(quadratic: float, count: int, scale: Scale) -> float:
    """Returns the variogram's height: the restricted maximum-likelihood estimate, shrunk towards the usual one."""
    return (_PRIOR_COUNT * scale.variance + max(quadratic, 0.0)) / (_PRIOR_COUNT + count - 1)


def _deviation(weights: Floats, values: Floats) -> float | None:
    if len(weights) == 1:
        return None
    mean = float(weights @ values)
    return math.sqrt(
        sum(weight * (value - mean) ** 2 for weight, value in zip(weights.tolist(), values.tolist(), strict=True))
    )
