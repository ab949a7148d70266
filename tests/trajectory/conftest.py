"""A real trajectory service on a database of its own, and callers of several tenants."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from geomesh.trajectory.v1 import trajectory_pb2 as pb
from geomesh.trajectory.v1 import trajectory_pb2_grpc
from meshkit.postgres import Postgres
from tests.calling import BaseCaller, callers
from tests.meshkit.conftest import Issuer, issuer
from trajectory.repository import PositionRepository
from trajectory.servicer import TrajectoryServicer
from trajectory.settings import Settings
from trajectory.trajectories import Trajectories

__all__ = ["issuer"]

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "trajectories"
START = datetime(2022, 1, 3, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Returns the time so many seconds after the tests' beginning."""
    return START + timedelta(seconds=seconds)


def position(
    entity_id: str = "ship", seconds: float = 0.0, lat: float = 1.0, lng: float = 2.0, **more: Any
) -> pb.Position:
    """Returns a position."""
    message = pb.Position(entity_id=entity_id, **more)
    message.location.lat, message.location.lng = lat, lng
    message.time.FromDatetime(at(seconds))
    return message


def struct(**fields: Any) -> Struct:
    """Returns attributes."""
    message = Struct()
    message.update(fields)
    return message


def window(start: float | None = None, end: float | None = None) -> dict[str, Any]:
    """Returns the time filter of a request, in seconds after the tests' beginning."""
    bounds = {"start_time": start, "end_time": end}
    return {name: at(seconds) for name, seconds in bounds.items() if seconds is not None}


@dataclass(frozen=True)
class Caller(BaseCaller):
    """Calls the service with one token, or none."""

    async def ingest(self, *positions: pb.Position) -> pb.IngestPositionsResponse:
        """Stores a batch."""
        reply: pb.IngestPositionsResponse = await self.call(
            "BatchIngestPositions", pb.BatchIngestPositionsRequest(positions=positions)
        )
        return reply

    async def stream(self, *chunks: list[pb.Position]) -> pb.IngestPositionsResponse:
        """Stores chunks of one stream."""

        async def requests() -> AsyncIterator[pb.IngestPositionsRequest]:
            for chunk in chunks:
                yield pb.IngestPositionsRequest(positions=chunk)

        reply: pb.IngestPositionsResponse = await self.stub.IngestPositions(
            requests(), metadata=self.metadata, timeout=30
        )
        return reply

    async def track(self, entity_id: str = "ship", **fields: Any) -> pb.Trajectory:
        """Gets a track."""
        reply: pb.Trajectory = await self.call("GetTrajectory", pb.GetTrajectoryRequest(entity_id=entity_id, **fields))
        return reply


As = Callable[..., Caller]


@pytest.fixture
async def database(database_url: Callable[[str], str]) -> AsyncIterator[Postgres]:
    """The migrated, empty database in the service's own role."""
    database = Postgres(Settings(postgres_dsn=database_url("trajectory")))
    await database.start()
    yield database
    await database.close()


@pytest.fixture
def repository(database: Postgres) -> PositionRepository:
    """The repository on that database."""
    return PositionRepository(database)


@pytest.fixture
async def as_tenant(
    issuer: tuple[Issuer, int],
    database: Postgres,
) -> AsyncIterator[As]:
    """Returns callers of a server that runs the service as `python -m trajectory` does, one for each tenant."""
    tokens, port = issuer
    settings = Settings(port=0, metrics_port=0, auth_address=f"127.0.0.1:{port}", drain_notice_seconds=0)
    trajectories = Trajectories(PositionRepository(database), max_track_positions=2_500)
    servicer = TrajectoryServicer(trajectories, clock_skew_seconds=60.0)
    stub = trajectory_pb2_grpc.TrajectoryServiceStub
    async with callers(Caller, stub, tokens, settings, servicer) as caller:
        yield caller


@pytest.fixture
def acme(as_tenant: As) -> Caller:
    """A user of the tenant acme."""
    return as_tenant("acme")
