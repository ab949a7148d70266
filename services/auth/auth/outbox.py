"""Work that goes on after the reply, so that its outcome and its time tell the caller nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from prometheus_client import Counter

from auth.delivery import Delivery
from meshkit.context import CURRENT, REQUEST_ID, RequestContext, current
from meshkit.errors import Reason, ResourceExhausted
from meshkit.health import State

Job = Callable[[], Awaitable[None]]

_WORKERS: Final = 4
_MOST_WAITING: Final = 1000
_JOB_SECONDS: Final = 60.0
_FAILED = Counter("geomesh_auth_outbox_failed", "Messages that could not be prepared or handed over.")
_LOG = structlog.get_logger(__name__)


class Outbox:
    """Does jobs in the background, each once. What has not begun when the process is killed is lost, and asked for again."""

    name = "delivery"
    required = False
    breaker = ""

    def __init__(self, delivery: Delivery, *, close_seconds: float = 10.0) -> None:
        """Starts nothing yet.

        Args:
            delivery: What the jobs deliver by; closed with the outbox.
            close_seconds: How long jobs get to finish when the service stops.
        """
        self.delivery = delivery
        self.state = State.OK
        self._close_seconds = close_seconds
        self._jobs: asyncio.Queue[tuple[str, Job]] = asyncio.Queue(_MOST_WAITING)
        self._workers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to work."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(_WORKERS)]

    async def close(self) -> None:
        """Lets what waits finish, for a while."""
        try:
            async with asyncio.timeout(self._close_seconds):
                await self._jobs.join()
        except TimeoutError:
            _LOG.warning("outbox_closed_early", jobs=self._jobs.qsize())
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self.delivery.close()

    def put(self, job: Job) -> None:
        """Takes a job.

        Raises:
            ResourceExhausted: Too many wait.
        """
        try:
            self._jobs.put_nowait((current().request_id, job))
        except asyncio.QueueFull:
            raise ResourceExhausted(Reason.OVERLOADED, "too many messages wait", retry_after_seconds=5.0) from None

    async def finished(self) -> None:
        """Waits until nothing is left to do."""
        await self._jobs.join()

    async def _work(self) -> None:
        while True:
            request_id, job = await self._jobs.get()
            CURRENT.set(RequestContext("", {REQUEST_ID: request_id}, time.monotonic() + _JOB_SECONDS))
            try:
                async with asyncio.timeout(_JOB_SECONDS):
                    await job()
                self.state = State.OK
            except Exception as error:  # noqa: BLE001 - one job's defect must not keep the others waiting for ever
                self._failed(error)
            finally:
                self._jobs.task_done()

    def _failed(self, error: Exception) -> None:
        self.state = State.DOWN
        _FAILED.inc()
        _LOG.error("a message was not delivered", exc_info=error)
