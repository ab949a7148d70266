"""The concentration between stations: local ordinary kriging of log concentrations.

Concentrations differ by factors rather than by amounts, and a plume is local: so the logarithms of the nearest stations
are combined, with the weights of ordinary kriging (Matheron 1963; Cressie, Statistics for Spatial Data, 1993, 3.2) under
one exponential variogram. Its shape was chosen on hours of August 2020 that the evaluation does not use, and on another
year; its height, which is what an interval hangs on, is estimated at every place from the stations themselves.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airquality.compiled import compiled, inlined
from airquality.units import Pollutant

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

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


def estimate_at(
    place: Floats, places: Floats, values: Floats, scale: Scale, radius_meters: float, reach_meters: float
) -> tuple[Estimate, list[int], list[float]] | None:
    """Estimates the concentration at one place from the stations around it.

    Stations within SAME_PLACE_METERS measure the place itself: where there are any, only they are weighed.

    Args:
        place: As `position` gives it, 3.
        places: Of n stations, as `positions` gives them, (n, 3), in ascending order of the last coordinate.
        values: Their concentrations, n.
        scale: Of the pollutant.
        radius_meters: How far the nearest station may be.
        reach_meters: How far the others may be, at least as much.

    Returns:
        The estimate with k weights, which stations have them, nearest first, and their distances in metres; None where
        no station is near enough.
    """
    found, meters, weights = np.empty(MOST_STATIONS, dtype=np.int64), np.empty(MOST_STATIONS), np.empty(MOST_STATIONS)
    count = _nearest(place, places, reach_meters, found, meters)
    if not count or meters[0] > radius_meters:
        return None
    number, middle, spread, deviation = _krige(
        found, meters, count, places, values, scale.offset, scale.variance, weights
    )
    chosen = found[:number].tolist()
    low = max(0.0, math.exp(middle - spread) - scale.offset)
    high = math.exp(middle + spread) - scale.offset
    estimate = Estimate(
        max(0.0, math.exp(middle) - scale.offset if number > 1 else float(values[chosen[0]])),
        tuple(weights[:number].tolist()),
        low,
        high,
        (high - low) / (2.0 * _NORMAL_80),
        deviation if number > 1 else None,
    )
    return estimate, chosen, meters[:number].tolist()


def estimate_many(distances_meters: Floats, found: Ints, places: Floats, values: Floats, scale: Scale) -> Estimates:
    """Estimates the concentration at many places, as `estimate_at` does at one, whose stations are known.

    Args:
        distances_meters: Distances of k stations from each of n places, ascending, (n, k), infinite where there are fewer.
        found: Which stations they are, (n, k).
        places: Of all stations, as `positions` gives them.
        values: Their concentrations.
        scale: Of the pollutant.
    """
    middle, spread = np.empty(len(found)), np.empty(len(found))
    _krige_many(
        np.ascontiguousarray(distances_meters),
        np.ascontiguousarray(found, dtype=np.int64),
        np.ascontiguousarray(places),
        np.ascontiguousarray(values, dtype=np.float64),
        scale.offset,
        scale.variance,
        middle,
        spread,
    )
    return Estimates(
        *(np.maximum(0.0, np.exp(each) - scale.offset) for each in (middle, middle - spread, middle + spread))
    )


@inlined
def _variogram(distance_meters: float) -> float:
    """Returns half the expected squared difference of two stations so far apart; of no station with itself."""
    return _NUGGET + _SILL - _SILL * math.exp(distance_meters / -_RANGE_METERS)


@inlined
def _chord(one: Floats, other: Floats) -> float:
    """Returns how far two places are from one another, straight through the earth."""
    x, y, z = one[0] - other[0], one[1] - other[1], one[2] - other[2]
    return math.sqrt(x * x + y * y + z * z)


@compiled("int64(float64[::1], float64[:, ::1], float64, int64[::1], float64[::1])")
def _nearest(place: Floats, places: Floats, reach_meters: float, found: Ints, meters: Floats) -> int:
    """Finds the nearest stations, as many as `found` holds, and returns how many are within reach.

    Only those are looked at whose last coordinate is near enough, one or two in a hundred of a network of the world: a
    tree would take ten times as long for one place, most of it to be asked.
    """
    most, count = len(found), 0
    for station in range(
        np.searchsorted(places[:, 2], place[2] - reach_meters),
        np.searchsorted(places[:, 2], place[2] + reach_meters, side="right"),
    ):
        chord = _chord(places[station], place)
        if chord > reach_meters or (count == most and chord >= meters[most - 1]):
            continue
        at = min(count, most - 1)
        while at > 0 and meters[at - 1] > chord:
            found[at], meters[at] = found[at - 1], meters[at - 1]
            at -= 1
        found[at], meters[at] = station, chord
        count = min(count + 1, most)
    for at in range(count):
        meters[at] *= 1.0 + meters[at] ** 2 / (24.0 * _EARTH_RADIUS_METERS**2)  # as along_the_ground
    return count


@inlined
def _system(found: Ints, meters: Floats, count: int, places: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Returns the variogram between stations, bordered by ones; and that to the place beside the logarithms."""
    system, right = np.empty((count + 1, count + 1)), np.empty((count + 1, 2))
    for row in range(count):
        for column in range(row):
            chord = _chord(places[found[row]], places[found[column]])
            system[row, column] = system[column, row] = _variogram(chord)
        system[row, row], system[row, count], system[count, row] = 0.0, 1.0, 1.0
        right[row, 0], right[row, 1] = _variogram(meters[row]), z[row]
    system[count, count], right[count, 0], right[count, 1] = 0.0, 1.0, 0.0
    return system, right


