"""Air quality anywhere: the present at random points, and tiles of it."""

import asyncio
import math
import random
import re
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
import httpx
from google.api.httpbody_pb2 import HttpBody

from bench.air import CHUNK, METHOD, SECONDS, places_of, random_point
from bench.load import Load, ghz
from bench.mesh import Mesh, echo
from bench.report import Row, ceiling, in_turn, median, ratio
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.airquality.v1.airquality_pb2_grpc import AirQualityServiceStub
from geomesh.types.v1.types_pb2 import Location

if TYPE_CHECKING:  # only the stub file knows it
    from geomesh.airquality.v1.airquality_pb2_grpc import AirQualityServiceAsyncStub


def present(mesh: Mesh) -> Iterator[Row]:
    """The air now at random points, from what the process holds: each is interpolated, since none is asked for twice."""
    places = asyncio.run(places_of(mesh))
    asyncio.run(_report_now(mesh, places))
    _until_held(mesh, len(places))
    address = mesh.address("airquality")

    def random_points(per_second: int = 0) -> Load:
        requests = [dict(zip(("lat", "lng"), random_point(places)[:2], strict=True)) for _ in range(20_000)]
        return ghz(
            address,
            METHOD,
            requests,
            protoset=mesh.protoset,
            seconds=SECONDS,
            metadata=mesh.metadata,
            per_second=per_second,
        )

    with echo(mesh) as bare:

        def nothing() -> float:
            message = {"lat": 37.77, "lng": -122.42, "resolution": [9]}
            method = "geomesh.spatial_index.v1.SpatialIndexService.EncodeLocation"
            return ghz(
                bare, method, message, protoset=mesh.protoset, seconds=SECONDS, metadata=mesh.metadata
            ).per_second

        ours, limit = in_turn(lambda: random_points().per_second, nothing)
    yield ratio(
        "GetCurrentConditions now, random points, interpolated / bare grpc.aio echo", ours, limit, "req/s", 0.35
    )
    p99_ms = median(lambda: random_points(per_second=200).p99_ms)
    yield ceiling("the same at 200 a second, p99", p99_ms, "ms", 25)


def tiles(mesh: Mesh) -> Iterator[Row]:
    """Heat maps of the present: of the places of all stations at zooms 4 to 10, each once, and one again and again."""
    places = asyncio.run(places_of(mesh))
    asyncio.run(_report_now(mesh, places))
    _until_held(mesh, len(places))
    requests = list(_tiles_of(places))
    random.shuffle(requests)
    with grpc.insecure_channel(mesh.address("airquality")) as channel:
        call = channel.unary_unary(
            "/geomesh.airquality.v1.AirQualityService/GetTile",
            request_serializer=pb.GetTileRequest.SerializeToString,
            response_deserializer=HttpBody.FromString,
        )

        def one(request: pb.GetTileRequest) -> float:
            started = time.perf_counter()
            call(request, metadata=tuple(mesh.metadata.items()))
            return (time.perf_counter() - started) * 1000

        cold = [one(request) for request in requests[:200]]
        cached = [one(requests[0]) for _ in range(200)]
        vector = [one(pb.GetTileRequest(z=each.z, x=each.x, file=each.file[:-3] + "mvt")) for each in requests[:100]]
    yield ceiling("GetTile, PNG of 256 pixels, cold, median of 200 tiles", statistics.median(cold), "ms", 50)
    yield ceiling("GetTile, the same, cached", statistics.median(cached), "ms", 5)
    yield ceiling("GetTile, vector tile with contours and stations, cold", statistics.median(vector), "ms", 100)


def _tiles_of(places: list[tuple[float, float]]) -> Iterator[pb.GetTileRequest]:
    found = set()
    for lat, lng in places:
        for zoom in range(4, 11):
            row = (0.5 - math.atanh(math.sin(math.radians(lat))) / (2 * math.pi)) * 2**zoom
            found.add((zoom, int((lng + 180) / 360 * 2**zoom), int(row)))
    for zoom, column, number in sorted(found):
        yield pb.GetTileRequest(z=zoom, x=column, file=f"{number}.png")


async def _report_now(mesh: Mesh, places: list[tuple[float, float]]) -> None:
    """Lets a station at each of the places report PM2.5 and O3 of this hour, as the operator's."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    stations = [
        pb.Station(
            station_id=f"bench-now-{number}", provider="bench", name="bench", location=Location(lat=lat, lng=lng)
        )
        for number, (lat, lng) in enumerate(places)
    ]
    readings = []
    for number in range(len(places)):
        for pollutant, value in ((pb.POLLUTANT_PM25, 10 + number % 40), (pb.POLLUTANT_O3, 30 + number % 30)):
            for period in (pb.AVERAGING_PERIOD_HOUR, pb.AVERAGING_PERIOD_NOWCAST):
                reading = pb.Reading(
                    station_id=f"bench-now-{number}", pollutant=pollutant, value=value, averaging_period=period
                )
                reading.time.FromDatetime(hour)
                readings.append(reading)
    metadata = tuple(mesh.metadata.items())
    async with grpc.aio.insecure_channel(mesh.address("airquality")) as channel:
        stub: AirQualityServiceAsyncStub = AirQualityServiceStub(channel)
        for start in range(0, len(stations), 1000):
            await stub.UpsertStations(
                pb.UpsertStationsRequest(stations=stations[start : start + 1000]), metadata=metadata
            )
        for start in range(0, len(readings), CHUNK):
            reply = await stub.BatchIngestReadings(
                pb.BatchIngestReadingsRequest(readings=readings[start : start + CHUNK]), metadata=metadata
            )
            assert not reply.errors, reply.errors[:3]


def _until_held(mesh: Mesh, stations: int) -> None:
    """Waits until the process holds as many stations' newest readings, which its metrics tell."""
    deadline = time.monotonic() + 60
    url = f"http://127.0.0.1:{mesh.stack.ports.metrics('airquality', 0)}/metrics"
    while time.monotonic() < deadline:
        found = re.search(r"^geomesh_airquality_latest_stations (\S+)", httpx.get(url).text, re.MULTILINE)
        if found and float(found[1]) >= stations:
            return
        time.sleep(0.5)
    raise AssertionError(f"the newest readings of {stations} stations are not held")
