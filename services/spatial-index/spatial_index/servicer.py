"""The spatial-index service over gRPC."""

import math
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial

from google.protobuf.empty_pb2 import Empty

from geomesh.spatial_index.v1 import spatial_index_pb2 as pb
from geomesh.spatial_index.v1.spatial_index_pb2_grpc import SpatialIndexServiceServicer
from meshkit.batch import partition
from meshkit.context import current
from meshkit.paging import PageToken
from spatial_index import aside, cells, convert
from spatial_index.aside import Aside
from spatial_index.encoding import encode
from spatial_index.entities import Entities
from spatial_index.settings import Settings

_DEFAULT_LIMIT = 10
_DEFAULT_PAGE_SIZE = 100
_LARGEST_PAGE_SIZE = 1_000
_MOST_ERRORS = 1_000
"""Errors that a reply explains; it counts them all."""


class SpatialIndexServicer(SpatialIndexServiceServicer):
    """Translates; the grids are known by `cells`, `aside` and `encoding`, the entities by `entities`."""

    def __init__(self, settings: Settings, entities: Entities) -> None:
        self._entities = entities
        self._aside = Aside(settings.max_cover_cells)
        self._clock_skew = timedelta(seconds=settings.max_clock_skew_seconds)

    async def EncodeLocation(self, request: pb.EncodeLocationRequest, _context: object) -> pb.EncodeLocationResponse:
        """Names the cells that hold a location."""
        wanted = convert.grids(request)
        return convert.encoding(wanted, encode(request.lat, request.lng, wanted))

    async def BatchEncodeLocations(
        self, request: pb.BatchEncodeLocationsRequest, _context: object
    ) -> pb.BatchEncodeLocationsResponse:
        """Names the cells that hold many locations."""
        wanted = convert.grids(request)
        good = partition(request.locations)
        results = [pb.EncodeLocationResponse()] * len(request.locations)
        for index, location in zip(good.indices, good.items, strict=True):
            results[index] = convert.encoding(wanted, encode(location.lat, location.lng, wanted))
        return pb.BatchEncodeLocationsResponse(results=results, errors=good.errors)

    async def GetCell(self, request: pb.GetCellRequest, _context: object) -> pb.Cell:
        """Describes a cell."""
        return convert.cell(cells.describe(cells.require_cell(request.cell, "cell")))

    async def GridDisk(self, request: pb.GridDiskRequest, _context: object) -> pb.GridDiskResponse:
        """Returns the cells around a cell."""
        origin = cells.require_cell(request.cell, "cell")
        around = cells.ring if request.shape == pb.DISK_SHAPE_RING else cells.disk
        return pb.GridDiskResponse(cells=around(origin, request.k))

    async def CoverArea(self, request: pb.CoverAreaRequest, _context: object) -> pb.CoverAreaResponse:
        """Covers an area with cells."""
        return await self._aside.cover(request)

    async def UpsertEntities(self, request: pb.UpsertEntitiesRequest, _context: object) -> pb.UpsertEntitiesResponse:
        """Stores entities."""
        reply = pb.UpsertEntitiesResponse()
        await self._store(request.entities, reply)
        return reply

    async def ReportPositions(
        self, request_iterator: AsyncIterator[pb.ReportPositionsRequest], _context: object
    ) -> pb.UpsertEntitiesResponse:
        """Stores entities as they come, chunk by committed chunk."""
        reply = pb.UpsertEntitiesResponse()
        async for chunk in request_iterator:
            await self._store(chunk.entities, reply)
        return reply

    async def GetEntity(self, request: pb.GetEntityRequest, _context: object) -> pb.Entity:
        """Returns an entity."""
        return convert.entity_message(await self._entities.get(_tenant(), request.entity_id))

    async def DeleteEntity(self, request: pb.DeleteEntityRequest, _context: object) -> Empty:
        """Deletes an entity."""
        await self._entities.delete(_tenant(), request.entity_id)
        return Empty()

    async def FindNearby(self, request: pb.FindNearbyRequest, _context: object) -> pb.FindNearbyResponse:
        """Finds the entities nearest to a point."""
        found = await self._entities.nearby(
            _tenant(),
            request.lat,
            request.lng,
            limit=request.limit or _DEFAULT_LIMIT,
            radius_meters=request.radius_meters if request.HasField("radius_meters") else math.inf,
            filters=convert.filters(request, datetime.now(UTC)),
        )
        return convert.nearby_reply(found)

    async def FindWithin(self, request: pb.FindWithinRequest, _context: object) -> pb.FindWithinResponse:
        """Returns a page of the entities within a region."""
        page = await self._entities.within(
            _tenant(),
            await aside.read(request, partial(convert.region, request)),
            after=PageToken.decode(request.page_token, query=request, types=(str, str)) or ("", ""),
            page_size=min(request.page_size or _DEFAULT_PAGE_SIZE, _LARGEST_PAGE_SIZE),
            filters=convert.filters(request, datetime.now(UTC)),
        )
        reply = convert.page_reply(page.entities)
        if page.more:
            last = page.entities[-1]
            reply.next_page_token = PageToken.encode((last.entity_id, last.tenant), query=request)
        return reply

    async def _store(self, entities: Iterable[pb.Entity], reply: pb.UpsertEntitiesResponse) -> None:
        """Stores the good ones of a chunk and counts it in the reply."""
        latest = datetime.now(UTC) + self._clock_skew
        received = reply.accepted_count + reply.rejected_count
        good = partition(entities, lambda message: convert.check_entity(message, latest), offset=received)
        stored = await self._entities.upsert(_tenant(), map(convert.entity, good.items))
        reply.accepted_count += len(good.items)
        reply.superseded_count += len(good.items) - stored
        reply.rejected_count += len(good.errors)
        reply.errors.extend(good.errors[: _MOST_ERRORS - len(reply.errors)])


def _tenant() -> str:
    return current().identity.tenant
