"""Watching through Envoy and two processes of the service, while things break."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.airquality.v1 import airquality_pb2_grpc
from geomesh.types.v1.types_pb2 import Location
from tests.gateway.error_form import error_of
from tests.running_mesh import Mesh

PATH = "/v1/airquality:watch"
LOST = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}
"""How a stream ends whose server is gone; INTERNAL is gRPC's word for a reset that Envoy hands on."""


class Place:
    """A station somewhere at sea, of the tests' tenant, whose readings follow each other by the second."""

    def __init__(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        self._mesh = mesh
        self.lat, self.lng = -40.0, -20.0
        self.station_id = f"buoy-{uuid4().hex[:8]}"
        self.metadata = (("authorization", f"Bearer {mesh.token('user')}"),)
        self.stub = airquality_pb2_grpc.AirQualityServiceStub(channel)
        self._second = int(datetime.now(UTC).timestamp()) - 40_000

    async def register(self) -> None:
        """Registers it."""
        location = Location(lat=self.lat, lng=self.lng)
        station = pb.Station(station_id=self.station_id, provider="tests", location=location)
        await self.stub.UpsertStations(pb.UpsertStationsRequest(stations=[station]), metadata=self.metadata)

    async def report(self, value: float) -> None:
        """Stores a reading; again if nobody knows whether it is stored, as a station would."""
        self._second += 1
        reading = pb.Reading(station_id=self.station_id, pollutant=pb.POLLUTANT_PM25, value=value)
        reading.time.CopyFrom(Timestamp(seconds=self._second))
        request = pb.BatchIngestReadingsRequest(readings=[reading])
        async with asyncio.timeout(30):
            while True:
                try:
                    await self.stub.BatchIngestReadings(request, metadata=self.metadata, timeout=10)
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.1)
                else:
                    return

    async def follow(self, target: str, seen: list[float], after: str = "") -> str:
        """Adds the values of updates to `seen` until the stream ends, and returns the last event id."""
        request = pb.WatchConditionsRequest(station_ids=[self.station_id], after_event_id=after)
        async with self._mesh.channel(target) as channel:
            call = airquality_pb2_grpc.AirQualityServiceStub(channel).WatchConditions(request, metadata=self.metadata)
            try:
                async for message in call:
                    after = message.event_id
                    if message.event == pb.WATCH_EVENT_UPDATE:
                        seen += [latest.value for station in message.stations for latest in station.latest]
            except grpc.aio.AioRpcError as error:
                if error.code() not in LOST:
                    raise
        return after

    async def follow_for_ever(self, target: str, seen: list[float], after: str = "") -> None:
        """Goes on after the last event whenever the stream ends."""
        while True:
            after = await self.follow(target, seen, after)
            await asyncio.sleep(0.1)


@pytest.fixture
async def place(mesh: Mesh, channel: grpc.aio.Channel) -> Place:
    """A registered station."""
    place = Place(mesh, channel)
    await place.register()
    return place


@asynccontextmanager
async def following(place: Place, *targets: str) -> AsyncIterator[list[list[float]]]:
    """Yields what followers at each target have seen, once all of them see what is stored."""
    seen: list[list[float]] = [[] for _ in targets]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(place.follow_for_ever(*each)) for each in zip(targets, seen, strict=True)]
        async with asyncio.timeout(20):
            while not all(seen):
                await place.report(0.0)
                await asyncio.sleep(0.1)
        yield seen
        for task in tasks:
            task.cancel()


async def until(seen: list[list[float]], value: float) -> None:
    """Waits until everybody has seen a value."""
    async with asyncio.timeout(30):
        while not all(value in each for each in seen):  # noqa: ASYNC110 -- of several streams
            await asyncio.sleep(0.05)


def replicas(mesh: Mesh) -> list[str]:
    """Returns where each process of the service listens."""
    return [f"127.0.0.1:{mesh.stack.ports.grpc('airquality', number)}" for number in range(2)]


def values(seen: list[float]) -> list[float]:
    return [each for each in seen if each > 0]


