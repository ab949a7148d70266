"""Computes air-quality indices: piecewise linear on the official breakpoints of the version in force.

Whole arrays at once, a million concentrations in one call; or a single one, for which arrays would cost twenty times as much.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airquality.standards import Beyond, Category, Formula, Rounding, Standard, Table
from airquality.units import AveragingPeriod, Pollutant, to_usual_unit

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NONE: Final = -1
"""Stands for the sub-index of a concentration that has none."""

# One step is what a concentration is truncated or rounded to. Far above any concentration, and small enough for exact products.
_HIGHEST_STEP: Final = 1 << 31

# So many readings at once stay in the processor's caches with all that is computed between; a million at once would not.
_CHUNK: Final = 1 << 15

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
    formulas: tuple[Formula | None, ...]  # [row] the formula that a row is a term of
    steps_per_usual_unit: Floats  # [row]
    shifts: Floats  # [row] added before a concentration is cut to whole steps
    firsts: Ints  # [row] the lowest step that has an index
    ends: Ints  # [segment]
    low_steps: Ints  # [segment]
    low_indices: Ints  # [segment]
    step_spans: Ints  # [segment]
    index_spans: Ints  # [segment]
    biases: Ints  # [segment] added before an index is cut to a whole number, over twice the step span


class SubIndices(NamedTuple):
    """The sub-index of each concentration.

    Attributes:
        values: The sub-index; NONE where the index has no table, or where the table leaves it to another period's. Of a
            term of a formula its contribution, rounded.
        rows: The table that each was read under, for `table_of`; NONE without one.
        steps: The concentration as the table takes it, in multiples of its precision.
        contributions: Of terms of a formula their contributions before rounding, else 0.
    """

    values: Ints
    rows: Ints
    steps: Ints
    contributions: Floats


def sub_indices(
    standard: Standard,
    version: ArrayLike,
    pollutant: ArrayLike,
    averaging_period: ArrayLike,
    usual_value: ArrayLike,
) -> SubIndices:
    """Computes the index of single concentrations.

    Truncated or rounded to the table's precision; then linear within its segment, in whole numbers, and rounded as the
    table says. Below zero counts as zero.

    Args:
        standard: The index.
        version: Places in `standard.versions`, one for all or an array of n.
        pollutant: Codes of Pollutant, n.
        averaging_period: Codes of AveragingPeriod, or 0 for the one that the index takes for a day, n.
        usual_value: Concentrations in the pollutants' usual units, converted by the version's own factors; NaN for
            none, n.

    Returns:
        Four arrays of n.
    """
    data = _breakpoints(standard)
    rows = data.rows[
        np.asarray(version, dtype=np.int64),
        np.asarray(pollutant, dtype=np.int64),
        np.asarray(averaging_period, dtype=np.int64),
    ]
    value = np.asarray(usual_value, dtype=np.float64)
    defined = (rows >= 0) & ~np.isnan(value)
    exact = np.nan_to_num(value) * data.steps_per_usual_unit[rows] + data.shifts[rows]
    steps = np.clip(np.floor(exact), 0, _HIGHEST_STEP - 1).astype(np.int64)
    segment = np.minimum(np.searchsorted(data.ends, rows * _HIGHEST_STEP + steps), data.ends.size - 1)
    # In whole numbers: floor(x / y + 1/2) is (2x + y) // 2y, and the ceiling of x / y is (2x + 2y - 1) // 2y.
    twice = 2 * data.index_spans[segment] * (steps - data.low_steps[segment]) + data.biases[segment]
    values = data.low_indices[segment] + twice // (2 * data.step_spans[segment])
    values = np.where(defined & (steps >= data.firsts[rows]), values, NONE)
    contributions = np.zeros(values.shape)
    for row, formula in enumerate(data.formulas):
        if formula is not None:
            mine = defined & (rows == row)
            contributions[mine] = _contributions(data.tables[row], formula, steps[mine])
            values[mine] = np.floor(contributions[mine] + 0.5).astype(np.int64)
    return SubIndices(values, rows, steps, contributions)


class SubIndex(NamedTuple):
    """The sub-index of one concentration, as `SubIndices` has those of many."""

    value: int
    row: int
    steps: int
    contribution: float


def sub_index(standard: Standard, version: int, pollutant: int, averaging_period: int, usual_value: float) -> SubIndex:
    """Computes the index of a single concentration, the same as `sub_indices` does.

    Args:
        standard: The index.
        version: The place in `standard.versions` of the one to use.
        pollutant: A code of Pollutant.
        averaging_period: A code of AveragingPeriod, or 0 for the one that the index takes for a day.
        usual_value: The concentration in the pollutant's usual unit, converted by the version's own factors; NaN for none.
    """
    data = _plain(standard)
    row = data.rows[version][pollutant][averaging_period]
    if row == NONE or math.isnan(usual_value):
        return SubIndex(NONE, row, 0, 0.0)
    exact = usual_value * data.steps_per_usual_unit[row] + data.shifts[row]
    steps = int(min(max(exact, 0.0), _HIGHEST_STEP - 1))
    formula = data.formulas[row]
    if formula is not None:
        contribution = float(_contributions(data.tables[row], formula, steps))
        return SubIndex(math.floor(contribution + 0.5), row, steps, contribution)
    if steps < data.firsts[row]:
        return SubIndex(NONE, row, steps, 0.0)
    segment = bisect_left(data.ends, row * _HIGHEST_STEP + steps)
    twice = 2 * data.index_spans[segment] * (steps - data.low_steps[segment]) + data.biases[segment]
    return SubIndex(data.low_indices[segment] + twice // (2 * data.step_spans[segment]), row, steps, 0.0)


def index_of_readings(
    standard: Standard,
    version: int,
    pollutant: ArrayLike,
    averaging_period: ArrayLike,
    unit: ArrayLike,
    value: ArrayLike,
) -> Ints:
    """Computes the index of readings in any units, converted as this version of the index does.

    Args:
        standard: The index.
        version: The place in `standard.versions` of the one to use.
        pollutant: Codes of Pollutant, n.
        averaging_period: Codes of AveragingPeriod, or 0 for the one that the index takes for a day, n.
        unit: Codes of Unit, or 0 for the pollutant's usual one, n.
        value: Concentrations; NaN for none, n.

    Returns:
        The sub-index of each reading, n; NONE where there is none, also where the unit does not measure the pollutant.
    """
    columns = [np.asarray(each) for each in (pollutant, averaging_period, unit, value)]
    found = np.empty(len(columns[0]), dtype=np.int64)
    for start in range(0, len(found), _CHUNK):
        codes, periods, units, values = (each[start : start + _CHUNK] for each in columns)
        usual = to_usual_unit(codes, units, values, standard.versions[version].to_usual)
        found[start : start + _CHUNK] = sub_indices(standard, version, codes, periods, usual).values
    return found


def _contributions(table: Table, formula: Formula, steps: Ints | int) -> Floats:
    """Returns what concentrations of one term add to a formula, unrounded."""
    (coefficient,) = (term.coefficient for term in formula.terms if term.pollutant == table.pollutant)
    return np.asarray(formula.scale * np.expm1(coefficient * steps * table.precision))


def table_of(standard: Standard, row: int) -> Table:
    """Returns the table that SubIndices.rows names."""
    return _breakpoints(standard).tables[row]


def concentration_of(standard: Standard, row: int, steps: int) -> float:
    """Returns a concentration as its table takes it, in the table's unit, with no more digits than the table has."""
    per_unit = round(1 / _breakpoints(standard).tables[row].precision)
    return steps / per_unit