@inlined
def _at_the_place(meters: Floats, count: int) -> int:
    """Returns how many stations have a weight: those at the very place where there are any, else all."""
    here = 0
    while here < count and meters[here] <= SAME_PLACE_METERS:
        here += 1
    return here or count


@compiled(
    "Tuple((int64, float64, float64, float64))"
    "(int64[::1], float64[::1], int64, float64[:, ::1], float64[::1], float64, float64, float64[::1])"
)
def _krige(
    found: Ints,
    meters: Floats,
    count: int,
    places: Floats,
    values: Floats,
    offset: float,
    variance: float,
    weights: Floats,
) -> tuple[int, float, float, float]:
    """Solves the system of ordinary kriging at one place.

    Args:
        found: Which of the stations count, the nearest first.
        meters: How far they are.
        count: How many they are.
        places: Of all stations.
        values: Of all stations.
        offset: Of the scale.
        variance: Of the scale.
        weights: Where the weights are put.

    Returns:
        How many stations have a weight, the mean of their logarithms, half of the 80 % interval, and the weighted standard
        deviation of their values.
    """
    own, z = np.empty(count), np.empty(count)
    for row in range(count):
        own[row] = values[found[row]]
        z[row] = math.log(max(own[row], 0.0) + offset)
    system, right = _system(found, meters, count, places, z)
    solution = np.linalg.solve(system, right)
    quadratic = 0.0
    for row in range(count):
        quadratic -= z[row] * solution[row, 1]
    # The height of the variogram: the restricted maximum-likelihood estimate, shrunk towards the usual one.
    height = (_PRIOR_COUNT * variance + max(quadratic, 0.0)) / (_PRIOR_COUNT + count - 1)
    number = _at_the_place(meters, count)
    if number < count:
        system, right = _system(found, meters, number, places, z)
        solution = np.linalg.solve(system, right)
    total = 0.0
    for row in range(number):
        weights[row] = max(solution[row, 0], 0.0)
        total += weights[row]
    middle, mean, deviation, expected = 0.0, 0.0, 0.0, 0.0
    for row in range(number):
        weights[row] /= total
        middle += weights[row] * z[row]
        mean += weights[row] * own[row]
    for row in range(number):
        deviation += weights[row] * (own[row] - mean) ** 2
        expected += 2.0 * weights[row] * right[row, 0]
        for column in range(number):
            expected -= weights[row] * weights[column] * system[row, column]
    return number, middle, _NORMAL_80 * math.sqrt(height * max(expected, _NUGGET)), math.sqrt(deviation)


@compiled(
    "void(float64[:, ::1], int64[:, ::1], float64[:, ::1], float64[::1], float64, float64, float64[::1], float64[::1])"
)
def _krige_many(
    meters: Floats,
    found: Ints,
    places: Floats,
    values: Floats,
    offset: float,
    variance: float,
    middle: Floats,
    spread: Floats,
) -> None:
    """Does the same at n places; `meters` and `found` are (n, k), the results go to `middle` and `spread`."""
    weights = np.empty(meters.shape[1])
    for place in range(len(meters)):
        count = 0
        while count < meters.shape[1] and meters[place, count] < np.inf:
            count += 1
        _, middle[place], spread[place], _ = _krige(
            found[place], meters[place], count, places, values, offset, variance, weights
        )
