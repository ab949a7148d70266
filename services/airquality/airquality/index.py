"""Computes air-quality indices: piecewise linear on the official breakpoints of the version in force.

Everything works on whole arrays; a million concentrations are one call.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airquality.standards import Category, Standard, Table
from airquality.units import TO_USUAL, AveragingPeriod, Pollutant

Ints = NDArray[np.int64]

NONE: Final = -1
"""Stands for the sub-index of a concentration that has none."""

# One step is what a concentration is truncated to. Far above any concentration, and small enough for exact products.
_HIGHEST_STEP: Final = 1 << 31
_NO_CAP: Final = 1 << 62

# 35.4 divided by 0.1 is 353.99999999999994 in binary; a millionth of a step is far below what an instrument resolves.
_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class _Breakpoints:
    """All tables of all versions of an index, flat.

    A row is one table. `ends` holds, row after row, where each segment ends, offset by row times _HIGHEST_STEP, so that
    one binary search finds the segment of a concentration in its own table. Concentrations are counted in steps.
    """

    rows: Ints  # [version, pollutant, averaging period] -> row, NONE without a table; period 0 is the daily one
    tables: tuple[Table, ...]  # [row]
    steps_per_usual_unit: NDArray[np.float64]  # [row]
    firsts: Ints  # [row] the lowest step that has an index
    caps: Ints  # [row] the highest index that the table defines
    ends: Ints  # [segment]
    low_steps: Ints  # [segment]
    low_indices: Ints  # [segment]
    step_spans: Ints  # [segment]
    index_spans: Ints  # [segment]


class SubIndices(NamedTuple):
    """The sub-index of each concentration.

    Attributes:
        values: The sub-index; NONE where the index has no table, or where the table leaves it to another period's.
        rows: The table that each was read under, for `table_of`; NONE without one.
        steps: The concentration as the table takes it, in multiples of its `truncate_to`.
    """

    values: Ints
    rows: Ints
    steps: Ints


def sub_indices(
    standard: Standard,
    version: ArrayLike,
    pollutant: ArrayLike,
    averaging_period: ArrayLike,
    usual_value: ArrayLike,
) -> SubIndices:
    """Computes the index of single concentrations.

    Truncated, never rounded, to the table's precision; then linear within its segment, in whole numbers, and rounded
    half up. Below zero counts as zero. Above the last segment its line goes on where the table extrapolates.

    Args:
        standard: The index.
        version: Places in `standard.versions`, one for all or an array of n.
        pollutant: Codes of Pollutant, n.
        averaging_period: Codes of AveragingPeriod, or 0 for the one that the index takes for a day, n.
        usual_value: Concentrations in the pollutants' usual units, finite, n.

    Returns:
        Three arrays of n.
    """
    data = _breakpoints(standard)
    rows = data.rows[
        np.asarray(version, dtype=np.int64),
        np.asarray(pollutant, dtype=np.int64),
        np.asarray(averaging_period, dtype=np.int64),
    ]
    steps = np.floor(np.asarray(usual_value, dtype=np.float64) * data.steps_per_usual_unit[rows] + _TOLERANCE)
    steps = np.clip(steps, 0, _HIGHEST_STEP - 1).astype(np.int64)
    segment = np.minimum(np.searchsorted(data.ends, rows * _HIGHEST_STEP + steps), data.ends.size - 1)
    span = data.step_spans[segment]
    # Half up in whole numbers: floor(x / y + 1/2) is (2x + y) // 2y.
    above = (2 * data.index_spans[segment] * (steps - data.low_steps[segment]) + span) // (2 * span)
    values = np.minimum(data.low_indices[segment] + above, data.caps[rows])
    defined = (rows >= 0) & (steps >= data.firsts[rows])
    return SubIndices(np.where(defined, values, NONE), rows, steps)


def table_of(standard: Standard, row: int) -> Table:
    """Returns the table that SubIndices.rows names."""
    return _breakpoints(standard).tables[row]


def concentration_of(standard: Standard, row: int, steps: int) -> float:
    """Returns a truncated concentration in the unit of its table, with no more digits than the table has."""
    per_unit = round(1 / _breakpoints(standard).tables[row].truncate_to)
    return steps / per_unit


def category_of(standard: Standard, value: int) -> Category:
    """Returns the band in which an index of 0 or more lies."""
    for category in standard.categories:
        if category.highest is None or value <= category.highest:
            return category
    return standard.categories[-1]


def has_table(standard: Standard, version: int, pollutant: Pollutant, averaging_period: int) -> bool:
    """Tells whether the index has a table for this averaging period, a code or 0 for the daily one."""
    return bool(_breakpoints(standard).rows[version, pollutant, averaging_period] != NONE)


@cache
def _breakpoints(standard: Standard) -> _Breakpoints:
    rows = np.full((len(standard.versions), max(Pollutant) + 1, max(AveragingPeriod) + 1), NONE)
    tables = [(place, table) for place, version in enumerate(standard.versions) for table in version.tables]
    segments: list[tuple[int, int, int, int, int]] = []
    for row, (place, table) in enumerate(tables):
        rows[place, table.pollutant, table.averaging_period] = row
        if standard.nowcast.get(table.pollutant) == table.averaging_period:
            rows[place, table.pollutant, AveragingPeriod.NOWCAST] = row
        if standard.daily[table.pollutant] == table.averaging_period:
            rows[place, table.pollutant, 0] = row
        segments += _segments(row, table)
    ends, lows, low_indices, step_spans, index_spans = np.array(segments, dtype=np.int64).T
    return _Breakpoints(
        rows=rows,
        tables=tuple(table for _, table in tables),
        steps_per_usual_unit=np.array(
            [1 / TO_USUAL[table.pollutant, table.unit] / table.truncate_to for _, table in tables]
        ),
        firsts=np.array([_steps(table, table.breakpoints[0].lowest_concentration) for _, table in tables]),
        caps=np.array([_NO_CAP if table.extrapolates else table.breakpoints[-1].highest_index for _, table in tables]),
        ends=ends,
        low_steps=lows,
        low_indices=low_indices,
        step_spans=step_spans,
        index_spans=index_spans,
    )


def _segments(row: int, table: Table) -> list[tuple[int, int, int, int, int]]:
    """Returns (end, low step, low index, step span, index span) of each segment; the last one ends with the row."""
    last = table.breakpoints[-1]
    segments = []
    for each in table.breakpoints:
        low, high = _steps(table, each.lowest_concentration), _steps(table, each.highest_concentration)
        end = row * _HIGHEST_STEP + (_HIGHEST_STEP - 1 if each is last else high)
        segments.append((end, low, each.lowest_index, high - low, each.highest_index - each.lowest_index))
    return segments


def _steps(table: Table, concentration: float) -> int:
    return round(concentration / table.truncate_to)
