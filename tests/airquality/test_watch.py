"""Watching through a real service, Postgres and Redis."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import h3  # type: ignore[import-untyped]  # ships no types
import pytest

from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.types.v1.types_pb2 import BoundingBox, Location
from tests.airquality.conftest import O3, STALL_SECONDS, As, Caller, reading, station, told
from tests.refusals import refused as refused_call

HERE: dict[str, Any] = {"lat": 40.0, "lng": -100.0, "radius_meters": 10_000.0}


async def refused(caller: Caller, after: str = "", **area: Any) -> tuple[grpc.StatusCode, str, list[str]]:
    """Returns code, reason and fields of the error that a stream ends with."""
    async with caller.watch(after, **area) as stream:
        return await refused_call(stream.next())


async def test_begins_with_what_is_stored_and_goes_on_with_what_is_stored_then(acme: Caller) -> None:
    await acme.register(station(), station("far", lat=41.0))
    await acme.ingest(reading(0, 1.0), reading(1, 2.0), reading(1, 9.0, "far"))
    async with acme.watch(**HERE) as stream:
        first = await stream.next()
        assert (first.event, first.snapshot_reason) == (pb.WATCH_EVENT_SNAPSHOT, pb.SNAPSHOT_REASON_STARTED)
        assert told(first) == [("here", 2.0)]
        await acme.ingest(reading(2, 8.0, "far"))
        await acme.ingest(reading(2, 3.0), reading(3, 4.0))
        update = await stream.next()
        assert update.event == pb.WATCH_EVENT_UPDATE
        assert told(update) == [("here", 3.0), ("here", 4.0)]
        assert int(update.event_id) == int(first.event_id) + 2


@pytest.mark.parametrize(
    "area",
    [
        HERE,
        {"bbox": BoundingBox(south=39.9, west=-100.1, north=40.1, east=-99.9)},
        {"station_ids": ["here"]},
        {"cells": ["8526e163fffffff", "8426e17ffffffff", "8328a2fffffffff"]},
    ],
)
async def test_watches_every_kind_of_area(acme: Caller, area: dict[str, Any]) -> None:
    if "cells" in area:
        area = {"cells": [h3.latlng_to_cell(40.0, -100.0, 5), h3.latlng_to_cell(10.0, 10.0, 3)]}
    await acme.register(station(), station("far", lat=41.0))
    await acme.ingest(reading(0, 1.0), reading(0, 7.0, "far"))
    async with acme.watch(**area) as stream:
        assert told(await stream.next()) == [("here", 1.0)]
        await acme.ingest(reading(1, 7.0, "far"), reading(1, 2.0))
        assert told(await stream.next()) == [("here", 2.0)]


async def test_an_area_over_the_antimeridian_has_both_sides(acme: Caller) -> None:
    await acme.register(station("west", lat=-17.0, lng=179.9), station("east", lat=-17.0, lng=-179.9))
    for area in (
        {"lat": -17.0, "lng": 179.99, "radius_meters": 50_000.0},
        {"bbox": BoundingBox(south=-18, west=179, north=-16, east=-179)},
    ):
        async with acme.watch(**area) as stream:
            await stream.next()
            value = float(len(area))
            await acme.ingest(reading(value, value, "west"), reading(value, value, "east"))
            assert sorted(told(await stream.next())) == [("east", value), ("west", value)]


async def test_what_is_stored_twice_is_told_once(acme: Caller) -> None:
    await acme.register(station())
    async with acme.watch(**HERE) as stream:
        await stream.next()
        await acme.ingest(reading(0, 1.0))
        await acme.ingest(reading(0, 1.0))
        await acme.ingest(reading(0, 1.0), reading(1, 2.0))
        assert told(await stream.next()) == [("here", 1.0)]
        assert told(await stream.next()) == [("here", 2.0)]


async def test_goes_on_after_the_event_that_was_seen_last(acme: Caller) -> None:
    await acme.register(station())
    async with acme.watch(**HERE) as stream:
        await stream.next()
        await acme.ingest(reading(0, 1.0))
        seen = (await stream.next()).event_id
    for hour in range(1, 40):
        await acme.ingest(reading(hour, float(hour)))
    async with acme.watch(seen, **HERE) as stream:
        values = [told(await stream.next()) for _ in range(39)]
        assert values == [[("here", float(hour))] for hour in range(1, 40)]
        await acme.ingest(reading(40, 40.0))
        assert told(await stream.next()) == [("here", 40.0)]


async def test_says_where_it_stands_when_nothing_happens(acme: Caller) -> None:
    await acme.register(station(), station("far", lat=41.0))
    async with acme.watch(**HERE) as stream:
        first = await stream.next()
        await acme.ingest(reading(0, 1.0, "far"))
        while int((beat := await stream.any()).event_id) == int(first.event_id):
            assert beat.event == pb.WATCH_EVENT_HEARTBEAT
        assert int(beat.event_id) == int(first.event_id) + 1
    async with acme.watch(beat.event_id, **HERE) as stream:
        assert (await stream.any()).event == pb.WATCH_EVENT_HEARTBEAT


@pytest.mark.parametrize("event_id", ["999999", "999999999999999999"])
async def test_an_event_that_never_was_leads_to_a_snapshot(acme: Caller, event_id: str) -> None:
    await acme.register(station())
    await acme.ingest(reading(0, 1.0))
    async with acme.watch(event_id, **HERE) as stream:
        first = await stream.next()
        assert first.snapshot_reason == pb.SNAPSHOT_REASON_EVENT_EXPIRED
        assert told(first) == [("here", 1.0)]


async def test_shows_a_tenant_its_own_readings_and_the_public_ones_and_no_others(
    as_tenant: As, acme: Caller, operator: Caller, anyone: Caller
) -> None:
    rival = as_tenant("rival")
    for number, caller in enumerate((acme, rival, operator)):
        await caller.register(station())
        await caller.ingest(reading(0, float(number)))
    async with acme.watch(**HERE) as own, anyone.watch(**HERE) as public, acme.watch(station_ids=["here"]) as one:
        assert sorted(told(await own.next())) == [("here", 0.0), ("here", 2.0)]
        assert told(await public.next()) == [("here", 2.0)]
        assert told(await one.next()) == [("here", 0.0)]
        await rival.ingest(reading(1, 11.0))
        await acme.ingest(reading(1, 10.0))
        await operator.ingest(reading(1, 12.0))
        assert [told(await own.next()) for _ in range(2)] == [[("here", 10.0)], [("here", 12.0)]]
        assert told(await public.next()) == [("here", 12.0)]
        assert told(await one.next()) == [("here", 10.0)]


async def test_tells_of_the_pollutants_asked_for_and_of_nothing_too_old(acme: Caller) -> None:
    await acme.register(station())
    async with acme.watch(pollutants=[pb.POLLUTANT_O3], **HERE) as ozone:
        recent = acme.stub.WatchConditions(pb.WatchConditionsRequest(**HERE), metadata=acme.metadata)
        assert (await recent.read()).event == pb.WATCH_EVENT_SNAPSHOT
        await ozone.next()
        await acme.ingest(reading(0, 1.0), reading(0, 30.0, pollutant=O3))
        assert told(await ozone.next()) == [("here", 30.0)]
        fresh = reading(0, 5.0)
        fresh.time.GetCurrentTime()
        fresh.time.nanos = 0
        await acme.ingest(fresh)
        while (message := await recent.read()).event == pb.WATCH_EVENT_HEARTBEAT:
            pass
        assert told(message) == [("here", 5.0)]
        recent.cancel()


async def test_a_subscriber_that_fell_behind_gets_a_snapshot_and_makes_nobody_wait(acme: Caller) -> None:
    # More than gRPC's buffers on the way hold, so that it is the server where it waits.
    stations, hours = 500, 40
    await acme.register(*(station(f"s{number}") for number in range(stations)))
    async with acme.watch(**HERE) as slow, acme.watch(**HERE) as quick:
        await slow.next()
        await quick.next()
        total = 0
        for hour in range(hours):
            await acme.ingest(*(reading(hour, float(hour), f"s{number}") for number in range(stations)))
            total += len(told(await quick.next()))
        assert total == hours * stations
        kinds = []
        newest: dict[str, float] = {}
        while len(newest) < stations or set(newest.values()) != {hours - 1.0}:
            message = await slow.next()
            kinds.append((message.event, message.skipped_updates > 0))
            newest |= dict(told(message))
        assert (pb.WATCH_EVENT_SNAPSHOT, True) in kinds


@pytest.mark.slow
async def test_a_subscriber_that_takes_nothing_is_ended_with_the_reason(acme: Caller) -> None:
    await acme.register(*(station(f"s{number}") for number in range(500)))
    async with acme.watch(**HERE) as stuck:
        await stuck.next()
        for hour in range(40):
            await acme.ingest(*(reading(hour, float(hour), f"s{number}") for number in range(500)))
        await asyncio.sleep(STALL_SECONDS + 2)

        async def read_on() -> None:
            while True:
                await stuck.any()

        assert (await refused_call(read_on()))[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SUBSCRIBER_TOO_SLOW")


async def test_follows_what_moves(acme: Caller) -> None:
    await acme.register(station(), station("there", lat=50.0))
    await acme.ingest(reading(0, 1.0), reading(0, 2.0, "there"))
    moves: asyncio.Queue[pb.WatchConditionsAlongRequest] = asyncio.Queue()

    async def requests() -> AsyncIterator[pb.WatchConditionsAlongRequest]:
        while True:
            yield await moves.get()

    watch = pb.WatchConditionsRequest(**HERE)
    watch.max_age.FromSeconds(100 * 365 * 86_400)
    moves.put_nowait(pb.WatchConditionsAlongRequest(watch=watch))
    call = acme.stub.WatchConditionsAlong(requests(), metadata=acme.metadata)
    assert told(await call.read()) == [("here", 1.0)]
    moves.put_nowait(pb.WatchConditionsAlongRequest(update_location=Location(lat=50.0, lng=-100.0)))
    while (moved := await call.read()).event == pb.WATCH_EVENT_HEARTBEAT:
        pass
    assert (moved.snapshot_reason, told(moved)) == (pb.SNAPSHOT_REASON_MOVED, [("there", 2.0)])
    await acme.ingest(reading(1, 3.0), reading(1, 4.0, "there"))
    while (update := await call.read()).event == pb.WATCH_EVENT_HEARTBEAT:
        pass
    assert told(update) == [("there", 4.0)]
    moves.put_nowait(pb.WatchConditionsAlongRequest(update_location=Location(lat=95.0, lng=-100.0)))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while True:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("area", "field"),
    [
        ({"lat": 40.0, "lng": -100.0, "radius_meters": -1.0}, "radius_meters"),
        ({"lat": 40.0, "lng": -100.0, "radius_meters": 2e6}, "radius_meters"),
        ({"lat": 40.0}, "lng"),
        ({"lat": 91.0, "lng": 0.0}, "lat"),
        ({"cells": ["8526e163ffffffe"]}, "cells[0]"),
        ({"cells": ["nonsense"]}, "cells[0]"),
        ({"after": "yesterday", **HERE}, "after_event_id"),
    ],
)
async def test_names_the_field_that_is_wrong(acme: Caller, area: dict[str, Any], field: str) -> None:
    code, _, fields = await refused(acme, **area)
    assert (code, field in " ".join(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, True), fields


async def test_refuses_two_areas_none_and_unknown_stations(acme: Caller) -> None:
    assert (await refused(acme))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await refused(acme, cells=["8526e163fffffff"], **HERE))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await refused(acme, station_ids=["nowhere"]))[1] == "STATION_NOT_FOUND"
