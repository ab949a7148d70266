"""Alerts as they are raised, for those who watch: one look at the database a tenant, however many of it watch."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, Protocol

import structlog

from meshkit.errors import MeshError
from meshkit.health import State

_PAGE: Final = 200
_LOG = structlog.get_logger(__name__)


class FeedStore(Protocol):
    """What a Feed needs of a repository."""

    async def newest_alert(self, tenant: str) -> int:
        """Returns the number of a tenant's newest alert; 0 when there is none."""

    async def alerts_after(self, tenant: str, number: int, rule_id: str, limit: int) -> Sequence[tuple[int, Any]]:
        """Returns alerts after a number, in order, each with its own."""


class _Watched:
    """A tenant that is watched: the newest number, and who waits for a newer one."""

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self.watchers = 0
        self.changed = asyncio.Event()

    def move(self, newest: int) -> None:
        if newest > self.newest:
            self.newest = newest
            self.changed.set()
            self.changed = asyncio.Event()


class Feed:
    """Tells of new alerts, those of other replicas within `poll_seconds`, those of this one at once."""

    name = "alert-feed"
    required = False
    breaker = ""

    def __init__(self, store: FeedStore, *, poll_seconds: float, heartbeat_seconds: float = 30.0) -> None:
        self.state = State.OK
        self._store = store
        self._poll_seconds = poll_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._watched: dict[str, _Watched] = {}
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def poke(self) -> None:
        """Has it look now."""
        self._poked.set()

    async def follow(self, tenant: str, after: int | None, rule_id: str) -> AsyncGenerator[Any | None, None]:
        """Yields alerts after a number, or from now on; None first, and whenever nothing came for a while.

        Raises:
            MeshError: The database does not answer; the stream may be resumed.
        """
        newest = await self._store.newest_alert(tenant)
        watched = self._watched.setdefault(tenant, _Watched(newest))
        watched.move(newest)
        watched.watchers += 1
        number = newest if after is None else after
        try:
            yield None
            while True:
                changed, target = watched.changed, watched.newest
                if target > number:
                    page = await self._store.alerts_after(tenant, number, rule_id, _PAGE)
                    for place, alert in page:
                        number = place
                        yield alert
                    if len(page) < _PAGE:  # what is not in it is of other rules
                        number = max(number, target)
                    continue
                try:
                    async with asyncio.timeout(self._heartbeat_seconds):
                        await changed.wait()
                except TimeoutError:
                    yield None
        finally:
            watched.watchers -= 1
            if not watched.watchers:
                self._watched.pop(tenant, None)

    async def _run(self) -> None:
        while True:
            self._poked.clear()
            try:
                for tenant, watched in list(self._watched.items()):
                    watched.move(await self._store.newest_alert(tenant))
                self.state = State.OK
            except MeshError as error:
                if self.state is State.OK:
                    _LOG.warning("alert_feed_stands_still", exc_info=error)
                self.state = State.DOWN
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await self._poked.wait()
            except TimeoutError:
                pass
