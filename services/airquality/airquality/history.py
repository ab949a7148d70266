"""The past of a station: values, coverage and index of each hour or day."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airquality.averages import HOURS
from airquality.blocks import mean_direction
from airquality.concentrations import daily_concentrations, hourly_concentrations
from airquality.index import NONE, sub_indices
from airquality.intervals import HOUR_MICROSECONDS, Granularity, microseconds, moment
from airquality.nowcast import HOURS as NOWCAST_HOURS
from airquality.overall import overall
from airquality.standards import Rule, Standard
from airquality.units import TO_USUAL, AveragingPeriod, Factors, Pollutant, Unit
from meshkit.errors import InvalidInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAD_HOURS: Final = max(NOWCAST_HOURS, *HOURS.values())
"""Hours before the first interval whose readings are needed, for its NowCast and the averages that end in it."""
TAIL_HOURS: Final = 8
"""Hours after the last interval whose readings are needed, for averages that begin in it."""

# What of a pollutant that the index does not take; it then has no sub-index, but means and coverage all the same.
_NO_RULE: Final = Rule((AveragingPeriod.HOUR,), (), (AveragingPeriod.HOUR,), None, 0.75)


class Statistics(NamedTuple):
    """The first fields of PollutantHistory."""

    mean: Floats
    minimum: Floats
    maximum: Floats
    hour_count: Ints
    flagged_count: Ints
    excluded_count: Ints
    coverage: Floats


class Hours(NamedTuple):
    """Hours of a series one after another from LEAD_HOURS before the first edge to TAIL_HOURS after the last.

    Attributes:
        values: In the usual unit, NaN where there is none that counts.
        flagged: Whether quality control found something about it.
        excluded: Whether it does not count for that.
        by_mass: Whether the reading was given in a unit of mass.
    """

    values: Floats
    flagged: NDArray[np.bool_]
    excluded: NDArray[np.bool_]
    by_mass: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class PollutantHistory:
    """One pollutant over the intervals, all arrays of one length, concentrations in the usual unit, NaN for none.

    Attributes:
        mean: Mean of the hourly readings that count.
        minimum: Lowest of them.
        maximum: Highest of them.
        hour_count: How many hours have one.
        flagged_count: How many hours have a reading that quality control flagged, also those that do not count.
        excluded_count: How many hours have a reading that does not count.
        coverage: The share of the interval's hours that have one that does.
        index_concentration: What the sub-index is made from.
        basis: Codes of Basis for it, 0 for none.
        sub_index: The sub-index, NONE for none.
        contribution: What it adds to a formula, 0 without one.
    """

    mean: Floats
    minimum: Floats
    maximum: Floats
    hour_count: Ints
    flagged_count: Ints
    excluded_count: Ints
    coverage: Floats
    index_concentration: Floats
    basis: Ints
    sub_index: Ints
    contribution: Floats


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Intervals and what was measured in them.

    Attributes:
        edges: Where the intervals begin and the last one ends, in microseconds since 1970.
        versions: For each interval the place in the standard's versions of the one used.
        pollutants: Each pollutant's history.
        index_values: The index of each interval, NONE for none.
        dominant: Codes of Pollutant of those that make it, 0 for none.
    """

    edges: Ints
    versions: Ints
    pollutants: dict[Pollutant, PollutantHistory]
    index_values: Ints
    dominant: Ints


def history_of(
    standard: Standard,
    versions: Ints,
    edges: Ints,
    series: Mapping[tuple[Pollutant, AveragingPeriod], Hours],
) -> History:
    """Computes the history of each pollutant from the readings of its station.

    Args:
        standard: The index.
        versions: For each interval the place in `standard.versions` of the one to use.
        edges: As `edges_of` gives them, n + 1; intervals of hours or of days.
        series: The hours of each series.

    Returns:
        The history of n intervals.
    """
    pollutants = {
        pollutant: _pollutant_history(
            standard,
            versions,
            edges,
            pollutant,
            {period: each for (of, period), each in series.items() if of == pollutant},
        )
        for pollutant in sorted({pollutant for pollutant, _ in series})
    }
    return History(edges, versions, pollutants, *_indices(standard, versions, pollutants))


