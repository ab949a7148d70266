"""What an index says of a place: its value, the sub-indices that make it, and the dominant pollutant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airquality.index import NONE, category_of, concentration_of, sub_indices, table_of
from airquality.overall import NAMES, overall
from airquality.standards import Category, Standard
from airquality.units import AveragingPeriod, Pollutant, Unit

Ints = NDArray[np.int64]

_POLLUTANTS: Final = tuple(NAMES)  # those that an index may take


class SubIndex(NamedTuple):
    """The index of one pollutant.

    Attributes:
        pollutant: The pollutant.
        value: The value of the index.
        category: The band that it lies in.
        averaging_period: That of the table that gave the value.
        concentration: As the table takes it, in `unit`.
        unit: That of the table.
    """

    pollutant: Pollutant
    value: int
    category: Category
    averaging_period: AveragingPeriod
    concentration: float
    unit: Unit


@dataclass(frozen=True, slots=True)
class Assessment:
    """The index of a place.

    Attributes:
        standard: The index.
        version: The place in `standard.versions` of the one used.
        value: The value of the index.
        dominant: The pollutant that makes it; of equal ones the first in the order of Pollutant. None where the index
            names none.
        sub_indices: One for each pollutant, the highest first; at least one.
    """

    standard: Standard
    version: int
    value: int
    dominant: Pollutant | None
    sub_indices: tuple[SubIndex, ...]

    @property
    def category(self) -> Category:
        """The band that the value lies in."""
        return category_of(self.standard, self.value)


def assess(
    standard: Standard,
    versions: Sequence[int],
    sizes: Sequence[int],
    pollutant: ArrayLike,
    averaging_period: ArrayLike,
    usual_value: ArrayLike,
) -> list[Assessment | None]:
    """Assesses many places in one computation.

    Args:
        standard: The index.
        versions: For each place, where in `standard.versions` the one to use stands.
        sizes: For each place, how many of the concentrations are its own; they follow one another.
        pollutant: Codes of Pollutant, of all concentrations.
        averaging_period: Codes of AveragingPeriod, or 0 for the one that the index takes for a day.
        usual_value: Concentrations in the pollutants' usual units, converted by the version's own factors.

    Returns:
        For each place its assessment, or None when its concentrations make no index.
    """
    places = np.repeat(np.arange(len(sizes)), sizes)
    version_of_place = np.asarray(versions, dtype=np.int64)
    computed = sub_indices(standard, version_of_place[places], pollutant, averaging_period, usual_value)
    highest = _highest(np.asarray(pollutant, dtype=np.int64), places, computed.values, len(sizes))
    found = highest != NONE
    values = np.where(found, computed.values[highest], NONE)
    contributions = np.where(found, computed.contributions[highest], 0.0)
    columns = (computed.values, computed.rows, computed.steps, computed.contributions)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    of_place = highest.T.tolist()
    results: list[Assessment | None] = [None] * len(sizes)
    for version in np.unique(version_of_place).tolist():
        mine = np.flatnonzero(version_of_place == version)
        whole = overall(standard.versions[version], _POLLUTANTS, values[:, mine], contributions[:, mine])
        for place, value, dominant in zip(mine.tolist(), whole.values.tolist(), whole.dominant.tolist(), strict=True):
            if value != NONE:
                results[place] = Assessment(
                    standard,
                    version,
                    value,
                    None if dominant == NONE else _POLLUTANTS[dominant],
                    _ordered(standard, [rows[each] for each in of_place[place] if each != NONE]),
                )
    return results


def _highest(pollutant: Ints, places: Ints, values: Ints, number: int) -> Ints:
    """Returns which concentration gives each pollutant's highest sub-index at each place, NONE where none has one."""
    best = np.full((len(_POLLUTANTS), number), NONE)
    row_of = np.full(max(_POLLUTANTS) + 1, NONE)
    row_of[list(_POLLUTANTS)] = np.arange(len(_POLLUTANTS))
    with_index = np.flatnonzero(values != NONE)
    # What is assigned last stays: the highest, and of equal ones the first.
    order = with_index[np.lexsort((-with_index, values[with_index]))]
    best[row_of[pollutant[order]], places[order]] = order
    return best


def _ordered(standard: Standard, rows: list[tuple[int, int, int, float]]) -> tuple[SubIndex, ...]:
    """Returns the sub-indices of a place, the highest first; under a formula by what they add before rounding."""
    rows.sort(key=lambda row: (-row[0], -row[3]))
    return tuple(_sub_index(standard, value, row, steps) for value, row, steps, _ in rows)


def _sub_index(standard: Standard, value: int, row: int, steps: int) -> SubIndex:
    table = table_of(standard, row)
    return SubIndex(
        pollutant=table.pollutant,
        value=value,
        category=category_of(standard, value),
        averaging_period=table.averaging_period,
        concentration=concentration_of(standard, row, steps),
        unit=table.unit,
    )
