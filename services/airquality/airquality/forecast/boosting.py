"""The model: gradient-boosted trees and networks that say by how much the air will differ from what it is now.

They speak of the square roots of concentrations: there clean air and smog differ by steps of like size, and a median
stays one when it is squared.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import lightgbm
import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it carries none

from airquality.forecast.draw import BASE_AGE_HOURS, Draw, Rows, blocks
from airquality.forecast.features import (
    HORIZON_COLUMNS,
    Matrix,
    horizon_features,
    origin_features,
)
from airquality.forecast.frame import POLLUTANTS, Floats, Frame, Ints, last_known
from airquality.forecast.left_out import LONGEST_HOURS, LeftOut
from airquality.forecast.neighbours import Neighbours
from airquality.forecast.networks import Inputs, Network, NetworkParameters, train_network
from airquality.units import Pollutant

BANDS: Final = ((1, 2), (3, 6), (7, 14), (15, 24), (25, 48), (49, 96))
"""Each band of hours ahead has trees of its own: what tells the next hour is not what tells the day after tomorrow."""

HORIZONS: Final = np.array([*range(1, 25), *range(27, LONGEST_HOURS + 1, 3)])
"""The hours ahead that are computed; those between are interpolated."""

FEWEST_ROWS: Final = 2_000
"""With fewer rows in a band nothing can be learnt."""

_SMALLEST_SCALE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Parameters:
    """How trees are grown; the defaults were chosen on 2014-03 … 2015-02 of Beijing (docs/air-quality/forecast.md).

    Attributes:
        rows: Rows drawn for each band.
        members: How many sets of trees are grown for each band, and how many networks; their mean is the forecast.
        trees: Trees of a set.
        leaves: Leaves of a tree.
        learning_rate: The share of each tree.
        fewest_in_leaf: Rows in a leaf, at least.
        column_share: The share of columns that a tree may use.
        row_share: The share of rows that a tree is grown on.
        seed: What the drawing begins with.
        threads: Bands or networks that are trained at once.
        network: How networks learn.
    """

    rows: int = 80_000
    members: int = 4
    trees: int = 65
    leaves: int = 63
    learning_rate: float = 0.14
    fewest_in_leaf: int = 100
    column_share: float = 0.4
    row_share: float = 0.4
    seed: int = 7
    threads: int = 2
    network: NetworkParameters = field(default_factory=NetworkParameters)


@dataclass(frozen=True, slots=True, eq=False)
class Boosted:
    """Trained trees and networks; the first set of trees of each band and the first network are the first member.

    Attributes:
        target: What they forecast.
        scales: The usual concentration of each pollutant.
        columns: The names of their columns.
        boosters: The sets of trees of the first band, then of the second …, as many of each.
        inputs: What makes columns fit for networks.
        networks: The networks, of which each speaks of all HORIZONS.
    """

    target: Pollutant
    scales: Mapping[Pollutant, float]
    columns: tuple[str, ...]
    boosters: Sequence[lightgbm.Booster]
    inputs: Inputs
    networks: Sequence[Network]

    def member(self, number: int) -> "Boosted":
        """Returns one member alone."""
        return replace(
            self, boosters=self.boosters[number :: len(self.networks)], networks=self.networks[number : number + 1]
        )

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
        scale = self.scales[self.target]
        medians = np.full((*base.shape, len(HORIZONS)), np.nan)
        if known.any():
            now = np.maximum(base[known], 0.0) / scale
            inputs = self.inputs.of(origins[known], now.astype(np.float32))
            foreseen = np.mean([each.changes(inputs) for each in self.networks], axis=0)
            grown = self._grown(origins[known], ahead[known], threads)
            both = [np.maximum(np.sqrt(now)[:, None] + each, 0.0) ** 2 for each in (grown, foreseen)]
            medians[known] = (both[0] + both[1]) / 2 * scale
        return medians

    def _grown(self, origins: Matrix, ahead: Matrix, threads: int) -> Floats:
        """Returns the changes that the trees foresee, shape (N, len(HORIZONS)), from both kinds of columns."""
        changes = np.empty((len(origins), len(HORIZONS)))
        members = len(self.networks)
        for number, (first, last) in enumerate(BANDS):
            places = np.flatnonzero((first <= HORIZONS) & (last >= HORIZONS))
            rows = np.concatenate(
                [np.repeat(origins, len(places), axis=0), ahead[:, places].reshape(-1, len(HORIZON_COLUMNS))], axis=1
            )
            own = self.boosters[number * members : (number + 1) * members]
            made = np.mean([np.asarray(each.predict(rows, num_threads=threads)) for each in own], axis=0)
            changes[:, places] = made.reshape(-1, len(places))
        return changes


def fit(frame: Frame, target: Pollutant, parameters: Parameters, left_out: LeftOut | None = None) -> Boosted:
    """Trains on a frame.

    Args:
        frame: Hourly values; both what is known and what became of it are taken from it, and nothing else.
        target: What to forecast.
        parameters: How.
        left_out: What each member does not learn from; nothing unless it is given.

    Returns:
        The model; the same frame and parameters give the same one on the same processor.

    Raises:
        ValueError: The frame holds too little to draw rows from.
    """
    scales = {each: _scale(frame.of(each)) for each in POLLUTANTS}
    names: tuple[str, ...] = ()
    generator = np.random.default_rng(parameters.seed)
    parts: list[list[Rows]] = [[] for _ in (*BANDS, None)]
    neighbours = Neighbours.of(frame)
    for block, share in blocks(frame):
        origin_names, origins = origin_features(block, target, scales, share.hours, neighbours)
        names = (*origin_names, *HORIZON_COLUMNS)
        draw = Draw(frame, block, target, scales[target], origins, neighbours, generator)
        for band, part in zip(BANDS, parts[:-1], strict=True):
            part.append(draw.of_band(band, round(parameters.rows * share.of_all)))
        parts[-1].append(draw.of_all(HORIZONS, round(parameters.network.rows * share.of_all)))
    drawn = [Rows(*map(np.concatenate, zip(*part, strict=True))) for part in parts]
    inputs = Inputs.learnt(drawn[-1].columns, names.index("origin_hour"))
    grow = partial(_grow, left_out=left_out, parameters=parameters)
    teach = partial(_teach, drawn[-1], inputs, left_out=left_out, parameters=parameters)
    # A thread for a band or a network, not for a tree or a product of matrices: threads that share these wait for each
    # other where cores are busy.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(parameters.threads) as pool:
        growing = pool.map(grow, drawn[:-1])
        networks = list(pool.map(teach, range(parameters.members)))
        grown = list(growing)
    boosters = [each for band in grown for each in band]
    return Boosted(target, scales, names, boosters, inputs, networks)


def _teach(drawn: Rows, inputs: Inputs, member: int, *, left_out: LeftOut | None, parameters: Parameters) -> Network:
    own = _learnt(drawn, left_out, member)
    rows = inputs.of(drawn.columns[own], drawn.base[own].astype(np.float32))
    changes = drawn.changes[own].astype(np.float32)
    return train_network(rows, changes, parameters.network, parameters.seed + member)


def _grow(drawn: Rows, left_out: LeftOut | None, parameters: Parameters) -> list[lightgbm.Booster]:
    if len(drawn.columns) < FEWEST_ROWS:
        message = f"only {len(drawn.columns)} rows to train on; {FEWEST_ROWS} are needed"
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
    data = lightgbm.Dataset(drawn.columns, drawn.changes, params=options, free_raw_data=False).construct()
    return [
        lightgbm.train(
            options | {"seed": parameters.seed + member},
            data.subset(_learnt(drawn, left_out, member).tolist()),
            num_boost_round=parameters.trees,
        )
        for member in range(parameters.members)
    ]


def _learnt(drawn: Rows, left_out: LeftOut | None, member: int) -> Ints:
    """Returns the places of the rows that a member learns from."""
    return np.arange(len(drawn.hours)) if left_out is None else np.flatnonzero(left_out.learnt_by(member, drawn.hours))


def _scale(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return max(float(np.median(known)), _SMALLEST_SCALE) if known.size else 1.0
