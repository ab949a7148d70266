"""One pollutant over the ground at one moment: what stations said of it, and what that makes between them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from airquality.averages import Basis
from airquality.contributions import Contribution
from airquality.interpolation import (
    MOST_STATIONS,
    REACH_METERS,
    Estimate,
    along_the_ground,
    estimate_at,
    estimate_many,
    positions,
    scale_of,
)
from airquality.units import AveragingPeriod, Pollutant

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Below this share a station says next to nothing; it counts for the value, and is not listed.
_LEAST_WEIGHT: Final = 0.01


class PollutantCondition(NamedTuple):
    """One pollutant at a place.

    Attributes:
        pollutant: The pollutant.
        estimate: The concentration in its usual unit.
        contributions: What it rests on, the nearest station first, one for each weight of `estimate`.
        distances: How far their stations are, in metres.
        others: The same weights' averages that the index counts beside it, by their periods, where a station has one.
    """

    pollutant: Pollutant
    estimate: Estimate
    contributions: tuple[Contribution, ...]
    distances: tuple[float, ...]
    others: Mapping[AveragingPeriod, float]


class Grid(NamedTuple):
    """A pollutant at n places; NaN where the data does not support a value.

    Attributes:
        values: The concentrations in the usual unit.
        lows: Where the 80 % intervals begin.
        highs: Where they end.
    """

    values: Floats
    lows: Floats
    highs: Floats


class _Layer:
    """Stations of one quality, as arrays."""

    def __init__(self, parts: Sequence[Contribution]) -> None:
        # By the last coordinate, as `estimate_at` wants them.
        places = positions([each.station.lat for each in parts], [each.station.lng for each in parts])
        order = np.argsort(places[:, 2])
        self.parts = [parts[place] for place in order.tolist()]
        self.values = np.array([each.value for each in self.parts], dtype=np.float64)
        self.places = places[order]

    @cached_property
    def tree(self) -> cKDTree:
        """The same places to be found by many others at once; most surfaces are only asked about single ones."""
        return cKDTree(self.places)

    def near(self, places: Floats, count: int, reach_meters: float) -> tuple[Floats, Ints]:
        """Returns distances over the ground of the stations nearest to each of n places and their numbers, (n, count).

        Where there are fewer the distance is infinite and the number that of the last station.
        """
        # A number is looked up faster than a range, but of one station makes no array.
        wanted = count if count > 1 else [1]
        distances, found = self.tree.query(places, k=wanted, distance_upper_bound=reach_meters)
        return along_the_ground(np.asarray(distances)), np.minimum(np.asarray(found), len(self.parts) - 1)


class Surface:
    """What all stations said of one pollutant at one moment.

    A mean of too few hours counts only where no station near enough has anything better.
    """

    def __init__(self, pollutant: Pollutant, contributions: Sequence[Contribution]) -> None:
        """Makes it.

        Args:
            pollutant: Of which all are.
            contributions: At most one a station. Those without a finite value are left out.
        """
        self.pollutant = pollutant
        self._scale = scale_of(pollutant)
        usable = [each for each in contributions if np.isfinite(each.value)]
        sound = [each for each in usable if each.basis != Basis.AVERAGE_INCOMPLETE]
        rest = [each for each in usable if each.basis == Basis.AVERAGE_INCOMPLETE]
        self._layers = [_Layer(parts) for parts in (sound, rest) if parts]

    @property
    def averaging_period(self) -> AveragingPeriod:
        """What its values count as for the index."""
        return AveragingPeriod(self._layers[0].parts[0].averaging_period) if self._layers else AveragingPeriod.HOUR

    def distances(self, places: Floats, reach_meters: float) -> Floats:
        """Returns how far the nearest station is from each of n places, in metres; infinite beyond the reach."""
        nearest = np.full(len(places), np.inf)
        for layer in self._layers:
            nearest = np.minimum(nearest, layer.near(places, 1, reach_meters)[0][:, 0])
        return nearest

    @property
    def contributions(self) -> list[Contribution]:
        """What each station said."""
        return [part for layer in self._layers for part in layer.parts]

    def at(self, place: Floats, radius_meters: float) -> PollutantCondition | None:
        """Returns the pollutant at a place, or None where the nearest station is further than the radius.

        Args:
            place: As `airquality.interpolation.positions` gives it, 3.
            radius_meters: How far the nearest station may be; others count up to REACH_METERS, or the radius if larger.
        """
        for layer in self._layers:
            reach_meters = max(radius_meters, REACH_METERS)
            found = estimate_at(place, layer.places, layer.values, self._scale, radius_meters, reach_meters)
            if found is not None:
                return self._condition(layer, *found)
        return None

    def over(self, places: Floats, radius_meters: float) -> Grid:
        """Returns the pollutant at many places, as `at` does at one.

        Args:
            places: As `airquality.interpolation.positions` gives them, (n, 3).
            radius_meters: How far the nearest station may be.
        """
        grid = Grid(*(np.full(len(places), np.nan) for _ in range(3)))
        for layer in self._layers:
            # Most places of a map are far from any station: these are found out first, at an eighth of the cost.
            open_places = np.flatnonzero(np.isnan(grid.values))
            nearest, _ = layer.near(places[open_places], 1, radius_meters)
            supported = open_places[np.isfinite(nearest[:, 0])]
            if supported.size:
                count = min(MOST_STATIONS, len(layer.parts))
                distances, found = layer.near(places[supported], count, max(radius_meters, REACH_METERS))
                made = estimate_many(distances, found, layer.places, layer.values, self._scale)
                grid.values[supported], grid.lows[supported], grid.highs[supported] = made.values, made.lows, made.highs
        return grid

    def _condition(
        self, layer: _Layer, estimate: Estimate, found: Sequence[int], meters: Sequence[float]
    ) -> PollutantCondition:
        kept = [place for place, weight in enumerate(estimate.weights) if weight >= _LEAST_WEIGHT]
        parts = [layer.parts[found[place]] for place in kept]
        weights = [estimate.weights[place] for place in kept]
        total = sum(weights)
        others = {}
        for period in {period for part in parts for period in part.others}:
            value = self._other(parts, weights, period)
            if value is not None:
                others[period] = value
        return PollutantCondition(
            self.pollutant,
            estimate._replace(weights=tuple([each / total for each in weights])),
            tuple(parts),
            tuple([meters[place] for place in kept]),
            others,
        )

    def _other(self, parts: Sequence[Contribution], weights: Sequence[float], period: AveragingPeriod) -> float | None:
        total = logarithm = 0.0
        for part, weight in zip(parts, weights, strict=True):
            value = part.others.get(period, math.nan)
            if math.isfinite(value):
                total += weight
                logarithm += weight * math.log(max(value, 0.0) + self._scale.offset)
        return max(0.0, math.exp(logarithm / total) - self._scale.offset) if total else None


def surfaces_from(parts: Iterable[tuple[int, Contribution | None]]) -> tuple[Surface, ...]:
    """Returns the surface of each pollutant, in the order of Pollutant."""
    by_pollutant: dict[int, list[Contribution]] = {}
    for pollutant, part in parts:
        if part is not None:
            by_pollutant.setdefault(pollutant, []).append(part)
    return tuple(Surface(Pollutant(code), by_pollutant[code]) for code in sorted(by_pollutant))
