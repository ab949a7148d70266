"""Air quality: conditions and ingest."""

import asyncio
import random
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import uvloop

from airquality.contributions import wanted_of
from airquality.repository import QUERIES
from airquality.standards import standard_of
from bench.edge import PATH
from bench.load import ghz, h2load_grpc
from bench.mesh import Mesh, echo
from bench.report import Row, floor, in_turn, ratio
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.spatial_index.v1.spatial_index_pb2 import EncodeLocationRequest
from geomesh.types.v1.types_pb2 import Location

METHOD = "geomesh.airquality.v1.AirQualityService.GetCurrentConditions"
SECONDS = 3.0
RADIUS_METERS, MAX_AGE_SECONDS = 50_000.0, 3 * 3600.0
READINGS, CHUNK = 500_000, 5_000


def conditions(mesh: Mesh) -> Iterator[Row]:
    """At random points and times, against the same SQL on raw asyncpg; at one hot point, against the bare echo."""
    places = asyncio.run(places_of(mesh))

    def service() -> float:
        requests = [_request(*random_point(places)) for _ in range(20_000)]
        address = mesh.address("airquality")
        load = ghz(address, METHOD, requests, protoset=mesh.protoset, seconds=SECONDS, metadata=mesh.metadata)
        return load.per_second

    ours, limit = in_turn(service, lambda: uvloop.run(_raw(mesh, places)))
    yield ratio("GetCurrentConditions, random points / the same SQL on raw asyncpg", ours, limit, "/s", 0.40)

    with echo(mesh) as bare:
        at = datetime(2020, 8, 20, 2, tzinfo=UTC)
        hot = pb.GetCurrentConditionsRequest(lat=37.77, lng=-122.42)
        hot.at.FromDatetime(at)
        address, data = mesh.address("airquality"), _request(37.77, -122.42, at)
        ghz(address, METHOD, data, protoset=mesh.protoset, seconds=1, metadata=mesh.metadata)

        def cached() -> float:
            path = "/geomesh.airquality.v1.AirQualityService/GetCurrentConditions"
            return h2load_grpc(address, path, hot, seconds=SECONDS, headers=mesh.metadata).per_second

        def nothing() -> float:
            message = EncodeLocationRequest(lat=37.77, lng=-122.42, resolution=[9])
            return h2load_grpc(bare, PATH, message, seconds=SECONDS, headers=mesh.metadata).per_second

        ours, limit = in_turn(cached, nothing)
    yield ratio("GetCurrentConditions, one hot point / bare grpc.aio echo", ours, limit, "req/s", 0.60)


def ingest(mesh: Mesh) -> Iterator[Row]:
    """One stream of readings, all committed when it is acknowledged, against COPY of the same rows."""

    def streamed() -> float:
        return asyncio.run(_stream(mesh))

    ours, limit = in_turn(streamed, lambda: asyncio.run(_copy(mesh)), rounds=3)
    # COPY writes rows; ingest judges them, keeps hours and days beside them, and can tell new from known.
    yield ratio("IngestReadings, one stream / COPY of the same rows", ours, limit, "rows/s", 0.30)
    yield floor("IngestReadings, one stream, with quality control and rollups", ours, "rows/s", 30_000)


async def places_of(mesh: Mesh) -> list[tuple[float, float]]:
    """Returns where stations are that reported nearly every time of the sample."""
    connection = await asyncpg.connect(mesh.stack.owner_dsn())
    try:
        # Stations that reported nearly every time, so that nearly every question has an answer.
        rows = await connection.fetch(
            "SELECT lat, lng FROM airquality.stations WHERE id IN ("
            " SELECT station_id FROM airquality.readings WHERE pollutant = $1 AND time >= '2020-08-14'"
            " GROUP BY station_id HAVING count(*) > 350)",
            pb.POLLUTANT_PM25,
        )
    finally:
        await connection.close()
    return [(row["lat"], row["lng"]) for row in rows]


def random_point(places: list[tuple[float, float]]) -> tuple[float, float, datetime]:
    """Returns a point within some twenty kilometres of a station, and a moment of the sample."""
    lat, lng = random.choice(places)
    at = datetime(2020, 8, 14, 4, tzinfo=UTC) + timedelta(seconds=random.randrange(16 * 86_400))
    return lat + random.uniform(-0.2, 0.2), lng + random.uniform(-0.2, 0.2), at


