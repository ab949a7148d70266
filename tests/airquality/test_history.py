from datetime import UTC, datetime

import pytest

from airquality.history import Granularity, edges_of, moment
from meshkit.errors import InvalidInput


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
