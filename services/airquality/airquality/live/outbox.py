"""Events in Postgres: written with the readings that they tell of, and kept for a while."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import asyncpg
import numpy as np

from airquality.live.eventformat import Event, StationFacts, decode, encode
from airquality.readings import MICROSECONDS, Ints, Readings
from meshkit.postgres import Connection, Postgres, load_queries

QUERIES: Final = load_queries("airquality")

_CHANNEL: Final = "geomesh_airquality_outbox"
_RECENT: Final = timedelta(hours=48)
_CONNECT_SECONDS: Final = 2.0
_STATEMENT_SECONDS: Final = 10.0
_LEAD_EVERY_SECONDS: Final = 0.5


class Row(NamedTuple):
    """An event as it is stored."""

    position: int
    payload: bytes


class Bounds(NamedTuple):
    """The positions of the first event that is kept, and of the last one that was ever stored."""

    first: int
    last: int


async def append(connection: Connection, _tenant: str, readings: Readings, flags: Ints) -> None:
    """Writes the events of readings and their flags, as the last statement of the transaction that stores them."""
    if not len(readings):
        return
    numbers = np.unique(readings.station).tolist()
    facts = {
        row["id"]: StationFacts(row["tenant_id"], row["station_id"], row["provider"], row["lat"], row["lng"])
        for row in await connection.fetch(QUERIES["describe_stations"], numbers)
    }
    # What sensors say for their stations is told of these; the sensors' own readings are no stations' news.
    of_stations = np.isin(readings.station, list(facts))
    events = encode(readings.take(of_stations), facts, datetime.now(UTC), flags[of_stations])
    if events:
        await connection.execute(QUERIES["append_events"], events)


async def append_recent(connection: Connection, tenant: str, readings: Readings, flags: Ints) -> None:
    """Does that with the readings of the last two days: what a loader brings of the past is no news to anyone."""
    recent = readings.time >= (datetime.now(UTC) - _RECENT).timestamp() * MICROSECONDS
    await append(connection, tenant, readings.take(recent), flags[recent])


class Outbox:
    """Reads the events that are kept."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def after(self, position: int, limit: int) -> list[Event]:
        """Returns the first events after a position, in order."""
        rows = await self._database.fetch(QUERIES["find_events"], position, limit)
        return [decode(row["position"], row["payload"]) for row in rows]

    async def bounds(self) -> Bounds:
        """Returns what is kept."""
        row = await self._database.fetchrow(QUERIES["find_event_bounds"])
        assert row is not None  # noqa: S101 -- the migration put the row there
        return Bounds(row["first"], row["last"])


class Lead:
    """The right to relay events, which one session of all replicas has at a time: it ends with its connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stored = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Returns when something was stored since this was last called, or after some seconds.

        Raises:
            ConnectionError: The connection is gone, and the right with it.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._stored.wait()
        except TimeoutError:
            pass
        self._stored.clear()
        if self._connection.is_closed():
            raise ConnectionError("the connection that leads the relay was closed")

    async def after(self, position: int, limit: int) -> list[Row]:
        """Returns the first events after a position, in order."""
        rows = await self._connection.fetch(QUERIES["find_events"], position, limit, timeout=_STATEMENT_SECONDS)
        return [Row(row["position"], row["payload"]) for row in rows]

    async def bounds(self) -> Bounds:
        """Returns what is kept."""
        row = await self._connection.fetchrow(QUERIES["find_event_bounds"], timeout=_STATEMENT_SECONDS)
        assert row is not None  # noqa: S101 -- the migration put the row there
        return Bounds(row["first"], row["last"])

    async def forget(self, position: int, older_than_seconds: float) -> None:
        """Removes events up to a position that are old enough."""
        await self._connection.execute(
            QUERIES["forget_events"], position, older_than_seconds, timeout=_STATEMENT_SECONDS
        )

    async def listen(self) -> None:
        """Has every commit of an event end `wait`."""
        await self._connection.add_listener(_CHANNEL, self._hear)
        self._connection.add_termination_listener(self._hear)
        self._stored.set()  # what was stored before anyone listened

    def _hear(self, *_: object) -> None:
        self._stored.set()


@asynccontextmanager
async def leading(dsn: str) -> AsyncIterator[Lead]:
    """Waits until no other session leads, and gives the lead until the context ends.

    Raises:
        OSError: The database does not answer.
        asyncpg.PostgresError: It refuses, or closes the connection.
    """
    connection: Connection = await asyncpg.connect(
        dsn, timeout=_CONNECT_SECONDS, server_settings={"application_name": "geomesh-airquality-relay"}
    )
    try:
        # Asked again and again, because waiting in Postgres would hold a snapshot that keeps it from cleaning up.
        while not await connection.fetchval(QUERIES["lead_relay"], timeout=_STATEMENT_SECONDS):  # noqa: ASYNC110 -- of another process
            await asyncio.sleep(_LEAD_EVERY_SECONDS)
        lead = Lead(connection)
        await lead.listen()
        yield lead
    finally:
        connection.terminate()
