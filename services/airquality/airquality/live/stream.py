"""The stream of events in Redis: a copy of the newest part of the outbox, whose entries have the positions as their ids.

Whatever Redis loses comes back from the outbox with the same ids. Who follows the stream reads from the outbox what the
stream cannot give: while Redis is away, when entries are missing, and when none have come for a second.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Protocol

import structlog
from redis import asyncio as driver
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from airquality.events import EventBatch, EventExpired
from airquality.live.eventformat import Event, decode
from airquality.live.outbox import Bounds, Row
from meshkit.errors import MeshError

KEY: Final = "geomesh:airquality:readings"

_APPEND: Final = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local top = newest[1] and string.match(newest[1][1], '^%d+') or '0'
if top ~= ARGV[1] then return top end
for at = 3, #ARGV, 2 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[at] .. '-0', 'event', ARGV[at + 1])
  top = ARGV[at]
end
return top
"""
"""Takes the position of the last entry, the most entries to keep, and the position and payload of each new one. Returns
the position of the last entry: when it is not the one that was named nothing was added, because Redis lost entries."""

_BLOCK_SECONDS: Final = 1.0
_TIMEOUT_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.1
_AT_ONCE: Final = 32
_LOG: Final = structlog.get_logger(__name__)


class Stream:
    """The stream in Redis."""

    def __init__(self, url: str, *, most_entries: int) -> None:
        """Connects nowhere yet.

        Args:
            url: The address of Redis.
            most_entries: Entries that are kept, about.
        """
        self._most_entries = most_entries
        self._client: Any = driver.Redis.from_url(
            url,
            socket_timeout=_BLOCK_SECONDS + _TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            client_name="geomesh-airquality-events",
        )

    async def close(self) -> None:
        """Closes every connection."""
        await self._client.aclose()

    async def append(self, top: int, rows: Sequence[Row]) -> int:
        """Adds events after the position `top`, and returns the position of the last entry then.

        Raises:
            RedisError: Redis does not answer.
        """
        arguments = [part for row in rows for part in (row.position, row.payload)]
        return int(await self._client.eval(_APPEND, 1, KEY, top, self._most_entries, *arguments))

    async def clear(self) -> None:
        """Removes every entry."""
        await self._client.delete(KEY)

    async def after(self, position: int) -> list[Event]:
        """Returns the first events after a position; none when none come for a second.

        Raises:
            RedisError: Redis does not answer.
        """
        found = await self._client.xread({KEY: f"{position}-0"}, count=_AT_ONCE, block=int(_BLOCK_SECONDS * 1000))
        return [
            decode(int(name.partition(b"-")[0]), fields[b"event"])
            for _, entries in found or ()
            for name, fields in entries
        ]


class Kept(Protocol):
    """What is needed of the outbox."""

    async def after(self, position: int, limit: int) -> list[Event]:
        """Returns the first events after a position, in order."""

    async def bounds(self) -> Bounds:
        """Returns what is kept."""


class Events:
    """Follows the events; it is an airquality.events.EventSource."""

    def __init__(self, stream: Stream, outbox: Kept) -> None:
        self._stream = stream
        self._outbox = outbox
        self._stream_answers = True
        self._closed = False

    def close(self) -> None:
        """Ends whoever follows, within a second: a command that is cut off would leave its connection behind."""
        self._closed = True

    async def follow(self, after: str) -> AsyncIterator[EventBatch]:
        """Yields every batch after an event, each once and in order, until this is closed; see EventSource."""
        position = int(after) if after else await self.last()
        async for event in self.events(position):
            yield EventBatch(str(event.position), event.readings)

    async def last(self) -> int:
        """Returns the position of the last event; waits for the database, or until this is closed."""
        while not self._closed:
            try:
                return (await self._outbox.bounds()).last
            except MeshError:
                await asyncio.sleep(_POLL_SECONDS)
        return 0

    async def events(self, position: int) -> AsyncIterator[Event]:
        """Yields every event after a position, each once and in order, until this is closed.

        Raises:
            EventExpired: They are not kept any more, or there never was such a position.
        """
        while not self._closed:
            for event in await self._next(position):
                yield event
                position = event.position

    async def _next(self, position: int) -> list[Event]:
        try:
            events = [event for event in await self._stream.after(position) if event.position > position]
            self._say(answers=True)
        except (RedisError, OSError) as error:
            self._say(answers=False, cause=repr(error))
            await asyncio.sleep(_POLL_SECONDS)
            events = []
        if events and events[0].position == position + 1:
            return events
        try:
            return await self._kept(position)
        except MeshError:  # neither store answers: nothing can be stored either
            await asyncio.sleep(_POLL_SECONDS)
            return []

    async def _kept(self, position: int) -> list[Event]:
        events = await self._outbox.after(position, _AT_ONCE)
        if not events or events[0].position != position + 1:
            bounds = await self._outbox.bounds()
            if not bounds.first <= position + 1 <= bounds.last + 1:
                raise EventExpired(f"of the events after {position} the first that is kept is {bounds.first}")
            return []
        return events

    def _say(self, *, answers: bool, cause: str = "") -> None:
        if answers != self._stream_answers:
            tell = _LOG.info if answers else _LOG.warning
            tell("events come from", source="redis" if answers else "postgres", cause=cause)
        self._stream_answers = answers
