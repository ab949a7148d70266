"""Moves events from the outbox to the stream, in order; one replica at a time does."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from airquality.live.outbox import Lead
from airquality.live.stream import Stream
from meshkit.health import State
from meshkit.postgres_errors import DRIVER_ERRORS

_AT_ONCE: Final = 64
_IDLE_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.25
_FORGET_EVERY_SECONDS: Final = 30.0
_RELAYED = Counter("geomesh_airquality_events_relayed", "Events that this process moved to Redis.")
_LEADS = Gauge("geomesh_airquality_relay_leads", "1 in the process that moves events to Redis.")
_LOG: Final = structlog.get_logger(__name__)


class Relay:
    """Relays while it runs. It is a meshkit.health.Dependency, and not a required one: the outbox keeps everything."""

    name: Final = "event-relay"
    required: Final = False
    breaker: Final = ""

    def __init__(
        self, lead: Callable[[], AbstractAsyncContextManager[Lead]], stream: Stream, *, keep_seconds: float
    ) -> None:
        """Starts nothing yet.

        Args:
            lead: Waits for the right to relay.
            stream: Where events go; closed with this, which is closed last.
            keep_seconds: How long the outbox keeps what was handed on.
        """
        self._lead = lead
        self._stream = stream
        self._keep_seconds = keep_seconds
        self._state = State.OK
        self._leads = self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """DEGRADED while Redis takes no events; who follows them reads them from Postgres then, a little later."""
        return self._state

    async def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._relay_for_ever(), name="relay events")

    async def close(self) -> None:
        """Ends; another replica takes over within half a second."""
        self._closing = True
        if self._task is not None:
            if not self._leads:  # else it ends by itself: a command that is cut off leaves its connection behind
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._stream.close()

    async def _relay_for_ever(self) -> None:
        while not self._closing:
            try:
                async with self._lead() as lead:
                    self._leads = True
                    _LEADS.set(1)
                    await self._relay(lead)
            except DRIVER_ERRORS as error:
                _LOG.warning("events are not relayed from here", cause=repr(error))
            except Exception:  # noqa: BLE001 -- no defect may end the relay for good
                _LOG.exception("the relay failed")
            finally:
                self._leads = False
                _LEADS.set(0)
            if not self._closing:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _relay(self, lead: Lead) -> None:
        """Moves what is stored as soon as it is, until the lead is lost."""
        top, forget_at = 0, 0.0
        while not self._closing:
            rows = await lead.after(top, _AT_ONCE)
            try:
                # Without rows it asks where the stream ends, which tells of a Redis that has lost entries.
                reached = await self._stream.append(top, rows)
                if reached > top + len(rows) and reached > (await lead.bounds()).last:
                    _LOG.warning("the stream is ahead of the database, which was restored: it begins anew", at=reached)
                    await self._stream.clear()
                    reached = 0
            except (RedisError, OSError) as error:
                self._enter(State.DEGRADED, repr(error))
                await lead.wait(_AGAIN_SECONDS)
                continue
            self._enter(State.OK)
            if rows and reached == rows[-1].position:
                _RELAYED.inc(len(rows))
            moved, top = reached != top, reached
            if moved:
                continue
            if time.monotonic() >= forget_at:
                forget_at = time.monotonic() + _FORGET_EVERY_SECONDS
                await lead.forget(top, self._keep_seconds)
            await lead.wait(_IDLE_SECONDS)

    def _enter(self, state: State, cause: str = "") -> None:
        if state is not self._state:
            tell = _LOG.warning if state is State.DEGRADED else _LOG.info
            tell("relaying events", state=state.name, cause=cause)
        self._state = state
