"""What quality control excludes says nothing of the air, wherever it is asked about, and stays listed; smoke counts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from airquality.forecast_repository import ForecastRepository
from airquality.quality import Flag
from airquality.stations import Station
from airquality.units import Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.postgres import Postgres
from tests.airquality.conftest import START, Caller, Events, reading, station, told
from tests.airquality.test_anywhere import fresh, until
from tests.airquality.test_anywhere import told as event
from tests.refusals import refused

NEIGHBOURS = ("north", "east", "south")
SPIKE, EXCLUDED = pb.QUALITY_FLAG_SPIKE, pb.QUALITY_FLAG_EXCLUDED


async def four_stations(caller: Caller, hours: int = 6, value: float = 10.0) -> None:
    """Registers a station and three within ten kilometres, and has all of them report the same for some hours."""
    places = ((0.05, 0.0), (0.0, 0.05), (-0.05, 0.0))
    await caller.register(
        station(),
        *(station(name, 40.0 + north, -100.0 + east) for name, (north, east) in zip(NEIGHBOURS, places, strict=True)),
    )
    await caller.ingest(*[reading(hour, value, name) for name in ("here", *NEIGHBOURS) for hour in range(hours)])


async def flags_of(caller: Caller, station_id: str = "here") -> set[int]:
    """Returns the flags of the newest reading of a station."""
    return set((await caller.readings(station_id=station_id, page_size=1)).readings[0].flags)


async def concentration(caller: Caller, hours: float) -> float:
    """Returns the PM2.5 of the place at a time."""
    found: pb.CurrentConditions = await caller.current(hours=hours)
    return found.pollutants[0].concentration


async def test_a_spike_at_one_station_is_listed_and_is_not_the_air(acme: Caller) -> None:
    await four_stations(acme)
    await acme.ingest(reading(6, 900.0), *(reading(6, 10.0, name) for name in NEIGHBOURS))
    listed = (await acme.readings(station_id="here", page_size=1)).readings[0]
    assert (listed.value, set(listed.flags)) == (900.0, {SPIKE, pb.QUALITY_FLAG_NEIGHBOURS, EXCLUDED})
    found = await acme.current(hours=6.5)
    assert found.pollutants[0].concentration == pytest.approx(10.0)
    assert found.index.value < 60
    assert all(each.value == pytest.approx(10.0) for each in found.pollutants[0].contributions)
    newest = (await acme.call("GetStation", pb.GetStationRequest(station_id="here"))).latest[0]
    assert (newest.value, newest.time.ToDatetime(START.tzinfo)) == (10.0, START + timedelta(hours=5))


async def test_a_spike_at_a_lone_station_waits_for_the_next_hour(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, 10.0) for hour in range(6)])
    await acme.ingest(reading(6, 400.0))
    assert EXCLUDED in await flags_of(acme)
    assert await concentration(acme, 6.5) == pytest.approx(10.0)
    await acme.ingest(reading(7, 380.0))
    assert await flags_of(acme) == {SPIKE}
    assert await concentration(acme, 7.5) > 150
    await acme.ingest(reading(8, 10.0), reading(9, 10.0), reading(10, 300.0), reading(11, 10.0))
    assert await concentration(acme, 11.5) < 100  # the second one came alone


async def test_a_plume_over_many_stations_counts_from_its_first_hour(acme: Caller) -> None:
    await four_stations(acme)
    rises = dict(zip(("here", *NEIGHBOURS), (400.0, 350.0, 300.0, 20.0), strict=True))
    await acme.ingest(*(reading(6, value, name) for name, value in rises.items()))
    assert await flags_of(acme) == {SPIKE}
    assert await concentration(acme, 6.5) > 150
    (hour,) = (await acme.history(6, 7, station_id="here")).intervals
    assert (hour.pollutants[0].mean, hour.pollutants[0].excluded_hour_count) == (400.0, 0)


async def test_a_plume_that_stations_report_one_after_another_counts_from_the_second_on(acme: Caller) -> None:
    await four_stations(acme)
    for name in NEIGHBOURS:
        await acme.ingest(reading(6, 400.0, name))
    await acme.ingest(reading(6, 400.0))
    assert EXCLUDED in await flags_of(acme, NEIGHBOURS[0])
    for name in ("here", *NEIGHBOURS[1:]):
        assert EXCLUDED not in await flags_of(acme, name)
    assert await concentration(acme, 6.5) > 150


async def test_a_plume_that_comes_from_a_neighbour_counts_over_midnight_too(acme: Caller) -> None:
    await four_stations(acme, hours=24)
    await acme.ingest(reading(23, 400.0, NEIGHBOURS[0]))
    await acme.ingest(reading(24, 400.0), *(reading(24, 10.0, name) for name in NEIGHBOURS))
    assert await flags_of(acme) == {SPIKE, pb.QUALITY_FLAG_NEIGHBOURS}


async def test_history_leaves_out_what_is_excluded_and_says_so(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, 10.0 if hour != 4 else 900.0) for hour in range(6)])
    (day,) = (await acme.history(0, 24, station_id="here", granularity=pb.GRANULARITY_DAILY)).intervals
    (pm25,) = day.pollutants
    assert (pm25.maximum, pm25.mean, pm25.hour_count, pm25.coverage) == (10.0, 10.0, 5, 5 / 24)
    assert (pm25.flagged_hour_count, pm25.excluded_hour_count) == (1, 1)
    hours = (await acme.history(0, 6, station_id="here")).intervals
    (alone,) = hours[4].pollutants
    assert (alone.HasField("mean"), alone.coverage, alone.excluded_hour_count) == (False, 0.0, 1)
    (month,) = (await acme.history(0, 1, station_id="here", granularity=pb.GRANULARITY_MONTHLY)).intervals
    assert (month.pollutants[0].maximum, month.pollutants[0].excluded_hour_count) == (10.0, 1)


async def test_the_history_of_a_place_is_that_of_the_nearest_station_with_an_hour_that_counts(acme: Caller) -> None:
    await acme.register(station("near", lat=40.1), station("far", lat=40.2))
    await acme.ingest(*[reading(hour, 9000.0, "near") for hour in range(3)], reading(1, 10.0, "far"))

    async def source(start: float, end: float) -> str:
        (found,) = (await acme.history(start, end, lat=40.0, lng=-100.0)).sources
        return found.station.station_id

    assert await source(0, 3) == "far"
    assert await source(1, 2) == "far"
    assert await source(2, 3) == "near"  # where nothing counts, what was left out is told


async def test_days_are_stored_without_what_is_excluded(acme: Caller, database: Postgres) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, 10.0 if hour != 4 else 900.0) for hour in range(6)])
    row = await database.fetchrow("SELECT hour_count, flagged_count, maximum FROM airquality.days")
    assert row is not None
    assert tuple(row) == (5, 1, 10.0)


async def test_watchers_are_not_told_what_is_excluded_and_are_told_other_flags(acme: Caller) -> None:
    await four_stations(acme)
    async with acme.watch(station_ids=["here"]) as stream:
        assert told(await stream.next()) == [("here", 10.0)]
        await acme.ingest(reading(6, 900.0), *(reading(6, 10.0, name) for name in NEIGHBOURS))
        await acme.ingest(*(reading(7, 10.0, name) for name in NEIGHBOURS))
        await acme.ingest(reading(7, 100.0))
        update = await stream.next()
        assert told(update) == [("here", 100.0)]
        assert list(update.stations[0].latest[0].flags) == [pb.QUALITY_FLAG_NEIGHBOURS]
    await acme.ingest(reading(8, 1500.0))
    async with acme.watch(station_ids=["here"]) as stream:
        snapshot = await stream.next()
        assert told(snapshot) == [("here", 100.0)]
        assert list(snapshot.stations[0].latest[0].flags) == [pb.QUALITY_FLAG_NEIGHBOURS]


async def test_the_air_of_now_forgets_a_reading_that_is_corrected_to_an_excluded_one(
    operator: Caller, events: Events
) -> None:
    events.tell(event(35.0, minutes=40.0))
    await until(operator, 35.0)
    newest = event(80.0, minutes=10.0)
    events.tell(newest)
    await until(operator, 80.0)
    events.tell(replace(newest, value=900.0, flags=Flag.RANGE | Flag.EXCLUDED))
    await until(operator, 35.0)
    events.tell(
        event(901.0, minutes=5.0, flags=Flag.RANGE | Flag.EXCLUDED), event(36.0, minutes=39.0, flags=Flag.SPIKE)
    )
    await until(operator, 36.0)


async def test_the_air_of_now_is_not_read_from_what_is_excluded(operator: Caller) -> None:
    await operator.register(station())
    await operator.ingest(fresh(1500.0, minutes=20.0))
    code, *_ = await refused(
        operator.call("GetCurrentConditions", pb.GetCurrentConditionsRequest(lat=40.0, lng=-100.0))
    )
    assert code.name == "NOT_FOUND"
    await operator.ingest(fresh(35.0, minutes=40.0))
    await until(operator, 35.0)


async def test_forecasts_are_not_made_from_what_is_excluded(acme: Caller, database: Postgres) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, 10.0 if hour != 4 else 900.0) for hour in range(6)])
    repository, first = ForecastRepository(database), int(START.timestamp()) // 3600
    found = await repository.get_station("acme", "here")
    assert isinstance(found, Station)
    frame = await repository.find_hourly([found], [Pollutant.PM25], (first, first + 6))
    assert frame.of(Pollutant.PM25)[0, [0, 1, 2, 3, 5]].tolist() == [10.0] * 5
    assert frame.of(Pollutant.PM25)[0, 4] != 900.0
