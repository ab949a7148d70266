"""What is remembered of readings, in whatever order they come, and what they said before."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airquality.blocks import HOURS, Blocks, Slots
from airquality.ingest import Ingest
from airquality.intervals import Granularity, edges_of, microseconds, moment
from airquality.quality import Flag
from airquality.readings import Readings
from airquality.recorder import Recorder
from airquality.units import AveragingPeriod, Pollutant, Unit
from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.postgres import Postgres
from tests.airquality.conftest import O3, PM25, START, Caller, reading, stamp, station
from tests.refusals import refused_saying as refused

WIND_DIRECTION = 16
FIRST = microseconds(START)
MINUTE = 60_000_000

# Station, minutes after the beginning, value. Few keys, so that hours are shared and readings corrected.
ROWS = st.lists(
    st.tuples(st.integers(1, 2), st.integers(0, 20).map(lambda each: each * 90), st.integers(0, 40).map(float)),
    min_size=1,
    max_size=60,
)


def readings_of(rows: list[tuple[int, int, float]]) -> Readings:
    """Returns PM2.5 readings."""
    stations, minutes, values = zip(*rows, strict=True)
    count = len(rows)
    return Readings(
        np.array(stations, dtype=np.int64),
        np.full(count, Pollutant.PM25, dtype=np.int64),
        np.full(count, AveragingPeriod.HOUR, dtype=np.int64),
        np.full(count, Unit.MICROGRAMS_PER_CUBIC_METER, dtype=np.int64),
        np.array(minutes, dtype=np.int64) * MINUTE + FIRST,
        np.array(values),
    ).last_by_key()


def folded(*lots: list[tuple[int, int, float]]) -> Blocks:
    """Returns the days of all readings, taken in lot by lot."""
    every = Slots.of(all_of := readings_of([row for lot in lots for row in lot]), np.zeros(len(all_of), dtype=np.int64))
    blocks = Blocks.empty(every.keys)
    for lot in lots:
        some = readings_of(lot)
        blocks.fold(Slots.of(some, np.zeros(len(some), dtype=np.int64)))
    return blocks


@given(rows=ROWS, cuts=st.lists(st.integers(0, 60), max_size=5))
def test_days_kept_lot_by_lot_are_the_days_of_all_readings(rows: list[tuple[int, int, float]], cuts: list[int]) -> None:
    edges = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    lots = [rows[begin:end] for begin, end in pairwise(edges)]
    assert folded(*lots).hours.tobytes() == folded(rows).hours.tobytes()


@given(rows=ROWS, seed=st.randoms(use_true_random=False))
def test_days_are_the_same_in_whatever_order_readings_of_different_times_come(
    rows: list[tuple[int, int, float]], seed: "st.DataObject"
) -> None:
    unique = list({row[:2]: row for row in rows}.values())
    shuffled = list(unique)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    assert folded(*[[row] for row in shuffled]).hours.tobytes() == folded(unique).hours.tobytes()


@settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)  # emptied each time
@given(rows=ROWS, cuts=st.lists(st.integers(0, 60), max_size=5))
async def test_the_stored_memory_equals_one_made_anew_from_the_stored_readings(
    rows: list[tuple[int, int, float]], cuts: list[int], database: Postgres
) -> None:
    await database.execute("DELETE FROM airquality.readings")
    await database.execute("DELETE FROM airquality.days")
    await database.execute("DELETE FROM airquality.corrections")
    recorder = Recorder(database)
    edges = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    for begin, end in pairwise(edges):
        session = Ingest(recorder, transaction_rows=7).session("acme")
        async with session:
            await session.add(readings_of(rows[begin:end]))
            await session.finish()
    stored = await database.fetch(
        "SELECT station_id, (extract(epoch FROM time) / 60)::int8 - $1::int8 AS minute, value, flags"
        " FROM airquality.readings ORDER BY station_id, time",
        FIRST // MINUTE,
    )
    last = {row[:2]: row[2] for row in rows}
    assert {(each["station_id"], each["minute"]): each["value"] for each in stored} == last
    again = readings_of([(each["station_id"], each["minute"], each["value"]) for each in stored])
    slots = Slots.of(again, np.array([each["flags"] for each in stored], dtype=np.int64))
    fresh = Blocks.empty(slots.keys)
    fresh.fold(slots)
    figures = fresh.figures()
    found = await database.fetch(
        "SELECT hours, hour_count, mean, minimum, maximum, flagged_count FROM airquality.days ORDER BY station_id, day"
    )
    assert [each["hours"] for each in found] == [day.tobytes() for day in fresh.hours]
    assert [each["mean"] for each in found] == figures.mean.tolist()
    assert [each["hour_count"] for each in found] == figures.hour_count.tolist()
    assert [each["flagged_count"] for each in found] == figures.flagged_count.tolist()


async def test_a_correction_keeps_what_was_said_before(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(reading(0, 10.0), reading(1, 11.0))
    await acme.ingest(reading(0, 20.0))
    await acme.ingest(reading(0, 30.0), reading(1, 11.0))
    reply = await acme.call("ListCorrections", pb.ListCorrectionsRequest(station_id="here"))
    assert [each.replaced.value for each in reply.corrections] == [20.0, 10.0]
    assert [each.replaced.time for each in reply.corrections] == [stamp(0), stamp(0)]
    assert reply.corrections[0].replace_time.ToDatetime() > reply.corrections[1].replace_time.ToDatetime()
    assert [each.value for each in (await acme.readings(station_id="here")).readings] == [11.0, 30.0]
    (hour, _) = (await acme.history(0, 2, station_id="here")).intervals
    assert hour.pollutants[0].mean == 30.0


async def test_corrections_come_page_by_page_and_filtered(acme: Caller) -> None:
    await acme.register(station())
    for value in (1.0, 2.0, 3.0):
        await acme.ingest(*[reading(hour, value) for hour in range(3)], reading(0, value, pollutant=O3))
    request = pb.ListCorrectionsRequest(station_id="here", pollutant=pb.POLLUTANT_PM25, page_size=4)
    first = await acme.call("ListCorrections", request)
    request.page_token = first.next_page_token
    second = await acme.call("ListCorrections", request)
    assert [each.replaced.value for each in (*first.corrections, *second.corrections)] == [2.0] * 3 + [1.0] * 3
    assert (len(first.corrections), second.next_page_token) == (4, "")
    request = pb.ListCorrectionsRequest(station_id="here", start_time=stamp(1), end_time=stamp(2))
    assert len((await acme.call("ListCorrections", request)).corrections) == 2


async def test_refuses_corrections_of_what_is_not_there(acme: Caller) -> None:
    _, reason, *_ = await refused(acme.call("ListCorrections", pb.ListCorrectionsRequest(station_id="nowhere")))
    assert reason == "STATION_NOT_FOUND"
    await acme.register(station())
    request = pb.ListCorrectionsRequest(station_id="here", sensor_id="a")
    assert (await refused(acme.call("ListCorrections", request)))[1] == "STATION_NOT_FOUND"
    request = pb.ListCorrectionsRequest(station_id="here", start_time=stamp(2), end_time=stamp(2))
    assert (await refused(acme.call("ListCorrections", request)))[2] == ["end_time"]


async def test_months_and_years_have_statistics_coverage_and_days_by_category(acme: Caller) -> None:
    await acme.register(station())
    # From 20 to 31 August: 36 µg/m³ all day but for one day of 200 and one with half its hours.
    sent = [reading(day * 24 + hour, 200.0 if day == 3 else 36.0) for day in range(12) for hour in range(24)]
    await acme.ingest(*[each for place, each in enumerate(sent) if not 120 <= place < 132])
    found = await acme.history(0, 24 * 20, station_id="here", granularity=pb.GRANULARITY_MONTHLY)
    (august,) = found.intervals
    assert (august.start_time.ToDatetime(), august.end_time.ToDatetime()) == (
        datetime(2020, 8, 1),  # noqa: DTZ001 -- as ToDatetime gives it
        datetime(2020, 9, 1),  # noqa: DTZ001
    )
    (pm25,) = august.pollutants
    assert (pm25.hour_count, pm25.coverage) == (276, 276 / 744)
    assert pm25.mean == pytest.approx((252 * 36 + 24 * 200) / 276)
    assert (pm25.minimum, pm25.maximum) == (36.0, 200.0)
    assert list(august.category_day_counts) == [0, 0, 11, 0, 1, 0]
    assert (august.index_value, august.dominant_pollutant, pm25.sub_index) == (102, PM25, 102)
    who = next(each for each in pm25.exceedances if each.limit_id == "who_2021")
    assert (who.count, who.known_count, who.concentration) == (11, 11, 15.0)
    (year,) = (await acme.history(0, 1, station_id="here", granularity=pb.GRANULARITY_YEARLY)).intervals
    assert year.pollutants[0].coverage == 276 / 8784
    assert list(year.category_day_counts) == [0, 0, 11, 0, 1, 0]


async def test_profiles_follow_the_clocks_of_the_time_zone(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, float(hour % 24)) for hour in range(48)])
    found = await acme.history(0, 48, station_id="here", time_zone="Asia/Kolkata", profiles=True)
    by_kind = {each.kind: each.parts for each in found.profiles}
    hours = by_kind[pb.PROFILE_KIND_HOUR_OF_DAY]
    assert [each.number for each in hours] == list(range(24))
    # Midnight UTC is 05:30 in Kolkata, which counts as hour 5.
    assert [each.mean for each in hours] == [float((hour - 5) % 24) for hour in range(24)]
    assert {(each.hour_count, each.coverage) for each in hours} == {(2, 1.0)}
    assert [each.number for each in by_kind[pb.PROFILE_KIND_DAY_OF_WEEK]] == [4, 5, 6]
    (august,) = by_kind[pb.PROFILE_KIND_MONTH]
    assert (august.number, august.hour_count, august.minimum, august.maximum) == (8, 48, 0.0, 23.0)


async def test_winds_around_north_have_north_as_their_mean(acme: Caller) -> None:
    await acme.register(station())
    winds = [350.0, 10.0, 340.0, 20.0]
    await acme.ingest(*[reading(hour, value, pollutant=WIND_DIRECTION) for hour, value in enumerate(winds)])
    (day,) = (await acme.history(0, 24, station_id="here", granularity=pb.GRANULARITY_DAILY)).intervals
    (wind,) = day.pollutants
    assert min(wind.mean, 360 - wind.mean) < 1e-6
    assert not wind.HasField("minimum")


async def test_a_gap_of_a_month_is_left_out_and_shows_in_the_coverage(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(reading(0, 10.0), reading(-24 * 32, 20.0))
    days = await acme.history(-24 * 32, 1, station_id="here", granularity=pb.GRANULARITY_DAILY)
    assert len(days.intervals) == 2
    (year,) = (await acme.history(0, 1, station_id="here", granularity=pb.GRANULARITY_YEARLY)).intervals
    assert (year.pollutants[0].hour_count, year.pollutants[0].mean) == (2, 15.0)


async def test_history_outlives_the_readings(acme: Caller, database: Postgres) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, 36.0) for hour in range(24)])
    await database.execute("DELETE FROM airquality.readings")
    (day,) = (await acme.history(0, 24, station_id="here", granularity=pb.GRANULARITY_DAILY)).intervals
    assert (day.index_value, day.pollutants[0].hour_count) == (102, 24)
    assert len((await acme.history(5, 7, station_id="here")).intervals) == 2


async def test_hours_that_were_not_asked_for_are_no_data(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(reading(5), reading(9))
    _, reason, *_ = await refused(acme.history(6, 9, station_id="here"))
    assert reason == "NO_DATA_NEARBY"
    assert len((await acme.history(6, 10, station_id="here")).intervals) == 1


async def test_flags_are_counted_in_history_and_drop_nothing(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, 10.0 if hour < 4 else 900.0) for hour in range(6)])
    listed = (await acme.readings(station_id="here")).readings
    spike = [pb.QUALITY_FLAG_SPIKE]
    assert [list(each.flags) for each in listed if each.flags] == [spike, [*spike, pb.QUALITY_FLAG_EXCLUDED]]
    (day,) = (await acme.history(0, 24, station_id="here", granularity=pb.GRANULARITY_DAILY)).intervals
    assert (day.pollutants[0].hour_count, day.pollutants[0].flagged_hour_count) == (5, 2)
    assert (day.pollutants[0].maximum, day.pollutants[0].excluded_hour_count) == (900.0, 1)


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [
        (Granularity.MONTHLY, ["2020-01-01", "2020-02-01", "2020-03-01"]),
        (Granularity.YEARLY, ["2020-01-01", "2021-01-01"]),
    ],
)
def test_months_and_years_are_those_of_the_calendar(granularity: Granularity, expected: list[str]) -> None:
    start, end = datetime(2020, 1, 31, 23, tzinfo=UTC), datetime(2020, 2, 29, 23, tzinfo=UTC)
    edges = edges_of(start, end, granularity, "UTC")
    assert [f"{moment(int(edge)):%Y-%m-%d}" for edge in edges] == expected
    assert edges_of(start, start + timedelta(hours=1), granularity, "Asia/Kolkata")[0] % (3600 * 10**6) != 0


def test_flags_are_the_bits_of_the_contract() -> None:
    names = {f"QUALITY_FLAG_{flag.name}": flag.bit_length() for flag in Flag}
    assert {"QUALITY_FLAG_UNSPECIFIED": 0} | names == dict(pb.QualityFlag.items())
    assert HOURS == 24
