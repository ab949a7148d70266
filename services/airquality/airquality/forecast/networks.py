"""Small neural networks beside the trees, which err in other hours, so that the mean of both errs by less than either.

A network takes what is known at a moment, not how far ahead one looks, and says for all hours ahead at once by how much
the air will differ. Plain NumPy: the library with dropout and an absolute error would be a hundred times the size of the
service. Sources: dropout (Srivastava et al., 2014), Adam (Kingma and Ba, 2015) with decoupled decay and a cosine of
learning rates (Loshchilov and Hutter, 2017 and 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

_SMALLEST_SPREAD: Final = 1e-6
_FARTHEST: Final = 4.0
"""Columns further from the usual, in standard deviations, are taken for this far: one odd reading is not let through."""

_DAY: Final = 24
_HARMONICS: Final = (1, 2, 3)
_FIRST_MOMENT, _SECOND_MOMENT = 0.9, 0.999
_TINY: Final = 1e-8
_SOFT: Final = 0.05
"""Errors smaller than this, in roots of scales, pull in proportion, so that learning comes to rest."""


@dataclass(frozen=True, slots=True)
class NetworkParameters:
    """How networks learn; chosen like the trees' parameters.

    Attributes:
        rows: Moments drawn, each with all hours ahead.
        width: Units of each of two hidden layers.
        steps: Steps of learning.
        batch: Rows of a step.
        dropped: The share of hidden units that a step leaves out.
        rate: The learning rate at first.
        decay: By which share of the learning rate weights shrink at each step.
    """

    rows: int = 105_000
    width: int = 192
    steps: int = 2_400
    batch: int = 512
    dropped: float = 0.3
    rate: float = 2e-3
    decay: float = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The layers of a network: weights, shape (in, out), and offsets, shape (out,)."""

    weights: tuple[Matrix, ...]
    offsets: tuple[Matrix, ...]

    def changes(self, inputs: Matrix) -> Matrix:
        """Returns its outputs, shape (N, H), for inputs as `Inputs.of` makes them."""
        values = inputs
        for weights, offsets in zip(self.weights[:-1], self.offsets[:-1], strict=True):
            values = np.maximum(values @ weights + offsets, np.float32(0))
        return np.asarray(values @ self.weights[-1] + self.offsets[-1])


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What makes columns of trees fit for networks.

    Attributes:
        hour: The place of the hour of the day among the columns.
        centre: The mean of each column.
        spread: Its standard deviation.
    """

    hour: int
    centre: Matrix
    spread: Matrix

    @classmethod
    def learnt(cls, columns: Matrix, hour: int) -> Self:
        """Learns from columns, shape (N, F), NaN for none."""
        known = ~np.isnan(columns)
        count = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, columns, 0).sum(axis=0, dtype=np.float64) / count
        square = np.where(known, (columns - centre) ** 2, 0).sum(axis=0, dtype=np.float64) / count
        spread = np.sqrt(square)
        # A column that says nothing here must not shout where it differs elsewhere.
        spread = np.where(spread > _SMALLEST_SPREAD, spread, np.inf)
        return cls(hour, centre.astype(np.float32), spread.astype(np.float32))

    def of(self, columns: Matrix, base: Matrix) -> Matrix:
        """Returns what networks take.

        Args:
            columns: What is known, shape (N, F), NaN for none, which becomes the mean.
            base: The newest readings, in scales, shape (N,).
        """
        inputs = np.clip((columns - self.centre) / self.spread, -_FARTHEST, _FARTHEST)
        angles = [columns[:, self.hour] * np.float32(2 * np.pi * each / _DAY) for each in _HARMONICS]
        beside = [*map(np.sin, angles), *map(np.cos, angles), base, np.sqrt(base), np.minimum(base, 10.0) ** 2 / 10]
        return np.concatenate(
            [np.where(np.isnan(inputs), 0, inputs), np.stack(beside, axis=1)], axis=1, dtype=np.float32
        )


def train_network(inputs: Matrix, changes: Matrix, parameters: NetworkParameters, seed: int) -> Network:
    """Trains a network by the absolute error.

    Args:
        inputs: As `Inputs.of` makes them, shape (N, F).
        changes: What came of them, shape (N, H), NaN where it is not known.
        parameters: How.
        seed: What chance begins with.
    """
    random = np.random.default_rng(seed)
    known = ~np.isnan(changes)
    aims = np.where(known, changes, 0).astype(np.float32)
    learner = _Learner(inputs.shape[1], aims.shape[1], parameters, random)
    batch = min(parameters.batch, len(inputs))
    order = random.permutation(len(inputs))
    place = 0
    for step in range(parameters.steps):
        if place + batch > len(order):
            order, place = random.permutation(len(inputs)), 0
        rows = order[place : place + batch]
        place += batch
        rate = parameters.rate * (1 + np.cos(np.pi * step / parameters.steps)) / 2
        learner.learn(inputs[rows], aims[rows], known[rows], rate)
    return learner.network()


class _Learner:
    """A network of two hidden layers that learns."""

    def __init__(self, inputs: int, outputs: int, parameters: NetworkParameters, random: np.random.Generator) -> None:
        sizes = [inputs, parameters.width, parameters.width, outputs]
        pairs = list(pairwise(sizes))
        # As He et al. (2015) begin; the last layer small, for at first the best guess is that nothing changes.
        self._weights = [random.normal(0, np.sqrt(2 / each), (each, to)).astype(np.float32) for each, to in pairs]
        self._weights[-1] *= np.float32(0.1)
        self._offsets = [np.zeros(to, np.float32) for _, to in pairs]
        self._moments = [(np.zeros_like(each), np.zeros_like(each)) for each in (*self._weights, *self._offsets)]
        self._parameters = parameters
        self._random = random
        self._step = 0

    def network(self) -> Network:
        """Returns what was learnt."""
        return Network(tuple(self._weights), tuple(self._offsets))

    def learn(self, inputs: Matrix, aims: Matrix, known: NDArray[np.bool_], rate: float) -> None:
        """Takes a step."""
        kept = np.float32(1 - self._parameters.dropped)
        layers, slopes = [inputs], []
        for weights, offsets in zip(self._weights[:-1], self._offsets[:-1], strict=True):
            values = layers[-1] @ weights + offsets
            left = self._random.random(values.shape, dtype=np.float32) < kept
            slopes.append(np.where(left & (values > 0), 1 / kept, np.float32(0)))
            layers.append(values * slopes[-1])
        errors = layers[-1] @ self._weights[-1] + self._offsets[-1] - aims
        back = np.clip(errors / np.float32(_SOFT), -1, 1) * known / np.float32(len(inputs))
        gradients: list[Sequence[Matrix]] = []
        for place in reversed(range(len(self._weights))):
            gradients.append((layers[place].T @ back, back.sum(axis=0)))
            if place:
                back = (back @ self._weights[place].T) * slopes[place - 1]
        gradients.reverse()
        self._adapt([each for each, _ in gradients] + [each for _, each in gradients], rate)

    def _adapt(self, gradients: Sequence[Matrix], rate: float) -> None:
        self._step += 1
        first_share, second_share = 1 - _FIRST_MOMENT**self._step, 1 - _SECOND_MOMENT**self._step
        for place, values in enumerate((*self._weights, *self._offsets)):
            first, second = self._moments[place]
            np.add(first, np.float32(1 - _FIRST_MOMENT) * (gradients[place] - first), out=first)
            np.add(second, np.float32(1 - _SECOND_MOMENT) * (gradients[place] ** 2 - second), out=second)
            pull = (first / np.float32(first_share)) / (np.sqrt(second / np.float32(second_share)) + np.float32(_TINY))
            if place < len(self._weights):
                pull += np.float32(self._parameters.decay) * values
            np.subtract(values, np.float32(rate) * pull, out=values)