def _indices(standard: Standard, versions: Ints, pollutants: Mapping[Pollutant, PollutantHistory]) -> tuple[Ints, Ints]:
    """Returns the index of each interval and the code of its dominant pollutant."""
    values, dominant = np.full(len(versions), NONE), np.zeros(len(versions), dtype=np.int64)
    if not pollutants:
        return values, dominant
    sub = np.stack([each.sub_index for each in pollutants.values()])
    parts = np.stack([each.contribution for each in pollutants.values()])
    codes = np.array([*pollutants, 0])  # the last one, which NONE names, stands for no pollutant
    for version in np.unique(versions).tolist():
        mine = versions == version
        whole = overall(standard.versions[version], list(pollutants), sub[:, mine], parts[:, mine])
        values[mine], dominant[mine] = whole.values, codes[whole.dominant]
    return values, dominant


def versions_at(standard: Standard, edges: Ints, version_id: str) -> Ints:
    """Returns for each interval the place of the version asked for, or of the one in force when it begins.

    Raises:
        InvalidInput: There is no such version, or no table that old.
    """
    if version_id:
        return np.full(len(edges) - 1, standard.version_of(version_id))
    standard.version_at(moment(int(edges[0])), field="start_time")
    effective = np.array([microseconds(version.effective) for version in standard.versions])
    return np.searchsorted(effective, edges[:-1], side="right") - 1


def check_granularity(standard: Standard, versions: Ints, granularity: Granularity) -> None:
    """Returns when the index is defined for intervals of this length.

    Raises:
        InvalidInput: It is a formula of hours, and the sum of a day's highest values would be too high.
    """
    by_formula = any(standard.versions[version].formula is not None for version in np.unique(versions).tolist())
    if by_formula and granularity is not Granularity.HOURLY:
        raise InvalidInput("granularity", f"{standard.index} is defined by the hour alone; ask for hours")


def _pollutant_history(
    standard: Standard, versions: Ints, edges: Ints, pollutant: Pollutant, series: Mapping[AveragingPeriod, Hours]
) -> PollutantHistory:
    """Returns the history of a pollutant, of each interval under its own version."""
    used = np.unique(versions).tolist()
    found = [_under_version(standard, version, edges, pollutant, series) for version in used]
    which = np.searchsorted(used, versions)
    return PollutantHistory(
        *(
            np.choose(which, [getattr(each, field.name) for each in found])
            if found[1:]
            else getattr(found[0], field.name)
            for field in fields(PollutantHistory)
        )
    )


def _under_version(
    standard: Standard, version: int, edges: Ints, pollutant: Pollutant, series: Mapping[AveragingPeriod, Hours]
) -> PollutantHistory:
    rule = standard.versions[version].rules.get(pollutant, _NO_RULE)
    first_hour, hour_count = span(edges)
    factors = standard.versions[version].to_usual
    converted = {period: _converted(pollutant, each, factors) for period, each in series.items()}
    grids = {period: each.values for period, each in converted.items()}
    hourly = converted.get(AveragingPeriod.HOUR, nothing(hour_count))
    # Hours into the grid at which each interval begins; time zones of half hours put the start of a day within an hour.
    bounds = edges // HOUR_MICROSECONDS - first_hour
    measured = statistics_of(pollutant, hourly, bounds)
    by_hour = bool(np.all(np.diff(edges) == HOUR_MICROSECONDS))
    if by_hour:
        concentration, basis, period = hourly_concentrations(rule, pollutant, grids, bounds[:-1])
    else:
        concentration, basis, period = daily_concentrations(rule, rule.daily[0], grids, bounds)
    sub_index, contribution = _sub_indices(standard, version, pollutant, period, concentration)
    for other in rule.also if by_hour else rule.daily[1:]:
        if by_hour:
            values, codes, _ = hourly_concentrations(rule._replace(current=(other,)), pollutant, grids, bounds[:-1])
        else:
            values, codes, _ = daily_concentrations(rule, other, grids, bounds, complete=True)
        given, _ = _sub_indices(standard, version, pollutant, other, values)
        higher = given > sub_index
        sub_index[higher], concentration[higher], basis[higher] = given[higher], values[higher], codes[higher]
    return PollutantHistory(*measured, concentration, basis, sub_index, contribution)


