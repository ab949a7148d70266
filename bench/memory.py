"""Air quality: what a station's long past costs, beside everything else that is stored."""

import asyncio
import statistics
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc

from bench.mesh import Mesh
from bench.report import Row, ceiling
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.types.v1.types_pb2 import Location

FIRST = datetime(2010, 1, 1, tzinfo=UTC)
HOURS = 10 * 8766
YEAR = 8760
PM25 = pb.POLLUTANT_PM25
OTHERS = (pb.POLLUTANT_PM10, pb.POLLUTANT_O3, pb.POLLUTANT_NO2, pb.POLLUTANT_SO2, pb.POLLUTANT_CO)
CHUNK, CALLS = 5_000, 21
SERVICE = "/geomesh.airquality.v1.AirQualityService/"


def history(mesh: Mesh) -> Iterator[Row]:
    """Asks for a year and for ten of a station with ten years of hours; the median of calls one after another."""
    took = asyncio.run(_measure(mesh))
    yield ceiling("GetHistory, a year of one station by day", took["year by day"], "ms", 50.0)
    yield ceiling("GetHistory, a year of one station by hour", took["year by hour"], "ms", 50.0)
    yield ceiling("GetHistory, a year of six pollutants by hour", took["year of six by hour"], "ms", 100.0)
    yield ceiling("GetHistory, ten years by day", took["ten years by day"], "ms", 100.0)
    yield ceiling("GetHistory, ten years by month with profiles", took["ten years by month"], "ms", 100.0)


async def _measure(mesh: Mesh) -> dict[str, float]:
    station_id = f"bench-{uuid.uuid4().hex[:12]}"
    metadata = tuple(mesh.metadata.items())
    async with grpc.aio.insecure_channel(
        mesh.address("airquality"), options=[("grpc.max_receive_message_length", 64 << 20)]
    ) as channel:
        await _call(channel, "UpsertStations", pb.UpsertStationsRequest, pb.UpsertStationsResponse)(
            pb.UpsertStationsRequest(
                stations=[pb.Station(station_id=station_id, provider="bench", location=Location(lat=1.0, lng=-30.0))]
            ),
            metadata=metadata,
        )
        send = channel.stream_unary(
            SERVICE + "IngestReadings",
            request_serializer=pb.IngestReadingsRequest.SerializeToString,
            response_deserializer=pb.IngestReadingsResponse.FromString,
        )
        reply = await send(_chunks(station_id), metadata=metadata, timeout=120)
        assert reply.accepted_count == reply.changed_count == HOURS + len(OTHERS) * YEAR, reply
        ask = _call(channel, "GetHistory", pb.GetHistoryRequest, pb.History)
        wanted: dict[str, tuple[int, pb.Granularity.ValueType, int, pb.Pollutant.ValueType]] = {
            "year by day": (365, pb.GRANULARITY_DAILY, 365, PM25),
            "year by hour": (365, pb.GRANULARITY_HOURLY, YEAR, PM25),
            "year of six by hour": (365, pb.GRANULARITY_HOURLY, YEAR, pb.POLLUTANT_UNSPECIFIED),
            "ten years by day": (3652, pb.GRANULARITY_DAILY, 3652, PM25),
            "ten years by month": (3652, pb.GRANULARITY_MONTHLY, 120, PM25),
        }
        took = {}
        for name, (days, granularity, intervals, pollutant) in wanted.items():
            request = pb.GetHistoryRequest(
                station_id=station_id,
                granularity=granularity,
                index_version="2024",
                profiles=granularity == pb.GRANULARITY_MONTHLY,
                pollutant=pollutant,
            )
            request.start_time.FromDatetime(FIRST)
            request.end_time.FromDatetime(FIRST + timedelta(days=days))
            took[name] = await _median_milliseconds(ask, request, metadata, intervals)
    return took


def _call(channel: grpc.aio.Channel, method: str, request: Any, response: Any) -> Any:
    return channel.unary_unary(
        SERVICE + method, request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )


async def _median_milliseconds(ask: Any, request: pb.GetHistoryRequest, metadata: Any, intervals: int) -> float:
    took = []
    for _ in range(CALLS):
        started = time.perf_counter()
        reply = await ask(request, metadata=metadata, timeout=30)
        took.append((time.perf_counter() - started) * 1000)
        assert len(reply.intervals) == intervals, len(reply.intervals)
    return statistics.median(took)


def _chunks(station_id: str) -> Iterator[pb.IngestReadingsRequest]:
    """Yields ten years of one pollutant and the first of them of the others."""
    for pollutant, hours in ((PM25, HOURS), *((each, YEAR) for each in OTHERS)):
        for begin in range(0, hours, CHUNK):
            request = pb.IngestReadingsRequest()
            for hour in range(begin, min(begin + CHUNK, hours)):
                value = 5.0 + hour % 24 + hour // 24 % 30
                reading = request.readings.add(station_id=station_id, pollutant=pollutant, value=value)
                reading.time.FromDatetime(FIRST + timedelta(hours=hour))
            yield request
