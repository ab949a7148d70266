import asyncio
from typing import Any

import asyncpg
import grpc
import pytest

from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.postgres import Postgres
from tests.airquality.conftest import CO, HOUR, NOWCAST, O3, PM25, As, Caller, at, reading, station
from tests.refusals import refused_saying as refused
from tests.refusals import told


def values(reply: pb.ListReadingsResponse) -> list[float]:
    """Returns the values of readings, the newest first."""
    return [each.value for each in reply.readings]


async def test_returns_what_was_ingested(acme: Caller) -> None:
    await acme.register(station())
    sent = reading(
        value=0.071, pollutant=O3, unit=pb.UNIT_PARTS_PER_MILLION, averaging_period=pb.AVERAGING_PERIOD_8_HOURS
    )
    reply = await acme.ingest(sent)
    assert (reply.accepted_count, reply.changed_count, reply.rejected_count) == (1, 1, 0)
    assert list((await acme.readings(station_id="here")).readings) == [sent]


async def test_storing_twice_changes_nothing(acme: Caller) -> None:
    await acme.register(station())
    readings = [reading(hours) for hours in range(12)]
    first, again = await acme.ingest(*readings), await acme.ingest(*readings)
    assert (first.accepted_count, first.changed_count) == (12, 12)
    assert (again.accepted_count, again.changed_count) == (12, 0)
    assert len((await acme.readings(station_id="here")).readings) == 12


async def test_a_later_value_corrects_an_earlier_one(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(reading(0, 1.0), reading(1, 2.0))
    reply = await acme.ingest(reading(0, 1.0), reading(1, 3.0), reading(2, 4.0))
    assert (reply.accepted_count, reply.changed_count) == (3, 2)
    assert values(await acme.readings(station_id="here")) == [4.0, 3.0, 1.0]


async def test_of_one_key_twice_in_a_batch_the_last_value_counts(acme: Caller) -> None:
    await acme.register(station())
    reply = await acme.ingest(reading(0, 1.0), reading(0, 2.0))
    assert (reply.accepted_count, reply.changed_count) == (2, 1)
    assert values(await acme.readings(station_id="here")) == [2.0]


async def test_of_one_key_in_two_chunks_the_last_value_counts(acme: Caller) -> None:
    await acme.register(station())
    chunks = [[reading(hour, float(number)) for hour in range(4)] for number in range(20)]
    reply = await acme.stream(*chunks)
    assert reply.accepted_count == 80
    assert values(await acme.readings(station_id="here")) == [19.0] * 4


async def test_a_reported_nowcast_stands_beside_its_hour(acme: Caller) -> None:
    await acme.register(station())
    reply = await acme.ingest(reading(0, 20.0), reading(0, 18.5, averaging_period=pb.AVERAGING_PERIOD_NOWCAST))
    assert reply.changed_count == 2
    found = (await acme.readings(station_id="here")).readings
    assert {each.averaging_period: each.value for each in found} == {HOUR: 20.0, NOWCAST: 18.5}


async def test_late_readings_of_other_months_find_their_place(acme: Caller) -> None:
    await acme.register(station())
    hours = [0.0, -24 * 40, -24 * 400, 24 * 50]
    assert (await acme.stream([reading(each, each) for each in hours if each > -25])).accepted_count == 2
    assert (await acme.ingest(*[reading(each, 5.0) for each in hours])).changed_count == 4
    assert len((await acme.readings(station_id="here")).readings) == 4


async def test_a_stream_keeps_the_good_and_counts_the_bad_over_all_chunks(acme: Caller) -> None:
    await acme.register(station())
    reply = await acme.stream(
        [reading(0), reading(1, -500.0)],
        [reading(2, station_id="nowhere"), reading(3)],
        [reading(4, pollutant=PM25, unit=pb.UNIT_PARTS_PER_BILLION), reading(24 * 365 * 90)],
        [reading(5, station_id="he\0re")],
    )
    assert (reply.accepted_count, reply.rejected_count) == (2, 5)
    found = [(error.index, *told(error.status)) for error in reply.errors]
    assert found == [
        (1, "INVALID_FIELD", ["value"]),
        (2, "STATION_NOT_FOUND", []),
        (4, "UNIT_MISMATCH", ["unit"]),
        (5, "TIME_IN_FUTURE", ["time"]),
        (6, "INVALID_FIELD", ["station_id"]),
    ]
    assert len((await acme.readings(station_id="here")).readings) == 2


async def test_nothing_is_stored_of_a_batch_that_is_all_bad(acme: Caller, database: Postgres) -> None:
    await acme.register(station())
    reply = await acme.ingest(reading(0, 1e9), reading(1, float("nan")))
    assert (reply.accepted_count, reply.changed_count, reply.rejected_count) == (0, 0, 2)
    assert await database.fetchval("SELECT count(*) FROM airquality.readings") == 0


@pytest.mark.parametrize("method", ["BatchIngestReadings", "UpsertStations"])
async def test_refuses_an_empty_batch(acme: Caller, method: str) -> None:
    request = {"BatchIngestReadings": pb.BatchIngestReadingsRequest, "UpsertStations": pb.UpsertStationsRequest}[method]
    code, reason, fields, _ = await refused(acme.call(method, request()))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert fields in (["readings"], ["stations"])


async def test_nobody_writes_to_the_stations_of_another_tenant(as_tenant: As) -> None:
    acme, other, operator = as_tenant("acme"), as_tenant("other"), as_tenant("public")
    await acme.register(station("acme-1"))
    await operator.register(station("public-1"))
    for name in ("acme-1", "public-1"):
        reply = await other.ingest(reading(station_id=name))
        assert [told(error.status)[0] for error in reply.errors] == ["STATION_NOT_FOUND"]


async def test_two_tenants_have_a_station_of_the_same_name_each(as_tenant: As) -> None:
    for tenant, value in (("acme", 1.0), ("other", 2.0)):
        await as_tenant(tenant).register(station(lat=40.0 + value))
        await as_tenant(tenant).ingest(reading(value=value))
    assert values(await as_tenant("acme").readings(station_id="here")) == [1.0]
    assert values(await as_tenant("other").readings(station_id="here")) == [2.0]


@pytest.mark.parametrize("method", ["BatchIngestReadings", "UpsertStations"])
async def test_a_write_needs_a_token_that_allows_it(as_tenant: As, method: str) -> None:
    request = {
        "BatchIngestReadings": pb.BatchIngestReadingsRequest(readings=[reading()]),
        "UpsertStations": pb.UpsertStationsRequest(stations=[station()]),
    }[method]
    code, reason, *_ = await refused(as_tenant(None).call(method, request))
    assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    code, reason, *_ = await refused(as_tenant("acme", "public").call(method, request))
    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"station_id": "no spaces"}, "station_id"),
        ({"provider": ""}, "provider"),
        ({"lat": 91.0}, "location.lat"),
        ({"lng": float("nan")}, "location.lng"),
        ({"name": "a\0b"}, "name"),
        ({"agency": "a\0b"}, "agency"),
    ],
)
async def test_bad_stations_are_told_by_index_and_good_ones_kept(
    acme: Caller, fields: dict[str, Any], field: str
) -> None:
    reply = await acme.register(station("good"), station(**({"station_id": "bad"} | fields)))
    assert reply.accepted_count == 1
    ((index, _, named),) = [(error.index, *told(error.status)) for error in reply.errors]
    assert (index, named) == (1, [field])
    assert [each.station_id for each in (await acme.stations()).stations] == ["good"]


