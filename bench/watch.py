"""Watching: what 10,000 open subscriptions cost, how soon they are told, and what an event costs by who wants it."""

import asyncio
import gc
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import grpc
import psutil
import uvloop

from airquality.convert.watching import render_stored
from airquality.events import StoredReading
from airquality.live.areas import Circle
from airquality.live.eventformat import Event
from airquality.live.hub import Hub
from airquality.live.subscription import Subscription, Wanted
from bench.mesh import Mesh
from bench.report import Row, ceiling
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.types.v1.types_pb2 import Location

SERVICE = "/geomesh.airquality.v1.AirQualityService/"
STATIONS, EACH = 1_000, 10
"""Stations, and subscriptions around each."""
CHANNELS, OPENING = 20, 200
"""gRPC connections, and subscriptions that are being opened at one time: below gRPC's bound on pending calls."""
BURSTS = (4, 10)
"""Stations that report at once, each to its ten subscribers: bursts of 40 and of 100 deliveries."""
PER_SECOND, REPORTING_SECONDS = 2_000, 12
"""Deliveries a second, however large the bursts, and for how long."""


def delivering(mesh: Mesh) -> Iterator[Row]:
    """Subscriptions at one process, and the time from the moment that readings are stored until a client has them."""
    delays_by_burst, bytes_each = uvloop.run(_deliver(mesh))
    name = f"{STATIONS * EACH:,} subscriptions"
    yield ceiling(f"WatchConditions, {name}, memory of the process for each", bytes_each / 1024, "KiB", 40)
    for stations, delays in delays_by_burst.items():
        centiles = statistics.quantiles(delays, n=100)
        how = f"WatchConditions, {name}, {PER_SECOND:,} deliveries/s in bursts of {stations * EACH}, stored to client"
        yield ceiling(f"{how}, p50", centiles[49] * 1000, "ms", 25)
        yield ceiling(f"{how}, p99", centiles[98] * 1000, "ms", 25)


def matching() -> Iterator[Row]:
    """The same event, wanted by the same ten, among 1,000 and 10,000 subscriptions."""
    few, many = _matching(1_000), _matching(10_000)
    yield ceiling("an event for 10 of 10,000 subscriptions / for 10 of 1,000", many / few, "", 1.5)
    yield ceiling("an event for 10 of 10,000 subscriptions", many * 1e6, "µs", 1_000)


