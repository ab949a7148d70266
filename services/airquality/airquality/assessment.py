"""What an index says of a place: its value, the sub-indices that make it, and the dominant pollutant."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from airquality.index import NONE, category_of, concentration_of, sub_index, sub_indices, table_of
from airquality.index import SubIndex as Single
from airquality.overall import NAMES, overall_of_one
from airquality.standards import Category, Standard
from airquality.units import AveragingPeriod, Pollutant, Unit

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
    codes = np.asarray(pollutant, dtype=np.int64)
    found = sub_indices(standard, np.repeat(versions, sizes), codes, averaging_period, usual_value)
    columns = (column.tolist() for column in (found.values, found.rows, found.steps, found.contributions))
    each = zip(codes.tolist(), map(Single, *columns), strict=True)
    return [_assessment(standard, version, islice(each, size)) for version, size in zip(versions, sizes, strict=True)]


def assess_place(
    standard: Standard, version: int, concentrations: Iterable[tuple[int, int, float]]
) -> Assessment | None:
    """Assesses one place, the same as `assess` does.

    Args:
        standard: The index.
        version: The place in `standard.versions` of the one to use.
        concentrations: Codes of Pollutant and AveragingPeriod and the concentrations, as of `assess`.

    Returns:
        Its assessment, or None when its concentrations make no index.
    """
    found = ((code, sub_index(standard, version, code, period, value)) for code, period, value in concentrations)
    return _assessment(standard, version, found)


def _assessment(standard: Standard, version: int, found: Iterable[tuple[int, Single]]) -> Assessment | None:
    highest: dict[int, Single] = {}
    for code, each in found:
        if each.value != NONE and (code not in highest or each.value > highest[code].value):
            highest[code] = each
    ordered = {pollutant: highest[pollutant] for pollutant in _POLLUTANTS if pollutant in highest}
    whole = overall_of_one(
        standard.versions[version],
        {pollutant: (each.value, each.contribution) for pollutant, each in ordered.items()},
    )
    if whole is None:
        return None
    return Assessment(standard, version, *whole, _ordered(standard, ordered.values()))


def _ordered(standard: Standard, found: Iterable[Single]) -> tuple[SubIndex, ...]:
    """Returns the sub-indices of a place, the highest first; under a formula by what they add before rounding."""
    ordered = sorted(found, key=lambda each: (-each.value, -each.contribution))
    return tuple(_sub_index(standard, each) for each in ordered)


def _sub_index(standard: Standard, found: Single) -> SubIndex:
    table = table_of(standard, found.row)
    return SubIndex(
        pollutant=table.pollutant,
        value=found.value,
        category=category_of(standard, found.value),
        averaging_period=table.averaging_period,
        concentration=concentration_of(standard, found.row, found.steps),
        unit=table.unit,
    )
