"""The spatial index among a hundred thousand entities."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime

import grpc

from bench.load import ghz
from bench.mesh import Mesh
from bench.report import Row, floor, median
from geomesh.spatial_index.v1 import spatial_index_pb2 as pb
from geomesh.spatial_index.v1 import spatial_index_pb2_grpc

ENTITIES = 100_000


def rows(mesh: Mesh) -> Iterator[Row]:
    """The ten nearest to random points."""
    fill(mesh)
    rate = median(lambda: find_nearby(mesh, seconds=5))
    yield floor(f"FindNearby of 10 among {ENTITIES:,} entities, random points", rate, "req/s", 1500)


def fill(mesh: Mesh) -> None:
    """Reports the entities."""
    asyncio.run(_report(mesh))


def find_nearby(mesh: Mesh, *, seconds: float) -> float:
    """Asks for the ten nearest to random points for a while, and returns how many were answered a second."""
    points = [{"lat": random.uniform(-60, 75), "lng": random.uniform(-180, 180), "limit": 10} for _ in range(20_000)]
    method = "geomesh.spatial_index.v1.SpatialIndexService.FindNearby"
    address = mesh.address("spatial-index")
    return ghz(address, method, points, protoset=mesh.protoset, seconds=seconds, metadata=mesh.metadata).per_second


async def _report(mesh: Mesh) -> None:
    drawn = random.Random(1)
    now = datetime.now(UTC)
    async with grpc.aio.insecure_channel(mesh.address("spatial-index")) as channel:
        stub: spatial_index_pb2_grpc.SpatialIndexServiceAsyncStub = spatial_index_pb2_grpc.SpatialIndexServiceStub(
            channel
        )

        def chunk(start: int) -> pb.ReportPositionsRequest:
            request = pb.ReportPositionsRequest()
            for number in range(start, start + 5_000):
                entity = request.entities.add(entity_id=f"bench-{number}", type="bench")
                entity.location.lat, entity.location.lng = drawn.uniform(-60, 75), drawn.uniform(-180, 180)
                entity.time.FromDatetime(now)
            return request

        chunks = (chunk(start) for start in range(0, ENTITIES, 5_000))
        reply = await stub.ReportPositions(chunks, metadata=tuple(mesh.metadata.items()))
    assert reply.accepted_count == ENTITIES, reply
