"""Takes positions in, as a batch or as a stream of chunks, by the one rule of all batches."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from geomesh.trajectory.v1 import trajectory_pb2 as pb
from geomesh.types.v1.types_pb2 import ItemError
from meshkit.batch import partition
from trajectory.compute import compute
from trajectory.convert import checker, positions
from trajectory.positions import Positions
from trajectory.trajectories import Trajectories

MAX_ERRORS: Final = 1_000
"""Errors that a reply explains; it counts them all."""


class Ingest:
    """One batch or stream on its way into the store, and the reply that counts what became of it."""

    def __init__(self, trajectories: Trajectories, tenant: str, clock_skew: timedelta) -> None:
        self._trajectories = trajectories
        self._tenant = tenant
        self._clock_skew = clock_skew
        self._received = 0
        self._reply = pb.IngestPositionsResponse()

    async def batch(self, messages: Sequence[pb.Position]) -> pb.IngestPositionsResponse:
        """Stores one batch."""
        await self._store(await self._check(messages))
        return self._reply

    async def stream(self, chunks: AsyncIterator[pb.IngestPositionsRequest]) -> pb.IngestPositionsResponse:
        """Stores chunk after chunk, each while the next one is received and checked."""
        storing: asyncio.Task[None] | None = None
        try:
            async for chunk in chunks:
                good = await self._check(chunk.positions)
                if storing is not None:
                    await storing
                storing = asyncio.create_task(self._store(good))
            if storing is not None:
                await storing
        finally:
            if storing is not None:
                storing.cancel()
                await asyncio.gather(storing, return_exceptions=True)
        return self._reply

    async def _check(self, messages: Sequence[pb.Position]) -> Positions:
        latest = datetime.now(UTC) + self._clock_skew

        def work() -> tuple[Positions, list[ItemError]]:
            parts = partition(messages, checker(latest), offset=self._received)
            return positions(parts.items), parts.errors

        good, errors = await compute(len(messages), work)
        self._received += len(messages)
        self._reply.rejected_count += len(errors)
        self._reply.errors.extend(errors[: MAX_ERRORS - len(self._reply.errors)])
        return good

    async def _store(self, good: Positions) -> None:
        added = await self._trajectories.add(self._tenant, good)
        self._reply.accepted_count += len(good)
        self._reply.duplicate_count += len(good) - added
