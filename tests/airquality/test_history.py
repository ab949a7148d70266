from datetime import UTC, datetime, timedelta

import pytest

from airquality.averages import Basis
from airquality.history import LEAD_HOURS, History, history_of, nothing, span, versions_at
from airquality.intervals import Granularity, edges_of, microseconds, moment
from airquality.standards import standard_of
from airquality.units import AveragingPeriod, Pollutant
from meshkit.errors import InvalidInput

DAY = datetime(2020, 8, 20, tzinfo=UTC)


def begins(start: datetime, end: datetime, time_zone: str) -> list[str]:
    """Returns where the days between two times begin and the last one ends."""
    edges = edges_of(start, end, Granularity.DAILY, time_zone)
    return [f"{moment(int(edge)):%d %H:%M}" for edge in edges]


def test_days_are_as_long_as_their_time_zone_has_them() -> None:
    found = begins(datetime(2020, 10, 31, 12, tzinfo=UTC), datetime(2020, 11, 2, tzinfo=UTC), "America/Los_Angeles")
    assert found == ["31 07:00", "01 07:00", "02 08:00"]


def test_a_day_whose_midnight_was_skipped_begins_at_one() -> None:
    found = begins(datetime(2018, 11, 4, 12, tzinfo=UTC), datetime(2018, 11, 4, 13, tzinfo=UTC), "America/Sao_Paulo")
    assert found == ["04 03:00", "05 02:00"]


@pytest.mark.parametrize(
    ("start_hour", "end_hour", "expected"),
    [
        (1, 9, ["29 10:00", "30 10:00"]),
        (1, 11, ["29 10:00", "30 10:00", "31 10:00"]),
        (10, 11, ["30 10:00", "31 10:00"]),
    ],
)
def test_a_day_that_a_zone_never_had_is_none(start_hour: int, end_hour: int, expected: list[str]) -> None:
    # Samoa went from 29 to 31 December 2011 when it moved over the date line.
    start, end = (datetime(2011, 12, 30, hour, tzinfo=UTC) for hour in (start_hour, end_hour))
    assert begins(start, end, "Pacific/Apia") == expected


@pytest.mark.parametrize("granularity", list(Granularity))
def test_refuses_an_end_near_the_end_of_all_years(granularity: Granularity) -> None:
    start, end = datetime(9999, 12, 31, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    with pytest.raises(InvalidInput, match="end_time: must not be later than 9999-01-01T00:00:00Z"):
        edges_of(start, end, granularity, "Pacific/Kiritimati")


@pytest.mark.parametrize("granularity", list(Granularity))
def test_refuses_a_start_near_the_beginning_of_all_years(granularity: Granularity) -> None:
    start = datetime(1, 1, 1, tzinfo=UTC)
    with pytest.raises(InvalidInput, match="start_time: must not be earlier than 0002-01-01T00:00:00Z"):
        edges_of(start, start + timedelta(hours=1), granularity, "America/Los_Angeles")


@pytest.mark.parametrize("time_zone", ["America/Los_Angeles", "Pacific/Kiritimati"])
def test_the_first_and_the_last_days_that_are_taken_have_edges(time_zone: str) -> None:
    for start in (datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)):
        edges = edges_of(start, start + timedelta(days=1), Granularity.DAILY, time_zone)
        assert edges[0] <= microseconds(start) < edges[1] < microseconds(start + timedelta(days=1)) <= edges[2]


def day_of(pollutant: Pollutant, hourly: list[float], **reported: float) -> History:
    """Returns the history of one day from its hourly values, and from others by the name of their period."""
    standard = standard_of("us_epa")
    edges = edges_of(DAY, DAY + timedelta(days=1), Granularity.DAILY, "UTC")
    series = {(pollutant, AveragingPeriod.HOUR): nothing(span(edges)[1])}
    series[pollutant, AveragingPeriod.HOUR].values[LEAD_HOURS : LEAD_HOURS + len(hourly)] = hourly
    for period, value in reported.items():
        series[pollutant, AveragingPeriod[period]] = nothing(span(edges)[1])
        series[pollutant, AveragingPeriod[period]].values[LEAD_HOURS] = value
    return history_of(standard, versions_at(standard, edges, ""), edges, series)


@pytest.mark.parametrize(
    ("hourly", "reported", "expected"),
    [
        ([400.0] * 24, {}, (400.0, Basis.AVERAGE_COMPUTED, 232)),
        ([400.0] * 18, {}, (400.0, Basis.AVERAGE_COMPUTED, 232)),
        ([400.0] * 17, {}, (400.0, Basis.AVERAGE_REPORTED, 200)),
        ([400.0] * 18 + [0.0] * 6, {}, (400.0, Basis.AVERAGE_REPORTED, 200)),
        ([400.0] * 3, {"TWENTY_FOUR_HOURS": 605.0}, (605.0, Basis.AVERAGE_REPORTED, 301)),
        ([30.0] * 24, {}, (30.0, Basis.AVERAGE_REPORTED, 43)),
    ],
)
def test_a_day_of_sulfur_dioxide_above_200_is_indexed_by_its_average(
    hourly: list[float], reported: dict[str, float], expected: tuple[float, Basis, int]
) -> None:
    found = day_of(Pollutant.SO2, hourly, **reported).pollutants[Pollutant.SO2]
    assert (found.index_concentration[0], found.basis[0], found.sub_index[0]) == expected


def test_the_concentration_of_a_day_of_ozone_is_that_of_the_hour_where_the_hour_counts() -> None:
    found = day_of(Pollutant.O3, [20.0] * 12 + [170.0] + [20.0] * 11).pollutants[Pollutant.O3]
    assert (found.index_concentration[0], found.basis[0], found.sub_index[0]) == (170.0, Basis.AVERAGE_REPORTED, 157)
