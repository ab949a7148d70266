"""One connection to Redis over which many callers run one script, each waiting for its own answer alone.

Requests that come at the same time share a write and a read. The general client holds a connection for the whole of a
call and costs several times as much; see docs/limits.md for the measurement.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import hiredis
import structlog
from redis.connection import parse_url

from meshkit.errors import Unavailable
from meshkit.health import State

NAME: Final = "redis"
_LOG: Final = structlog.get_logger(__name__)
_ANSWER_SECONDS: Final = 0.25
_CONNECT_SECONDS: Final = 1.0
_RECONNECT_SECONDS: Final = 0.2
_WATCH_SECONDS: Final = 0.05

Words = Sequence[str | int]


class Link:
    """A connection that is made again whenever it is lost. It is a :class:`meshkit.health.Dependency`.

    What was asked over a connection that is lost is refused: an answer that comes late helps nobody.
    """

    name = NAME
    required = False
    breaker = ""

    def __init__(self, url: str, script: str) -> None:
        """Connects nowhere yet: `start` does.

        Args:
            url: The address of Redis, e.g. ``redis://:password@127.0.0.1:6379/0``.
            script: The text of the script that `run` runs.
        """
        self._url = url
        self._script = script
        self._sha = hashlib.sha1(script.encode()).hexdigest()  # noqa: S324 -- Redis's name for a script
        self._protocol: _Protocol | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """OK while there is a connection that answers."""
        return State.DOWN if self._protocol is None else State.OK

    async def start(self) -> None:
        """Connects if that works at once, and goes on trying in the background if not."""
        try:
            self._protocol = await self._connect()
        except _FAILURES as error:
            _LOG.warning("dependency does not answer", dependency=NAME, cause=str(error) or type(error).__name__)
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Closes the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._protocol is not None:
            self._protocol.lose("closed")

    async def run(self, words: bytes) -> list[Any]:
        """Returns what the script returns.

        Args:
            words: The keys and arguments as `packed` gives them.

        Raises:
            Unavailable: Redis does not answer.
            hiredis.ReplyError: Redis refused the script.
        """
        protocol = self._protocol
        if protocol is None:
            raise Unavailable(f"{NAME} does not answer", dependency=NAME)
        try:
            reply: list[Any] = await protocol.ask(words)
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            await protocol.ask(_pack("SCRIPT", "LOAD", self._script))
            reply = await protocol.ask(words)
        return reply

    def packed(self, keys: Words, arguments: Words) -> bytes:
        """Returns the command that runs the script on `keys` with `arguments`."""
        return _pack("EVALSHA", self._sha, len(keys), *keys, *arguments)

    async def _keep(self) -> None:
        while True:
            if self._protocol is not None:
                await self._protocol.watch()
                self._protocol = None
            await asyncio.sleep(_RECONNECT_SECONDS)
            with contextlib.suppress(*_FAILURES):
                self._protocol = await self._connect()
                _LOG.info("dependency answers", dependency=NAME)

    async def _connect(self) -> _Protocol:
        address = parse_url(self._url)  # type: ignore[no-untyped-call]  # the package types it so
        tls = ssl.create_default_context() if self._url.startswith("rediss:") else None
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, protocol = await asyncio.get_running_loop().create_connection(
                _Protocol, address.get("host", "127.0.0.1"), address.get("port", 6379), ssl=tls
            )
            try:
                if password := address.get("password"):
                    await protocol.ask(_pack("AUTH", address.get("username") or "default", password))
                await protocol.ask(_pack("SELECT", address.get("db", 0)))
                await protocol.ask(_pack("SCRIPT", "LOAD", self._script))
            except BaseException:
                protocol.lose("not let in")
                raise
        return protocol


class _Protocol(asyncio.Protocol):
    """The connection itself: answers come in the order of the questions."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._outgoing: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._lost = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            _, answer = self._waiting.popleft()
            if answer.done():  # its caller went away
                continue
            if isinstance(reply, hiredis.ReplyError):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose(str(exc or "closed by Redis"))

    def ask(self, command: bytes) -> asyncio.Future[Any]:
        """Sends the command with all others of this turn of the loop; the future is its answer."""
        if self._lost.done():
            raise Unavailable(f"{NAME} does not answer", dependency=NAME)
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(command)
        answer = self._loop.create_future()
        self._waiting.append((time.monotonic(), answer))
        return answer

    def lose(self, cause: str) -> None:
        """Gives the connection up, and tells everyone who waits."""
        if not self._lost.done():
            self._lost.set_result(cause)
        self._transport.abort()
        while self._waiting:
            _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(Unavailable(f"{NAME} does not answer: {cause}", dependency=NAME))

    async def watch(self) -> None:
        """Returns when the connection is lost, or an answer takes too long.

        One look now and then instead of a timer for each question; a question that nobody else asks finds out that a
        silent Redis is gone.
        """
        asked_at = time.monotonic()
        overdue: asyncio.Future[Any] | None = None
        while not self._lost.done():
            await asyncio.wait([self._lost], timeout=_WATCH_SECONDS)
            now = time.monotonic()
            if self._waiting and now - self._waiting[0][0] > _ANSWER_SECONDS:
                # Seen twice, since it may be this process that was too busy to read the answer.
                if overdue is self._waiting[0][1]:
                    self.lose(f"silent for {_ANSWER_SECONDS} s")
                overdue = self._waiting[0][1] if self._waiting else None
            elif not self._waiting and now - asked_at > 1.0:
                asked_at = now
                self.ask(_pack("PING"))
        _LOG.warning("dependency does not answer", dependency=NAME, cause=self._lost.result())

    def _flush(self) -> None:
        self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()


_FAILURES: Final = (OSError, TimeoutError, Unavailable, hiredis.HiredisError)


def _pack(*words: str | int) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub forgets that tuples vary in length
    return packed
