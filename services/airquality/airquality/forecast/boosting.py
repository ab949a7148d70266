"""The model: gradient-boosted trees that say by how much the air will differ from what it is now."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

import lightgbm
import numpy as np

from airquality.forecast.features import (
    HORIZON_COLUMNS,
    LOOKBACK_HOURS,
    Matrix,
    horizon_features,
    origin_features,
)
from airquality.forecast.frame import POLLUTANTS, Floats, Frame, last_known
from airquality.forecast.neighbours import Neighbours
from airquality.units import Pollutant

LONGEST_HOURS: Final = 96
BASE_AGE_HOURS: Final = 6
"""How old the newest reading may be that a forecast starts from."""

BANDS: Final = ((1, 2), (3, 6), (7, 14), (15, 24), (25, 48), (49, 96))
"""Each band of hours ahead has trees of its own: what tells the next hour is not what tells the day after tomorrow."""

HORIZONS: Final = np.array([*range(1, 25), *range(27, LONGEST_HOURS + 1, 3)])
"""The hours ahead that are computed; those between are interpolated."""

FEWEST_ROWS: Final = 2_000
"""With fewer rows in a band nothing can be learnt."""

_MOST_BLOCK_HOURS: Final = 720
_BLOCK_CELLS: Final = 15_000
_DAY: Final = 24
_SMALLEST_SCALE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Parameters:
    """How trees are grown; the defaults were chosen on 2014-03 … 2015-02 of Beijing (docs/air-quality/forecast.md).

    Attributes:
        rows: Rows drawn for each band.
        members: How many sets of trees are grown for each band; their mean is the forecast.
        trees: Trees of a set.
        leaves: Leaves of a tree.
        learning_rate: The share of each tree.
        fewest_in_leaf: Rows in a leaf, at least.
        column_share: The share of columns that a tree may use.
        row_share: The share of rows that a tree is grown on.
        seed: What the drawing begins with.
        threads: Bands that are trained at once.
    """

    rows: int = 80_000
    members: int = 2
    trees: int = 130
    leaves: int = 63
    learning_rate: float = 0.07
    fewest_in_leaf: int = 100
    column_share: float = 0.4
    row_share: float = 0.4
    seed: int = 7
    threads: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class Boosted:
    """Trained trees.

    Attributes:
        target: What they forecast.
        scales: The usual concentration of each pollutant.
        columns: The names of their columns.
        boosters: The sets of trees of the first band, then of the second …, as many of each.
    """

    target: Pollutant
    scales: Mapping[Pollutant, float]
    columns: tuple[str, ...]
    boosters: Sequence[lightgbm.Booster]

    def forecast(self, frame: Frame, count: int = 1, *, step: int = 1, threads: int = 2) -> Floats:
        """Forecasts from every `step`-th of the last `count` hours of a frame, when that hour is over.

        Args:
            frame: Hourly values, which should begin LOOKBACK_HOURS before the first of these hours.
            count: Number of hours to begin with.
            step: Of which the first and every so many after it are taken, N of them.
            threads: Threads to compute on.

        Returns:
            Medians in the usual unit, shape (S, N, len(HORIZONS)); NaN from where no reading is newer than
            BASE_AGE_HOURS.
        """
        neighbours = Neighbours.of(frame)
        names, origins = origin_features(frame, self.target, self.scales, count, neighbours)
        if (*names, *HORIZON_COLUMNS) != self.columns:
            message = "the model was trained on other columns than this version computes; train it anew"
            raise ValueError(message)
        ahead = horizon_features(frame, self.target, self.scales[self.target], count, HORIZONS, neighbours)
        origins, ahead = origins[:, ::step], ahead[:, ::step]
        base = last_known(frame.of(self.target), BASE_AGE_HOURS)[0][:, -count::step]
        known = ~np.isnan(base)
        change = np.full((int(known.sum()), len(HORIZONS)), np.nan)
        members = len(self.boosters) // len(BANDS)
        for number, (first, last) in enumerate(BANDS):
            places = np.flatnonzero((first <= HORIZONS) & (last >= HORIZONS))
            rows = np.concatenate(
                [
                    np.repeat(origins[known], len(places), axis=0),
                    ahead[known][:, places].reshape(-1, len(HORIZON_COLUMNS)),
                ],
                axis=1,
            )
            if len(rows):
                own = self.boosters[number * members : (number + 1) * members]
                made = np.mean([np.asarray(each.predict(rows, num_threads=threads)) for each in own], axis=0)
                change[:, places] = made.reshape(-1, len(places))
        medians = np.full((*base.shape, len(HORIZONS)), np.nan)
        medians[known] = np.maximum(base[known][:, None] + change * self.scales[self.target], 0.0)
        return medians


def fit(frame: Frame, target: Pollutant, parameters: Parameters) -> Boosted:
    """Trains on a frame.

    Args:
        frame: Hourly values; both what is known and what became of it are taken from it, and nothing else.
        target: What to forecast.
        parameters: How.

    Returns:
        The model; the same frame and parameters give the same one on the same processor.

    Raises:
        ValueError: The frame holds too little to draw rows from.
    """
    scales = {each: _scale(frame.of(each)) for each in POLLUTANTS}
    names: tuple[str, ...] = ()
    generator = np.random.default_rng(parameters.seed)
    parts: list[list[tuple[Matrix, Floats]]] = [[] for _ in BANDS]
    neighbours = Neighbours.of(frame)
    for block, share in _blocks(frame):
        origin_names, origins = origin_features(block, target, scales, share.hours, neighbours)
        names = (*origin_names, *HORIZON_COLUMNS)
        base = last_known(block.of(target), BASE_AGE_HOURS)[0][:, -share.hours :]
        for band, part in zip(BANDS, parts, strict=True):
            number = round(parameters.rows * share.of_all)
            part.append(_draw(frame, block, target, scales[target], origins, base, band, number, generator, neighbours))
    # A thread for a band, not for a tree: threads that share a tree wait for each other where cores are busy.
    with ThreadPoolExecutor(parameters.threads) as pool:
        boosters = list(chain.from_iterable(pool.map(partial(_grow, parameters=parameters), parts)))
    return Boosted(target, scales, names, boosters)


def block_hours(stations: int) -> int:
    """Returns how many hours of so many stations are held as columns at once, so that they take some 100 MB."""
    return max(_DAY, min(_MOST_BLOCK_HOURS, _BLOCK_CELLS // max(stations, 1)))


class _Share(NamedTuple):
    """The hours of a block to draw from, and which share they are of all."""

    hours: int
    of_all: float


def _blocks(frame: Frame) -> Iterator[tuple[Frame, _Share]]:
    """Yields the frame in parts whose last hours are drawn from, so that no more than one is held as columns."""
    first, last = frame.first_hour + _DAY, frame.end_hour - 1  # the first day knows too little, the last hour no more
    hours = block_hours(len(frame.stations))
    for start in range(first, last, hours):
        end = min(start + hours, last)
        yield frame.between(start - LOOKBACK_HOURS, end), _Share(end - start, (end - start) / (last - first))


def _draw(
    frame: Frame,
    block: Frame,
    target: Pollutant,
    scale: float,
    origins: Matrix,
    base: Floats,
    band: tuple[int, int],
    number: int,
    generator: np.random.Generator,
    neighbours: Neighbours,
) -> tuple[Matrix, Floats]:
    """Returns rows of stations, hours and hours ahead drawn evenly, and how much the air changed, in scales."""
    values = frame.of(target)
    hours = base.shape[1]
    station = generator.integers(0, base.shape[0], number)
    origin = generator.integers(0, hours, number)
    horizon = generator.integers(band[0], band[1] + 1, number)
    place = block.end_hour - hours - frame.first_hour + origin + horizon
    inside = place < values.shape[1]
    change = np.where(inside, values[station, np.minimum(place, values.shape[1] - 1)], np.nan) - base[station, origin]
    kept = ~np.isnan(change)
    station, origin, horizon = station[kept], origin[kept], horizon[kept]
    every = np.arange(band[0], band[1] + 1)
    ahead = horizon_features(block, target, scale, hours, every, neighbours)[station, origin, horizon - band[0]]
    return np.concatenate([origins[station, origin], ahead], axis=1), change[kept] / scale


def _grow(drawn: list[tuple[Matrix, Floats]], parameters: Parameters) -> list[lightgbm.Booster]:
    rows, changes = np.concatenate([each[0] for each in drawn]), np.concatenate([each[1] for each in drawn])
    if len(rows) < FEWEST_ROWS:
        message = f"only {len(rows)} rows to train on; {FEWEST_ROWS} are needed"
        raise ValueError(message)
    # Extremely randomised trees and shares of rows and columns: a year holds few kinds of weather, which fine cuts
    # would learn by heart. The absolute error, because what is wanted is the median.
    options = {
        "objective": "l1",
        "extra_trees": True,
        "num_leaves": parameters.leaves,
        "learning_rate": parameters.learning_rate,
        "min_data_in_leaf": parameters.fewest_in_leaf,
        "feature_fraction": parameters.column_share,
        "bagging_fraction": parameters.row_share,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "max_bin": 127,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    # What single sets get wrong by chance is about 2 % of the error, and their mean leaves most of it out.
    data = lightgbm.Dataset(rows, changes, params=options, free_raw_data=False)
    return [
        lightgbm.train(options | {"seed": parameters.seed + member}, data, num_boost_round=parameters.trees)
        for member in range(parameters.members)
    ]


def _scale(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return max(float(np.median(known)), _SMALLEST_SCALE) if known.size else 1.0