def category_of(standard: Standard, value: int) -> Category:
    """Returns the band in which an index of 0 or more lies."""
    for category in standard.categories:
        if category.highest is None or value <= category.highest:
            return category
    return standard.categories[-1]


def has_table(standard: Standard, version: int, pollutant: Pollutant, averaging_period: int) -> bool:
    """Tells whether the index has a table for this averaging period, a code or 0 for the daily one."""
    return _plain(standard).rows[version][pollutant][averaging_period] != NONE


class _Plain(NamedTuple):
    """The same as _Breakpoints for single concentrations: Python's own numbers are faster one by one than NumPy's."""

    rows: list[list[list[int]]]
    tables: tuple[Table, ...]
    formulas: tuple[Formula | None, ...]
    steps_per_usual_unit: list[float]
    shifts: list[float]
    firsts: list[int]
    ends: list[int]
    low_steps: list[int]
    low_indices: list[int]
    step_spans: list[int]
    index_spans: list[int]
    biases: list[int]


@cache
def _plain(standard: Standard) -> _Plain:
    data = _breakpoints(standard)
    return _Plain(
        *(
            column.tolist() if isinstance(column, np.ndarray) else column
            for column in (getattr(data, name) for name in _Plain._fields)
        )
    )


@cache
def _breakpoints(standard: Standard) -> _Breakpoints:
    rows = np.full((len(standard.versions), max(Pollutant) + 1, max(AveragingPeriod) + 1), NONE)
    tables = [(place, table) for place, version in enumerate(standard.versions) for table in version.tables]
    segments: list[_Segment] = []
    for row, (place, table) in enumerate(tables):
        rows[place, table.pollutant, table.averaging_period] = row
        rule = standard.versions[place].rules[table.pollutant]
        if rule.nowcast == table.averaging_period:
            rows[place, table.pollutant, AveragingPeriod.NOWCAST] = row
        if rule.daily[0] == table.averaging_period:
            rows[place, table.pollutant, 0] = row
        segments += _segments(row, table)
    columns = np.array(segments, dtype=np.int64).T
    return _Breakpoints(
        rows=rows,
        tables=tuple(table for _, table in tables),
        formulas=tuple(standard.versions[place].formula for place, _ in tables),
        steps_per_usual_unit=np.array(
            [
                1 / standard.versions[place].to_usual[table.pollutant, table.unit] / table.precision
                for place, table in tables
            ]
        ),
        shifts=np.array(
            [_TOLERANCE + (0.5 if table.concentration_rounding is Rounding.HALF_UP else 0.0) for _, table in tables]
        ),
        firsts=np.array(
            [
                _steps(table, table.breakpoints[0].lowest_concentration) if table.breakpoints else 0
                for _, table in tables
            ]
        ),
        ends=columns[0],
        low_steps=columns[1],
        low_indices=columns[2],
        step_spans=columns[3],
        index_spans=columns[4],
        biases=columns[5],
    )


class _Segment(NamedTuple):
    end: int
    low_step: int
    low_index: int
    step_span: int
    index_span: int
    bias: int


def _segments(row: int, table: Table) -> list[_Segment]:
    """Returns the segments of a table in order, of which the last ends with the row."""
    start, found = row * _HIGHEST_STEP, []
    for each in table.breakpoints:
        low, high = _steps(table, each.lowest_concentration), _steps(table, each.highest_concentration)
        span = high - low
        bias = 2 * span - 1 if table.index_rounding is Rounding.UP else span
        found.append(_Segment(start + high, low, each.lowest_index, span, each.highest_index - each.lowest_index, bias))
    if table.beyond is Beyond.EXTRAPOLATED and found:
        found[-1] = found[-1]._replace(end=start + _HIGHEST_STEP - 1)
    else:
        index = NONE if table.index_beyond is None else table.index_beyond
        found.append(_Segment(start + _HIGHEST_STEP - 1, 0, index, 1, 0, 0))
    return found


def _steps(table: Table, concentration: float) -> int:
    return round(concentration / table.precision)
