"""Knows whether a dependency answers: from the calls to it, or by asking it while there are none."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from meshkit.health import State

_LOG = structlog.get_logger(__name__)


class Watch:
    """Watches one dependency off the path of requests.

    Attributes:
        answered_at: When it answered last, by :func:`time.monotonic`. Whoever calls it sets this, which spares asking.
        state: OK, or DOWN until the first answer and while it gives none.
    """

    def __init__(
        self,
        dependency: str,
        ask: Callable[[], Awaitable[object]],
        *,
        every_seconds: float,
        attempts: int,
        lost: Callable[[Exception], None],
    ) -> None:
        """Does not ask yet: `start` does.

        Args:
            dependency: Its name in logs.
            ask: Raises when the dependency does not answer, after a time that it bounds itself.
            every_seconds: How long nobody may have called it before it is asked.
            attempts: How often it is asked before it counts as lost, since one slow answer may be our own doing.
            lost: What to do then.
        """
        self.answered_at = float("-inf")
        self.state = State.DOWN
        self._dependency = dependency
        self._ask = ask
        self._every_seconds = every_seconds
        self._attempts = attempts
        self._lost = lost
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Asks for the first time, and from then on in the background."""
        await self._look()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Asks no more."""
        # A driver may take a cancellation for a timeout of its own, and go on.
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while not self._closed:
            await asyncio.sleep(self._pause_seconds())
            if time.monotonic() - self.answered_at >= self._every_seconds or self.state is State.DOWN:
                await self._look()

    def _pause_seconds(self) -> float:
        """Returns the time until it is asked again, counted from its last answer: silence must not last longer."""
        if self.state is State.DOWN:
            return self._every_seconds
        return max(0.0, self.answered_at + self._every_seconds - time.monotonic())

    async def _look(self) -> None:
        for attempt in range(1, self._attempts + 1):
            asked_at = time.monotonic()
            try:
                await self._ask()
            except Exception as error:  # noqa: BLE001 -- no error may end the watch
                if self.answered_at > asked_at:  # somebody else was answered meanwhile
                    return
                if attempt == self._attempts:
                    self._lose(error)
            else:
                self.answered_at = time.monotonic()
                if self.state is State.DOWN:
                    _LOG.info("dependency answers", dependency=self._dependency)
                self.state = State.OK
                return

    def _lose(self, error: Exception) -> None:
        if self.state is State.OK:
            _LOG.warning("dependency does not answer", dependency=self._dependency, exc_info=error)
            self._lost(error)
        self.state = State.DOWN
