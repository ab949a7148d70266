"""A real air-quality service on a database of its own, callers of several tenants, and a geocoder beside it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from airquality.events import EventBatch, StoredReading
from airquality.forecast.registry import Models
from airquality.forecast_repository import ForecastRepository
from airquality.settings import Settings
from airquality.wiring import assemble
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.airquality.v1 import airquality_pb2_grpc
from geomesh.geocoder.v1 import geocoder_pb2, geocoder_pb2_grpc
from meshkit.cache import Cache
from meshkit.channels import Upstream
from meshkit.postgres import Postgres
from tests.calling import BaseCaller, callers
from tests.meshkit.conftest import Issuer, issuer

__all__ = ["issuer"]

START = datetime(2020, 8, 20, tzinfo=UTC)
PM25, PM10, O3, NO2, SO2, CO = 1, 2, 3, 4, 5, 6
STALL_SECONDS = 30.0
# What a caller does not read waits in the server after 64 kB, not after the megabytes that HTTP/2 windows grow to.
_NARROW = (("grpc.http2.bdp_probe", 0),)
HOUR, EIGHT_HOURS, DAY, NOWCAST = 1, 2, 3, 4


def at(hours: float) -> datetime:
    """Returns the time so many hours after the tests' beginning."""
    return START + timedelta(hours=hours)


def stamp(hours: float) -> Timestamp:
    """Returns the same time as a message."""
    message = Timestamp()
    message.FromDatetime(at(hours))
    return message


def station(station_id: str = "here", lat: float = 40.0, lng: float = -100.0, **more: Any) -> pb.Station:
    """Returns a station to register."""
    message = pb.Station(**({"station_id": station_id, "provider": "tests"} | more))
    message.location.lat, message.location.lng = lat, lng
    return message


def reading(
    hours: float = 0.0, value: float = 12.0, station_id: str = "here", pollutant: int = PM25, **more: Any
) -> pb.Reading:
    """Returns a reading so many hours after the tests' beginning."""
    message = pb.Reading(station_id=station_id, pollutant=pb.Pollutant.ValueType(pollutant), value=value, **more)
    message.time.CopyFrom(stamp(hours))
    return message


@dataclass(frozen=True)
class Caller(BaseCaller):
    """Calls the service with one token, or none."""

    async def register(self, *stations: pb.Station) -> pb.UpsertStationsResponse:
        """Registers stations."""
        reply: pb.UpsertStationsResponse = await self.call(
            "UpsertStations", pb.UpsertStationsRequest(stations=stations)
        )
        return reply

    async def ingest(self, *readings: pb.Reading) -> pb.IngestReadingsResponse:
        """Stores a batch."""
        reply: pb.IngestReadingsResponse = await self.call(
            "BatchIngestReadings", pb.BatchIngestReadingsRequest(readings=readings)
        )
        return reply

    async def stream(self, *chunks: list[pb.Reading]) -> pb.IngestReadingsResponse:
        """Stores chunks of one stream."""

        async def requests() -> AsyncIterator[pb.IngestReadingsRequest]:
            for chunk in chunks:
                yield pb.IngestReadingsRequest(readings=chunk)

        reply: pb.IngestReadingsResponse = await self.stub.IngestReadings(
            requests(), metadata=self.metadata, timeout=30
        )
        return reply

    async def current(self, lat: float = 40.0, lng: float = -100.0, hours: float = 0.5, **more: Any) -> Any:
        """Asks for the air at a place, so many hours after the tests' beginning."""
        request = pb.GetCurrentConditionsRequest(lat=lat, lng=lng, at=stamp(hours), **more)
        return await self.call("GetCurrentConditions", request)

    async def readings(self, **fields: Any) -> pb.ListReadingsResponse:
        """Lists readings."""
        reply: pb.ListReadingsResponse = await self.call("ListReadings", pb.ListReadingsRequest(**fields))
        return reply

    async def stations(self, **fields: Any) -> pb.ListStationsResponse:
        """Lists stations."""
        reply: pb.ListStationsResponse = await self.call("ListStations", pb.ListStationsRequest(**fields))
        return reply

    async def history(self, start: float, end: float, **fields: Any) -> pb.History:
        """Asks for the history between two times in hours after the tests' beginning."""
        request = pb.GetHistoryRequest(start_time=stamp(start), end_time=stamp(end), **fields)
        reply: pb.History = await self.call("GetHistory", request)
        return reply

    def watch(self, after: str = "", **area: Any) -> "Watch":
        """Watches an area, all readings of whatever age."""
        request = pb.WatchConditionsRequest(after_event_id=after, **area)
        request.max_age.FromSeconds(100 * 365 * 86_400)
        return Watch(self.stub.WatchConditions(request, metadata=self.metadata))


