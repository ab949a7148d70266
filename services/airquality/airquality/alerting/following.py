"""Follows the stream of events in every replica, and has each evaluated by whichever is first."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from prometheus_client import Counter

from airquality.alerting.evaluation import Evaluator
from airquality.events import EventExpired, EventSource
from meshkit.errors import MeshError
from meshkit.health import State

_EXPIRED = Counter("geomesh_alert_events_expired", "Times that events were gone before rules were evaluated on them.")
_LOG = structlog.get_logger(__name__)
_PAUSE_SECONDS: Final = 0.5


class ProgressStore(Protocol):
    """What a Follower needs of a repository."""

    async def evaluated(self) -> int:
        """Returns the id of the last event that was evaluated; 0 before the first."""


class Follower:
    """Feeds an Evaluator, from the last event that any replica has evaluated."""

    name = "alert-evaluation"
    required = False
    breaker = ""

    def __init__(
        self, source: EventSource, evaluator: Evaluator, store: ProgressStore, raised: Callable[[], None]
    ) -> None:
        """Starts nothing yet; `raised` is called when there are new alerts."""
        self.state = State.OK
        self._source = source
        self._evaluator = evaluator
        self._store = store
        self._raised = raised
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ends; an event in work is undone, and evaluated again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        after: str | None = None
        while True:
            try:
                if after is None:
                    after = str(await self._store.evaluated() or "")
                await self._follow(after)
            except EventExpired:
                # What is gone cannot be evaluated, and what is told of the air must be of now.
                _EXPIRED.inc()
                _LOG.error("alert_events_expired", after=after)
                after = ""
                continue
            except MeshError as error:
                self._failed(error)
            except Exception as error:  # noqa: BLE001 -- the source's defects are the driver's, and evaluation goes on
                self._failed(error)
            after = None
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _follow(self, after: str) -> None:
        async for event in self._source.follow(after):
            if await self._evaluator.take(event):
                self._raised()
            self.state = State.OK

    def _failed(self, error: Exception) -> None:
        if self.state is State.OK:
            _LOG.warning("alert_evaluation_stands_still", exc_info=error)
        self.state = State.DOWN