def _request(lat: float, lng: float, at: datetime) -> dict[str, Any]:
    return {"lat": lat, "lng": lng, "at": at.isoformat().replace("+00:00", "Z")}


async def _raw(mesh: Mesh, places: list[tuple[float, float]]) -> float:
    """Runs the service's own statement on as many connections as it has, with nothing around it."""
    connections = [await asyncpg.connect(mesh.stack.service_dsn("airquality")) for _ in range(8)]
    statements = [await each.prepare(QUERIES["find_conditions"]) for each in connections]
    standard = standard_of("us_epa")
    wanted = wanted_of(standard.versions[standard.version_of("2015")])
    end, done = time.perf_counter() + SECONDS, 0

    async def work(statement: Any) -> None:
        nonlocal done
        while time.perf_counter() < end:
            lat, lng, at = random_point(places)
            where = ("public", lat, lng, at, RADIUS_METERS, MAX_AGE_SECONDS)
            await statement.fetch(*where, wanted.hours, wanted.nowcasts, False, wanted.earliest(at, MAX_AGE_SECONDS))
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(work(statement) for statement in statements))
    elapsed = time.perf_counter() - started
    for each in connections:
        await each.close()
    return done / elapsed


async def _stream(mesh: Mesh) -> float:
    station = f"bench-{uuid.uuid4().hex[:12]}"
    first = datetime(1990, 1, 1, tzinfo=UTC)
    async with grpc.aio.insecure_channel(mesh.address("airquality")) as channel:
        metadata = tuple(mesh.metadata.items())
        register = channel.unary_unary(
            "/geomesh.airquality.v1.AirQualityService/UpsertStations",
            request_serializer=pb.UpsertStationsRequest.SerializeToString,
            response_deserializer=pb.UpsertStationsResponse.FromString,
        )
        stations = [
            pb.Station(
                station_id=f"{station}-{n}", provider="bench", name="bench", location=Location(lat=1.0, lng=n / 10)
            )
            for n in range(100)
        ]
        await register(pb.UpsertStationsRequest(stations=stations), metadata=metadata)
        # Serialized beforehand: what is measured is the server, not this client.
        chunks = [_chunk(station, first, start).SerializeToString() for start in range(0, READINGS, CHUNK)]
        send = channel.stream_unary(
            "/geomesh.airquality.v1.AirQualityService/IngestReadings",
            request_serializer=lambda chunk: chunk,
            response_deserializer=pb.IngestReadingsResponse.FromString,
        )
        started = time.perf_counter()
        reply = await send(iter(chunks), metadata=metadata)
        elapsed = time.perf_counter() - started
    assert reply.accepted_count == reply.changed_count == READINGS, reply
    return READINGS / elapsed


def _chunk(station: str, first: datetime, start: int) -> pb.IngestReadingsRequest:
    request = pb.IngestReadingsRequest()
    for number in range(start, start + CHUNK):
        reading = request.readings.add(
            station_id=f"{station}-{number % 100}", pollutant=pb.POLLUTANT_PM25, value=float(number % 500) / 10
        )
        reading.time.FromDatetime(first + timedelta(hours=number // 100))
    return request


async def _copy(mesh: Mesh) -> float:
    """Copies as many rows of the same shape into a table that is like the service's, with its key and nothing else."""
    connection = await asyncpg.connect(mesh.stack.owner_dsn())
    try:
        await connection.execute(
            "DROP TABLE IF EXISTS airquality.bench_readings;"
            " CREATE TABLE airquality.bench_readings"
            " (LIKE airquality.readings INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)"
        )
        columns = ["station_id", "pollutant", "averaging_period", "time", "value", "unit"]
        first = datetime(1990, 1, 1, tzinfo=UTC)
        rows = [
            (n % 100, pb.POLLUTANT_PM25, 1, first + timedelta(hours=n // 100), float(n % 500) / 10, 1)
            for n in range(READINGS)
        ]
        started = time.perf_counter()
        await connection.copy_records_to_table(
            "bench_readings", schema_name="airquality", records=rows, columns=columns
        )
        return READINGS / (time.perf_counter() - started)
    finally:
        await connection.execute("DROP TABLE IF EXISTS airquality.bench_readings")
        await connection.close()