class Watch:
    """A stream of messages."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.event_id = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.call.cancel()

    async def next(self, seconds: float = 10.0) -> pb.WatchConditionsResponse:
        """Returns the next message that is no heartbeat."""
        while (message := await self.any(seconds)).event == pb.WATCH_EVENT_HEARTBEAT:
            pass
        return message

    async def any(self, seconds: float = 10.0) -> pb.WatchConditionsResponse:
        """Returns the next message."""
        async with asyncio.timeout(seconds):
            message = await self.call.read()
        assert message is not grpc.aio.EOF, "the stream has ended"
        assert isinstance(message, pb.WatchConditionsResponse)
        self.event_id = message.event_id
        return message


def told(message: pb.WatchConditionsResponse) -> list[tuple[str, float]]:
    """Returns the stations and values of a message."""
    return [(station.station_id, latest.value) for station in message.stations for latest in station.latest]


As = Callable[..., Caller]


class Geocoder(geocoder_pb2_grpc.GeocoderServiceServicer):
    """Knows one place, and notes what it is asked and with which token."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def Geocode(self, request: geocoder_pb2.GeocodeRequest, context: Any) -> geocoder_pb2.GeocodeResponse:
        """Answers to `Somewhere`."""
        self.asked.append((request.q, dict(context.invocation_metadata()).get("authorization", "")))
        reply = geocoder_pb2.GeocodeResponse()
        if request.q == "Somewhere":
            result = reply.results.add()
            result.place.name = "Somewhere, Nebraska"
            result.location.lat, result.location.lng = 40.0, -100.0
        return reply


class Events:
    """A stream of events that a test speaks into."""

    def __init__(self) -> None:
        self._batches: asyncio.Queue[EventBatch] = asyncio.Queue()
        self._count = 0

    def tell(self, *readings: StoredReading) -> None:
        """Tells of readings that were stored together."""
        self._count += 1
        self._batches.put_nowait(EventBatch(str(self._count), readings))

    async def follow(self, after: str) -> AsyncIterator[EventBatch]:
        """Yields every batch."""
        while True:
            yield await self._batches.get()


@pytest.fixture
async def events() -> Events:
    """What the service follows."""
    return Events()


@pytest.fixture
async def database(database_url: Callable[[str], str]) -> AsyncIterator[Postgres]:
    """The migrated, empty database in the service's own role."""
    database = Postgres(Settings(postgres_dsn=SecretStr(database_url("airquality"))))
    await database.start()
    yield database
    await database.close()


@pytest.fixture
async def geocoder() -> AsyncIterator[tuple[Geocoder, int]]:
    """A geocoder that knows one place, and its port."""
    servicer = Geocoder()  # type: ignore[abstract]  # nothing but Geocode is called
    server = grpc.aio.server()
    geocoder_pb2_grpc.add_GeocoderServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, port
    await server.stop(None)


@pytest.fixture
def models(database: Postgres) -> Models:
    """The models that serve; a test that stores one refreshes them."""
    return Models(ForecastRepository(database), check_seconds=3600)


@pytest.fixture
async def as_tenant(
    issuer: tuple[Issuer, int],
    database: Postgres,
    geocoder: tuple[Geocoder, int],
    database_url: Callable[[str], str],
    redis_url: str,
    events: "Events",
    models: Models,
) -> AsyncIterator[As]:
    """Returns callers of a server that runs the service as `python -m airquality` does, one for each tenant."""
    tokens, port = issuer
    settings = Settings(
        port=0,
        metrics_port=0,
        auth_address=f"127.0.0.1:{port}",
        postgres_dsn=SecretStr(database_url("airquality")),
        redis_url=SecretStr(redis_url),
        drain_notice_seconds=0,
        transaction_rows=5,
        watch_heartbeat_seconds=0.5,
        watch_stall_seconds=STALL_SECONDS,
        watch_waiting_updates=4,
    )
    upstream, cache = Upstream(f"127.0.0.1:{geocoder[1]}", "geocoder"), Cache(settings)
    servicer, _, parts = assemble(
        settings, database, cache, geocoder_pb2_grpc.GeocoderServiceStub(upstream.channel), events, models
    )
    stub = airquality_pb2_grpc.AirQualityServiceStub
    async with callers(Caller, stub, tokens, settings, servicer, [cache, upstream, *parts], _NARROW) as caller:
        yield caller


@pytest.fixture
def acme(as_tenant: As) -> Caller:
    """A user of the tenant acme."""
    return as_tenant("acme")


@pytest.fixture
def operator(as_tenant: As) -> Caller:
    """A user of the operator's tenant, whose rows are everybody's."""
    return as_tenant("public")


@pytest.fixture
def anyone(as_tenant: As) -> Caller:
    """A caller without a token."""
    return as_tenant(None)
