"""What an index says of a place: the highest of its sub-indices, whose pollutant is dominant, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from numpy.typing import ArrayLike

from airquality.index import NONE, category_of, concentration_of, sub_indices, table_of
from airquality.standards import Category, Standard
from airquality.units import AveragingPeriod, Pollutant, Unit


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
        sub_indices: One for each pollutant, the highest first; at least one.
    """

    standard: Standard
    version: int
    sub_indices: tuple[SubIndex, ...]

    @property
    def value(self) -> int:
        """The value of the index."""
        return self.sub_indices[0].value

    @property
    def category(self) -> Category:
        """The band that the value lies in."""
        return self.sub_indices[0].category

    @property
    def dominant(self) -> Pollutant:
        """The pollutant with the highest sub-index; of equal ones the first in the order of Pollutant."""
        return self.sub_indices[0].pollutant


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
        usual_value: Concentrations in the pollutants' usual units.

    Returns:
        For each place its assessment, or None when none of its concentrations has an index.
    """
    each_version = [version for version, size in zip(versions, sizes, strict=True) for _ in range(size)]
    computed = sub_indices(standard, each_version, pollutant, averaging_period, usual_value)
    rows = list(zip(computed.values.tolist(), computed.rows.tolist(), computed.steps.tolist(), strict=True))
    results: list[Assessment | None] = []
    start = 0
    for version, size in zip(versions, sizes, strict=True):
        results.append(_assessment(standard, version, rows[start : start + size]))
        start += size
    return results


def _assessment(standard: Standard, version: int, rows: Sequence[tuple[int, int, int]]) -> Assessment | None:
    highest: dict[Pollutant, tuple[int, int, int]] = {}
    for value, row, steps in rows:
        if value != NONE:
            pollutant = table_of(standard, row).pollutant
            if pollutant not in highest or value > highest[pollutant][0]:
                highest[pollutant] = (value, row, steps)
    if not highest:
        return None
    found = sorted(highest.items(), key=lambda item: (-item[1][0], item[0]))
    return Assessment(standard, version, tuple(_sub_index(standard, *each) for _, each in found))


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