async def test_a_station_that_is_registered_again_is_corrected(acme: Caller) -> None:
    await acme.register(station(name="old"))
    await acme.ingest(reading())
    await acme.register(station(name="ignored"), station(name="new", lat=40.005))
    found = await acme.call("GetStation", pb.GetStationRequest(station_id="here"))
    assert (found.name, found.location.lat, len(found.latest)) == ("new", 40.005, 1)


async def test_two_streams_of_the_same_readings_do_not_block_each_other(acme: Caller) -> None:
    await acme.register(*[station(f"s{number}") for number in range(20)])
    readings = [reading(hour, station_id=f"s{number}", pollutant=CO) for hour in range(20) for number in range(20)]
    backwards = readings[::-1]
    replies = await asyncio.gather(
        acme.stream(*[readings[i : i + 50] for i in range(0, 400, 50)]),
        acme.stream(*[backwards[i : i + 50] for i in range(0, 400, 50)]),
    )
    assert [each.accepted_count for each in replies] == [400, 400]
    assert sum(each.changed_count for each in replies) == 400


async def test_what_a_broken_stream_left_is_taken_up_when_it_is_sent_again(acme: Caller) -> None:
    await acme.register(station())

    async def breaks_off() -> Any:
        yield pb.IngestReadingsRequest(readings=[reading(hour) for hour in range(10)])
        raise ConnectionError

    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await acme.stub.IngestReadings(breaks_off(), metadata=acme.metadata, timeout=30)
    reply = await acme.stream([reading(hour) for hour in range(12)])
    assert reply.accepted_count == 12
    assert len((await acme.readings(station_id="here")).readings) == 12


async def test_a_partition_is_made_once_and_only_for_months_that_can_be(database: Postgres) -> None:
    make = "SELECT airquality.ensure_readings_partition($1::timestamptz)"
    await asyncio.gather(*[database.fetchval(make, at(0)) for _ in range(5)])
    names = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'airquality.readings'::regclass"
    assert await database.fetchval(names) == 1
    for never in (at(24 * 365 * 90), at(-24 * 365 * 60)):
        with pytest.raises(asyncpg.CheckViolationError):
            await database.fetchval(make, never)
    assert await database.fetchval(names) == 1
