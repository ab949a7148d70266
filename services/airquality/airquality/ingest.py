"""Takes readings in: while the database works on some, the next are read, and never more than two lots wait."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol, Self

import numpy as np

from airquality.readings import UNKNOWN, Ints, Readings


class ReadingStore(Protocol):
    """What Ingest needs of a repository."""

    async def find_writable(self, tenant: str, station_ids: Collection[str]) -> dict[str, int]:
        """Returns the numbers of a tenant's own stations by their ids."""

    async def store_readings(self, tenant: str, readings: Readings) -> int:
        """Stores readings in the order of their keys, each key once; returns how many were new or corrected."""


class Ingest:
    """Opens the sessions in which readings come in."""

    def __init__(self, store: ReadingStore, *, transaction_rows: int) -> None:
        """Makes it.

        Args:
            store: Where readings go.
            transaction_rows: Readings of a session that are stored at once, at most but for the last chunk.
        """
        self._store = store
        self._transaction_rows = transaction_rows

    def session(self, tenant: str) -> "Session":
        """Returns a new session for one stream or batch."""
        return Session(self._store, tenant, self._transaction_rows)


class Session:
    """One stream of readings, used as a context: what is in work when it ends early is given up.

    Lots are stored one after another, in the order in which they came, so that of two readings with one key the last
    one counts.
    """

    def __init__(self, store: ReadingStore, tenant: str, transaction_rows: int) -> None:
        self._store = store
        self._tenant = tenant
        self._transaction_rows = transaction_rows
        self._numbers: dict[str, int] = {}
        self._waiting: list[Readings] = []
        self._waiting_rows = 0
        self._storing: asyncio.Task[int] | None = None
        self._changed = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.gather(self._storing, return_exceptions=True)

    async def numbers_of(self, station_ids: Sequence[str]) -> Ints:
        """Returns the stations' numbers in the database, UNKNOWN for those that the tenant may not write."""
        numbers = self._lookup(station_ids)
        unknown = {station_ids[place] for place in np.flatnonzero(numbers == UNKNOWN).tolist()}
        unknown = {each for each in unknown if "\0" not in each}  # which no column could hold
        if unknown and (found := await self._store.find_writable(self._tenant, unknown)):
            self._numbers |= found
            numbers = self._lookup(station_ids)
        return numbers

    async def add(self, readings: Readings) -> None:
        """Takes readings over; waits while the database is two lots behind."""
        if len(readings):
            self._waiting.append(readings)
            self._waiting_rows += len(readings)
        if self._storing is not None and self._storing.done():
            await self._settle()
        if self._waiting_rows >= self._transaction_rows:
            await self._settle()
        if self._storing is None and self._waiting:
            self._begin()

    async def finish(self) -> int:
        """Waits until everything is committed and returns how many rows were added or corrected."""
        await self._settle()
        if self._waiting:
            self._begin()
            await self._settle()
        return self._changed

    def _lookup(self, station_ids: Sequence[str]) -> Ints:
        numbers = self._numbers
        return np.fromiter((numbers.get(each, UNKNOWN) for each in station_ids), np.int64, len(station_ids))

    def _begin(self) -> None:
        readings = Readings.joined(self._waiting).last_by_key()
        self._waiting, self._waiting_rows = [], 0
        self._storing = asyncio.create_task(self._store.store_readings(self._tenant, readings))

    async def _settle(self) -> None:
        if self._storing is not None:
            storing, self._storing = self._storing, None
            try:
                self._changed += await storing
            except asyncio.CancelledError:
                self._storing = storing  # the stream was broken off: __aexit__ ends what is in work
                raise