async def test_readings_that_one_process_stores_reach_the_subscribers_of_the_other(mesh: Mesh, place: Place) -> None:
    async with following(place, *replicas(mesh)) as seen:
        for value in range(1, 21):
            await place.report(float(value))
        await until(seen, 20.0)
        assert [values(each) for each in seen] == [[float(value) for value in range(1, 21)]] * 2


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
async def test_a_stream_goes_on_without_loss_or_repeat_when_its_process_ends(
    mesh: Mesh, place: Place, signal: str
) -> None:
    async with following(place, mesh.grpc_target, *replicas(mesh)) as seen:
        for value in range(1, 61):
            await place.report(float(value))
            if value in (20, 40):
                mesh.kill(f"airquality-{value // 20 - 1}", signal)
        await until(seen, 60.0)
        assert [values(each) for each in seen] == [[float(value) for value in range(1, 61)]] * 3


async def test_nothing_that_was_acknowledged_is_lost_with_redis(mesh: Mesh, place: Place) -> None:
    async with following(place, *replicas(mesh)) as seen:
        for value in range(1, 41):
            await place.report(float(value))
            if value == 10:
                mesh.stop("redis")
            if value == 20:
                await until(seen, 20.0)  # while it is away
            if value == 30:
                mesh.start("redis")
        await until(seen, 40.0)
        await mesh.wait_until_well()
        await place.report(41.0)
        await until(seen, 41.0)
        assert [values(each) for each in seen] == [[float(value) for value in range(1, 42)]] * 2


async def message_of(call: Any) -> pb.WatchConditionsResponse:
    """Returns the next message of a stream."""
    message = await call.read()
    assert isinstance(message, pb.WatchConditionsResponse)
    return message


async def test_a_process_that_stops_tells_its_subscribers_where_to_go_on(mesh: Mesh, place: Place) -> None:
    await place.report(1.0)
    request = pb.WatchConditionsRequest(station_ids=[place.station_id])
    async with mesh.channel(replicas(mesh)[0]) as channel:
        call = airquality_pb2_grpc.AirQualityServiceStub(channel).WatchConditions(request, metadata=place.metadata)
        first = await message_of(call)
        mesh.kill("airquality-0", "TERM")
        async with asyncio.timeout(20):
            last = await message_of(call)
            while last.event != pb.WATCH_EVENT_ENDING:
                last = await message_of(call)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
    assert (last.event_id, last.ending_reason) == (first.event_id, "SHUTTING_DOWN")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def events(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """Yields server-sent events that are no heartbeats."""
    event: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        else:
            if event["event"] != "heartbeat":
                yield event
            event = {}


async def test_a_browser_follows_with_its_cookie_and_resumes_by_header(
    mesh: Mesh, place: Place, client: httpx.AsyncClient
) -> None:
    await place.report(1.0)
    area: dict[str, Any] = {"lat": place.lat, "lng": place.lng, "radius_meters": 100}
    cookie = {"cookie": f"geomesh_session={mesh.token('user')}"}
    async with client.stream("GET", PATH, params=area, headers=cookie) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")
        stream = events(response)
        snapshot = await anext(stream)
        assert (snapshot["event"], snapshot["retry"]) == ("snapshot", "1000")
        await place.report(2.0)
        update = await anext(stream)
        stations = {each["stationId"]: each for each in json.loads(update["data"])["stations"]}
        assert (update["event"], stations[place.station_id]["latest"][0]["value"]) == ("update", 2.0)
    await place.report(3.0)
    async with client.stream("GET", PATH, params=area, headers=cookie | {"last-event-id": update["id"]}) as response:
        missed = await anext(events(response))
    assert (missed["event"], "3.0" in missed["data"]) == ("update", True)
    async with client.stream("GET", PATH, params=area) as response:  # nobody's
        assert place.station_id not in (await anext(events(response)))["data"]


@pytest.mark.parametrize(
    ("area", "headers", "field"),
    [
        ({"lat": 1, "lng": 2, "radius_meters": 0}, {}, "radius_meters"),
        ({"lat": 1, "lng": 2}, {"last-event-id": "yesterday"}, "last-event-id"),
        ({"cells": "nonsense"}, {}, "cells[0]"),
        ({"lat": 1, "lng": 2, "after_event_id": "-1"}, {}, "after_event_id"),
    ],
)
async def test_what_is_wrong_is_an_error_and_no_stream(
    client: httpx.AsyncClient, area: dict[str, Any], headers: dict[str, str], field: str
) -> None:
    details = error_of(await client.get(PATH, params=area, headers=headers), 400, "INVALID_FIELD")
    assert [each["field"] for each in details["BadRequest"]["fieldViolations"]] == [field]
