"""The past in full: intervals with their exceedances, what months and years sum up, and profiles."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from airquality.history import History, Hours, history_of, nothing, span, statistics_of, summed_up, versions_at
from airquality.intervals import HOUR_MICROSECONDS, Granularity, days_between, zone_of
from airquality.longterm import Exceedances, Longterm, Profile, exceedances, longterm, parts_of_time
from airquality.longterm import profiles as profiles_of
from airquality.standards import Standard
from airquality.units import AveragingPeriod, Pollutant

Ints = NDArray[np.int64]


class Past(NamedTuple):
    """What is known of n intervals.

    Attributes:
        history: The intervals; of months and years the index and what it is made from is that of `longterm`.
        exceedances: Of months and years, for each pollutant one for each of its limits.
        longterm: What months and years have; None for others.
        profiles: The profiles, where they were asked for.
    """

    history: History
    exceedances: dict[Pollutant, list[Exceedances]]
    longterm: Longterm | None
    profiles: list[Profile]


def past_of(
    standard: Standard,
    version_id: str,
    edges: Ints,
    granularity: Granularity,
    time_zone: str,
    series: Mapping[tuple[Pollutant, AveragingPeriod], Hours],
    *,
    profiles: bool,
) -> Past:
    """Computes the past of a place.

    Args:
        standard: The index.
        version_id: The version of its table, or "" for that in force at the start of each interval.
        edges: Where the intervals begin and the last one ends, in microseconds since 1970.
        granularity: What they are.
        time_zone: Whose days, months and years they are.
        series: The hours of each series, as `history.span` of the edges.
        profiles: Whether profiles are wanted.

    Raises:
        InvalidInput: There is no such version, or no table that old.
    """
    zone = zone_of(time_zone)
    coarse = granularity in (Granularity.MONTHLY, Granularity.YEARLY)
    day_edges = days_between(edges, time_zone) if coarse else edges
    days = history_of(standard, versions_at(standard, day_edges, version_id), day_edges, series)
    first_hour, hour_count = span(edges)
    bounds = edges // HOUR_MICROSECONDS - first_hour
    hourly = {each: series.get((each, AveragingPeriod.HOUR), nothing(hour_count)) for each in days.pollutants}
    found: list[Profile] = []
    if profiles:
        begin, end = int(bounds[0]), int(bounds[-1])
        parts = parts_of_time(first_hour + begin, end - begin, zone)
        found = [part for each in hourly for part in profiles_of(each, hourly[each].values[begin:end], parts)]
    if not coarse:
        return Past(days, {}, None, found)
    day_bounds = day_edges // HOUR_MICROSECONDS - first_hour
    places = np.searchsorted(day_edges, edges)
    exceeded = {each: exceedances(each, hourly[each], day_bounds, places) for each in hourly}
    lowest = np.array([category.lowest for category in standard.categories])
    summary = longterm(days, places, lowest)
    months = {
        each: summed_up(statistics_of(each, hourly[each], bounds), summary.sub_index[each]) for each in days.pollutants
    }
    versions = versions_at(standard, edges, version_id)
    return Past(History(edges, versions, months, summary.index, summary.dominant), exceeded, summary, found)
