"""Geometry that takes long, done where it holds nobody up."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import anyio
from anyio import BrokenWorkerProcess, to_process
from google.protobuf.message import Message

from geomesh.spatial_index.v1 import spatial_index_pb2 as pb
from meshkit.errors import MeshError, Unavailable
from spatial_index import convert, geojson
from spatial_index.area import Area
from spatial_index.cover import cover, estimate_size

# About a hundred corners, which are read in a millisecond; ten thousand take a tenth of a second.
_SMALL_BYTES: Final = 4_096
_FEW_CELLS: Final = 5_000

ResultT = TypeVar("ResultT")


class Aside:
    """Covers areas: small ones at once, others in one process that is started when the first comes.

    A thread would not do for these: H3 holds the interpreter's lock until it has the last cell, and ten thousand corners
    and fifty thousand cells take it seconds. Those who wait for the process wait in line, each as long as its deadline.
    """

    def __init__(self, max_cells: int) -> None:
        """Makes it.

        Args:
            max_cells: Cells before compaction that it works for at most.
        """
        self._max_cells = max_cells
        self._one = anyio.CapacityLimiter(1)

    async def cover(self, request: pb.CoverAreaRequest) -> pb.CoverAreaResponse:
        """Returns the cells that cover an area.

        Raises:
            InvalidInput: The area is none, or takes too many cells.
        """
        if request.ByteSize() <= _SMALL_BYTES:
            area = geojson.area(request.area, "area")
            size = estimate_size(area, request.resolution, convert.CONTAINMENTS[request.containment])
            if not _FEW_CELLS < size <= self._max_cells:
                return _covered(area, request, self._max_cells)
        work = partial(_cover_serialized, request.SerializeToString(), self._max_cells)
        try:
            done = await self._run(work)
        except BrokenWorkerProcess:  # as when the kernel needed its memory; the next attempt begins another
            try:
                done = await self._run(work)
            except BrokenWorkerProcess as error:
                raise Unavailable("the area could not be covered", dependency="geometry process") from error
        if isinstance(done, MeshError):
            raise done
        return pb.CoverAreaResponse.FromString(done)

    async def _run(self, work: Callable[[], ResultT]) -> ResultT:
        # One whose caller went away is killed, and the next begins another: nothing is lost with it but the time.
        return await to_process.run_sync(work, cancellable=True, limiter=self._one)


async def read(request: Message, reading: Callable[[], ResultT]) -> ResultT:
    """Returns what `reading` makes of a request, in a thread where it is large: Python lets others in between."""
    return reading() if request.ByteSize() <= _SMALL_BYTES else await asyncio.to_thread(reading)


def _covered(area: Area, request: pb.CoverAreaRequest, max_cells: int) -> pb.CoverAreaResponse:
    containment = convert.CONTAINMENTS[request.containment]
    found = cover(area, request.resolution, containment, compact=request.compact, max_cells=max_cells)
    return pb.CoverAreaResponse(cells=found.cells, cell_count=found.cell_count)


def _cover_serialized(serialized: bytes, max_cells: int) -> bytes | MeshError:
    """Runs in the other process, which a refusal must not end."""
    request = pb.CoverAreaRequest.FromString(serialized)
    try:
        return _covered(geojson.area(request.area, "area"), request, max_cells).SerializeToString()
    except MeshError as error:
        return error
