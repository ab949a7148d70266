"""Enters into the audit log what the services of the mesh refused to callers whom they knew.

`meshkit.refusals` says how refusals get into a stream in Redis. One replica at a time takes them from there, each second,
and deletes them once they are entered. A replica that is killed in between leaves them to the next, which knows again by
their ids what is entered already. Each goes to the chain of the tenant that the caller's token named, also where that
tenant is only known to another issuer: its administrators are those whose tokens name it too.
"""

import asyncio
import contextlib
import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import structlog
from redis.exceptions import RedisError

from meshkit.errors import InvalidInput, MeshError
from meshkit.health import State
from meshkit.redis import Redis
from meshkit.refusals import FIELD, STREAM, Refusal, read_refusal

_AT_A_TIME: Final = 100
_TURN_SECONDS: Final = 5.0
# Beyond the time for which a service may still hand over again what Redis took without saying so.
_REMEMBERED: Final = timedelta(days=7)
_FORGET_EVERY_SECONDS: Final = 600.0
_LOG: Final = structlog.get_logger(__name__)


class RefusalStore(Protocol):
    """Where refusals are entered."""

    def turn(self) -> AbstractAsyncContextManager[bool]:
        """Opens a stretch of work, which tells whether no other replica does it at the same time."""
        ...

    async def enter(self, refusal: Refusal) -> bool:
        """Enters a refusal, and tells whether it was not entered before."""
        ...

    async def forget(self, older_than: timedelta) -> None:
        """Forgets what was entered so long ago."""
        ...


class RefusalEntries:
    """Empties the stream into the log. It is a :class:`meshkit.health.Dependency`, and not a required one."""

    name: Final = "refusal-entries"
    required: Final = False
    breaker: Final = ""

    def __init__(self, store: RefusalStore, redis: Redis, *, every_seconds: float = 1.0) -> None:
        """Prepares without asking anyone.

        Args:
            store: Where they are entered.
            redis: Where they come from; whoever gives it starts and closes it.
            every_seconds: Time between two looks at the stream.
        """
        self._store = store
        self._redis = redis
        self._every_seconds = every_seconds
        self._forgets_at = time.monotonic() + _FORGET_EVERY_SECONDS
        self._state = State.OK
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    @property
    def state(self) -> State:
        """Whether the last look succeeded."""
        return self._state

    async def start(self) -> None:
        """Looks in the background from now on."""
        self._task = asyncio.create_task(self._enter_for_ever(), name="enter refusals")

    async def close(self) -> None:
        """Looks no more, once what is under way is done."""
        self._closing.set()
        if self._task is not None:
            await self._task

    async def enter_waiting(self) -> None:
        """Enters what waits, unless another replica does.

        Raises:
            MeshError: The database or Redis does not answer; what was not entered waits on.
            RedisError: Redis refused a command.
        """
        if not await self._waiting(1):
            return  # so that nobody asks the database each second for nothing
        async with self._store.turn() as is_ours:
            if not is_ours:
                return
            until = time.monotonic() + _TURN_SECONDS
            while time.monotonic() < until and (waiting := await self._waiting(_AT_A_TIME)):
                for _place, fields in waiting:
                    await self._enter(fields)
                remove: Any = self._redis.client.xdel
                await self._redis.call(remove, STREAM, *(place for place, _fields in waiting))

    async def _waiting(self, most: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        read: Any = self._redis.client.xrange
        found: list[tuple[bytes, dict[bytes, bytes]]] = await self._redis.call(read, STREAM, "-", "+", most)
        return found

    async def _enter(self, fields: dict[bytes, bytes]) -> None:
        """Enters one; what nobody can read or store is logged and passed over, since all others wait behind it."""
        try:
            await self._store.enter(read_refusal(fields.get(FIELD, b"")))
        except (ValueError, InvalidInput) as error:
            _LOG.error("a refusal cannot be entered into the audit log", error=str(error))

    async def _enter_for_ever(self) -> None:
        while not self._closing.is_set():
            await self._try()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_seconds):
                    await self._closing.wait()

    async def _try(self) -> None:
        try:
            await self.enter_waiting()
            if time.monotonic() > self._forgets_at:
                self._forgets_at = time.monotonic() + _FORGET_EVERY_SECONDS
                await self._store.forget(_REMEMBERED)
        except (MeshError, RedisError) as error:
            self._tell(State.DOWN, repr(error))
        except Exception:  # noqa: BLE001 - no defect may end it
            _LOG.exception("refusals were not entered into the audit log")
            self._state = State.DOWN
        else:
            self._tell(State.OK, "")

    def _tell(self, state: State, cause: str) -> None:
        if state is not self._state:
            tell = _LOG.warning if state is State.DOWN else _LOG.info
            tell("entering refusals into the audit log", state=state.name, cause=cause)
        self._state = state


def details_of(refusal: Refusal) -> dict[str, Any]:
    """Returns what the entry says beside who was refused and where from; nothing that the caller sent."""
    return {
        "service": refusal.service,
        "method": refusal.method,
        "reason": refusal.reason,
        "client_id": refusal.client_id,
        "count": refusal.count,
        "first_time": _written(refusal.first_time),
        "last_time": _written(refusal.last_time),
    }


def _written(seconds: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{seconds} is no time") from error
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
