"""A real spatial-index service on a database of its own, and callers of several tenants."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from pydantic import SecretStr

from geomesh.spatial_index.v1 import spatial_index_pb2 as pb
from geomesh.spatial_index.v1 import spatial_index_pb2_grpc
from geomesh.types.v1.types_pb2 import Location
from meshkit.postgres import Postgres
from meshkit.serve import running
from spatial_index.entities import Entities
from spatial_index.repository import EntityRepository
from spatial_index.servicer import SpatialIndexServicer
from spatial_index.settings import Settings
from tests.calling import BaseCaller, callers
from tests.meshkit.conftest import Issuer, issuer

__all__ = ["issuer"]

START = datetime(2024, 5, 1, tzinfo=UTC)


def entity(entity_id: str = "ship", lat: float = 1.0, lng: float = 2.0, seconds: float = 0.0, **more: Any) -> pb.Entity:
    """Returns an entity, so many seconds after the tests' beginning."""
    message = pb.Entity(entity_id=entity_id, location=Location(lat=lat, lng=lng), **more)
    message.time.FromDatetime(START + timedelta(seconds=seconds))
    return message


def struct(**values: Any) -> Struct:
    """Returns attributes."""
    message = Struct()
    message.update(values)
    return message


def area(*positions: tuple[float, float]) -> pb.Geometry:
    """Returns a polygon of one ring, given without its last position."""
    ring = [list(position) for position in (*positions, positions[0])]
    return ParseDict({"type": "Polygon", "coordinates": [ring]}, pb.Geometry())


@dataclass(frozen=True)
class Caller(BaseCaller):
    """Calls the service with one token, or none."""

    async def upsert(self, *entities: pb.Entity) -> pb.UpsertEntitiesResponse:
        """Stores a batch."""
        reply: pb.UpsertEntitiesResponse = await self.call(
            "UpsertEntities", pb.UpsertEntitiesRequest(entities=entities)
        )
        return reply

    async def report(self, *chunks: Sequence[pb.Entity]) -> pb.UpsertEntitiesResponse:
        """Stores the chunks of one stream."""

        async def requests() -> AsyncIterator[pb.ReportPositionsRequest]:
            for chunk in chunks:
                yield pb.ReportPositionsRequest(entities=chunk)

        reply: pb.UpsertEntitiesResponse = await self.stub.ReportPositions(
            requests(), metadata=self.metadata, timeout=30
        )
        return reply

    async def get(self, entity_id: str = "ship") -> pb.Entity:
        """Gets an entity."""
        found: pb.Entity = await self.call("GetEntity", pb.GetEntityRequest(entity_id=entity_id))
        return found

    async def nearby(self, lat: float, lng: float, **fields: Any) -> list[pb.NearbyEntity]:
        """Finds what is near."""
        reply = await self.call("FindNearby", pb.FindNearbyRequest(lat=lat, lng=lng, **fields))
        return list(reply.results)

    async def within(self, **fields: Any) -> list[str]:
        """Returns the ids of the first page of what lies within a region."""
        reply = await self.call("FindWithin", pb.FindWithinRequest(**fields))
        return [found.entity_id for found in reply.entities]


As = Callable[..., Caller]


@pytest.fixture
async def database(database_url: Callable[[str], str]) -> AsyncIterator[Postgres]:
    """The migrated, empty database in the service's own role."""
    database = Postgres(Settings(postgres_dsn=SecretStr(database_url("spatial-index"))))
    await database.start()
    yield database
    await database.close()


@pytest.fixture
def repository(database: Postgres) -> EntityRepository:
    """The repository on that database."""
    return EntityRepository(database)


@pytest.fixture
async def as_tenant(issuer: tuple[Issuer, int], database: Postgres) -> AsyncIterator[As]:
    """Returns callers of a server that runs the service as `python -m spatial_index` does, one for each tenant."""
    tokens, port = issuer
    settings = Settings(port=0, metrics_port=0, auth_address=f"127.0.0.1:{port}", drain_notice_seconds=0)
    servicer = SpatialIndexServicer(settings, Entities(EntityRepository(database)))
    stub = spatial_index_pb2_grpc.SpatialIndexServiceStub
    async with callers(Caller, stub, tokens, settings, servicer) as caller:
        yield caller


@pytest.fixture
def acme(as_tenant: As) -> Caller:
    """A user of the tenant acme."""
    return as_tenant("acme")


@pytest.fixture
def operator(as_tenant: As) -> Caller:
    """One who writes what everyone reads."""
    return as_tenant("public")


@pytest.fixture
def anyone(as_tenant: As) -> Caller:
    """A caller without a token."""
    return as_tenant(None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bare() -> AsyncIterator[Caller]:
    """A caller without a token, of a service whose database nothing that is tested needs."""
    settings = Settings(
        port=0,
        metrics_port=0,
        drain_notice_seconds=0,
        max_cover_cells=5_000,
        postgres_dsn=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"),
    )
    servicer = SpatialIndexServicer(settings, Entities(EntityRepository(Postgres(settings))))
    async with (
        running(settings, servicers=[servicer]) as ports,
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        yield Caller(spatial_index_pb2_grpc.SpatialIndexServiceStub(channel), ())