def _sub_indices(
    standard: Standard, version: int, pollutant: Pollutant, period: AveragingPeriod, concentration: Floats
) -> tuple[Ints, Floats]:
    """Returns the sub-index of each concentration and what it adds to a formula.

    The sub-index is NONE where the concentration is NaN or the version has no table for the period.
    """
    number = len(concentration)
    computed = sub_indices(standard, version, np.full(number, pollutant), np.full(number, period), concentration)
    return computed.values, computed.contributions


def _converted(pollutant: Pollutant, hours: Hours, factors: Factors) -> Hours:
    """Returns hours as a version has them that weighs a part per billion at another temperature or pressure."""
    mass = pollutant, Unit.MICROGRAMS_PER_CUBIC_METER
    if factors[mass] == TO_USUAL[mass] or not hours.by_mass.any():
        return hours
    return hours._replace(values=np.where(hours.by_mass, hours.values * (factors[mass] / TO_USUAL[mass]), hours.values))


def span(edges: Ints) -> tuple[int, int]:
    """Returns the first hour, since 1970, and the number of hours that the history of intervals is made from."""
    first_hour = int(edges[0]) // HOUR_MICROSECONDS - LEAD_HOURS
    return first_hour, int(edges[-1]) // HOUR_MICROSECONDS + TAIL_HOURS - first_hour


def summed_up(statistics: Statistics, sub_index: Ints) -> PollutantHistory:
    """Returns the history of intervals whose index is made of their days' and of no concentration."""
    none = np.full(len(sub_index), np.nan)
    return PollutantHistory(
        *statistics, none, np.zeros(len(sub_index), dtype=np.int64), sub_index, np.zeros(len(sub_index))
    )


def nothing(hour_count: int) -> Hours:
    """Returns so many hours without a reading."""
    return unflagged(np.full(hour_count, np.nan))


def unflagged(values: Floats) -> Hours:
    """Returns hours in the usual unit of which nothing else is known."""
    no = np.zeros(len(values), dtype=np.bool_)
    return Hours(values, no, no, no)


def statistics_of(pollutant: Pollutant, hourly: Hours, bounds: Ints) -> Statistics:
    """Returns the statistics of intervals, given where in `hourly` they begin and the last one ends."""
    values = hourly.values
    present = ~np.isnan(values)
    count = np.add.reduceat(present.astype(np.int64), bounds)[:-1]
    flagged, excluded = (
        np.add.reduceat(each.astype(np.int64), bounds)[:-1] for each in (hourly.flagged, hourly.excluded)
    )
    none = count == 0
    coverage = count / np.diff(bounds)
    if pollutant == Pollutant.WIND_DIRECTION:
        parts = np.split(values, bounds)[1:-1]
        mean = np.array([mean_direction(part) for part in parts])
        unknown = np.full(len(mean), np.nan)
        return Statistics(mean, unknown, unknown, count, flagged, excluded, coverage)
    total = np.add.reduceat(np.where(present, values, 0.0), bounds)[:-1]
    minimum = np.minimum.reduceat(np.where(present, values, np.inf), bounds)[:-1]
    maximum = np.maximum.reduceat(np.where(present, values, -np.inf), bounds)[:-1]
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=~none)
    minimum, maximum = np.where(none, np.nan, minimum), np.where(none, np.nan, maximum)
    return Statistics(mean, minimum, maximum, count, flagged, excluded, coverage)