async def _deliver(mesh: Mesh) -> tuple[dict[int, list[float]], float]:
    process = psutil.Process(mesh.stack.supervisor.states()["airquality-0"].pid)
    metadata = tuple(mesh.metadata.items())
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    channels = [
        grpc.aio.insecure_channel(mesh.address("airquality"), options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(CHANNELS)
    ]
    await _register(channels[0], prefix, metadata)
    before = process.memory_info().rss
    told: list[tuple[int, float]] = []
    opened, places = asyncio.Semaphore(OPENING), [_place(number) for number in range(STATIONS)]
    ready: list[asyncio.Future[None]] = []
    tasks = []
    for number in range(STATIONS * EACH):
        ready.append(asyncio.get_running_loop().create_future())
        watch = _watch(channels[number % CHANNELS], places[number % STATIONS], metadata, opened, ready[-1], told)
        tasks.append(asyncio.create_task(watch))
    await asyncio.gather(*ready)
    after = process.memory_info().rss
    delays = {}
    for stations in BURSTS:
        told.clear()
        await _report(channels[0], prefix, metadata, stations)
        await asyncio.sleep(1)
        assert len(told) == PER_SECOND * REPORTING_SECONDS, f"{len(told)} deliveries"
        delays[stations] = await _delays(mesh, told)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for channel in channels:
        await channel.close()
    return delays, (after - before) / (STATIONS * EACH)


def _place(number: int) -> tuple[float, float]:
    """Returns a point of a grid over the southern Pacific, 40 km from the next."""
    return -50.0 + 0.4 * (number // 40), -170.0 + 0.5 * (number % 40)


async def _register(channel: grpc.aio.Channel, prefix: str, metadata: Sequence[tuple[str, str]]) -> None:
    register = channel.unary_unary(
        f"{SERVICE}UpsertStations",
        request_serializer=pb.UpsertStationsRequest.SerializeToString,
        response_deserializer=pb.UpsertStationsResponse.FromString,
    )
    stations = []
    for number in range(STATIONS):
        lat, lng = _place(number)
        location = Location(lat=lat, lng=lng)
        stations.append(pb.Station(station_id=f"{prefix}-{number}", provider="bench", location=location))
    await register(pb.UpsertStationsRequest(stations=stations), metadata=metadata)


async def _watch(
    channel: grpc.aio.Channel,
    place: tuple[float, float],
    metadata: Sequence[tuple[str, str]],
    opening: asyncio.Semaphore,
    ready: "asyncio.Future[None]",
    told: list[tuple[int, float]],
) -> None:
    watch = channel.unary_stream(
        f"{SERVICE}WatchConditions",
        request_serializer=pb.WatchConditionsRequest.SerializeToString,
        response_deserializer=pb.WatchConditionsResponse.FromString,
    )
    async with opening:
        call = watch(pb.WatchConditionsRequest(lat=place[0], lng=place[1], radius_meters=1000), metadata=metadata)
        await call.read()
    ready.set_result(None)
    while True:
        message = await call.read()
        assert isinstance(message, pb.WatchConditionsResponse)
        if message.event == pb.WATCH_EVENT_UPDATE:
            told.append((int(message.event_id), time.time()))


async def _report(channel: grpc.aio.Channel, prefix: str, metadata: Sequence[tuple[str, str]], stations: int) -> None:
    ingest = channel.unary_unary(
        f"{SERVICE}BatchIngestReadings",
        request_serializer=pb.BatchIngestReadingsRequest.SerializeToString,
        response_deserializer=pb.IngestReadingsResponse.FromString,
    )
    first = datetime.now(UTC) - timedelta(hours=1)
    begin, every_seconds = time.monotonic(), stations * EACH / PER_SECOND
    for batch in range(round(REPORTING_SECONDS / every_seconds)):
        request = pb.BatchIngestReadingsRequest()
        for number in range(stations):
            station = f"{prefix}-{(batch * stations + number) % STATIONS}"
            reading = request.readings.add(station_id=station, pollutant=pb.POLLUTANT_PM25, value=batch / 10)
            reading.time.FromDatetime(first + timedelta(seconds=batch))
        await ingest(request, metadata=metadata)
        await asyncio.sleep(max(0.0, begin + (batch + 1) * every_seconds - time.monotonic()))


async def _delays(mesh: Mesh, told: list[tuple[int, float]]) -> list[float]:
    """Returns the times since each event was written, which is a little before its commit, in seconds."""
    connection = await asyncpg.connect(mesh.stack.owner_dsn())
    try:
        rows = await connection.fetch("SELECT position, stored_at FROM airquality.outbox")
    finally:
        await connection.close()
    stored = {row["position"]: row["stored_at"].timestamp() for row in rows}
    return [at - stored[position] for position, at in told]


class _Nowhere:
    """Where no events come from: what is measured is handed to the hub by hand."""

    async def last(self) -> int:
        """Returns the position before the first event."""
        return 0

    async def events(self, position: int) -> AsyncIterator[Event]:
        """Yields nothing."""
        for event in await self.after(position, 0):
            yield event

    async def after(self, position: int, limit: int) -> list[Event]:
        """Returns nothing."""
        del position, limit
        return []

    def close(self) -> None:
        """Changes nothing."""


def _matching(count: int) -> float:
    """Returns the seconds that an event for ten subscriptions takes among so many."""
    nowhere = _Nowhere()
    hub = Hub(nowhere, nowhere, render_stored, most=count, waiting_updates=64, heartbeat_seconds=30, stall_seconds=60)
    subscriptions: list[Subscription] = []
    for number in range(count):
        lat, lng = _place(number // EACH)
        wanted = Wanted("public", Circle(lat, lng, 1000.0), None, timedelta(hours=26))
        subscriptions.append(hub.admit(wanted))
    now, spent = datetime.now(UTC), []
    gc.collect()
    for position in range(1, 2001):
        lat, lng = _place(position % (1_000 // EACH))
        reading = StoredReading("public", f"s{position % 100}", lat, lng, 1, 5.0, "µg/m³", now)
        event = Event(position, now, (reading,))
        begin = time.perf_counter()
        hub.dispatch(event)
        spent.append(time.perf_counter() - begin)
        for each in subscriptions[:1000]:
            each.take()
    return statistics.median(spent)
