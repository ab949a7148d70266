"""Circuit breakers: a dependency that fails is left alone for a while, so that callers learn it at once."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeVar

import structlog
from prometheus_client import Counter, Gauge

from meshkit.errors import Unavailable

ResultT = TypeVar("ResultT")

_STATE = Gauge("geomesh_breaker_state", "Circuit breaker: 0 closed, 1 half open, 2 open.", ["dependency"])
_OPENED = Counter("geomesh_breaker_opened", "How often a circuit breaker opened.", ["dependency"])
_LOG: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class BreakerState(StrEnum):
    """What a breaker does with calls: lets all through, none, or a few to find out."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


_LEVELS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


class Breaker:
    """Stands before one dependency of one process.

    It opens after `failures` in a row within `window_seconds`, with no success between them: a dependency that serves
    others well is not down. Open, it refuses for `recovery_seconds`; then it lets at most `probes` calls at a time
    through, of which the first to succeed closes it and the first to fail opens it again. A call that was let through
    before the last change of state says nothing about the dependency of now and is not counted.
    """

    def __init__(
        self,
        name: str,
        is_failure: Callable[[BaseException], bool | None],
        *,
        failures: int = 5,
        window_seconds: float = 60.0,
        recovery_seconds: float = 5.0,
        probes: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Makes a closed breaker.

        Args:
            name: The dependency's name in metrics, logs and errors.
            is_failure: Tells the dependency's failures from its answers, such as that the caller made a mistake;
                None for an error that says nothing of the dependency.
            failures: Failures in a row that open it.
            window_seconds: Failures further apart than this are no row.
            recovery_seconds: Time from opening to the first probe.
            probes: Calls let through at one time when half open.
            clock: Seconds that only grow.
        """
        self.name = name
        self._is_failure = is_failure
        self._failures: deque[float] = deque(maxlen=failures)
        self._window_seconds = window_seconds
        self._recovery_seconds = recovery_seconds
        self._probes = probes
        self._clock = clock
        self._state = BreakerState.CLOSED
        self._era = 0
        self._probing = 0
        self._opened_at = 0.0
        _STATE.labels(name).set(0)

    @property
    def state(self) -> BreakerState:
        """What it does with calls now."""
        return self._state

    async def call(self, work: Callable[..., Awaitable[ResultT]], *arguments: object) -> ResultT:
        """Returns what `work(*arguments)` returns, unless the breaker is open.

        Raises:
            Unavailable: It is open, or half open with as many probes under way as it allows.
        """
        era = self._admit() if self._state is not BreakerState.CLOSED else self._era
        try:
            result = await work(*arguments)
        except BaseException as error:
            # A caller who went away says nothing of the dependency.
            failure = None if isinstance(error, asyncio.CancelledError) else self._is_failure(error)
            if failure is None:
                self._release(era)
            elif failure:
                self._failed(era, error)
            else:
                self._succeeded(era)
            raise
        if self._failures or self._state is not BreakerState.CLOSED:
            self._succeeded(era)
        return result

    def trip(self, cause: BaseException) -> None:
        """Opens at once, for an owner who knows that the dependency is gone."""
        if self._state is not BreakerState.OPEN:
            self._open(cause)

    def reset(self) -> None:
        """Closes at once, for an owner who knows that the dependency is back."""
        if self._state is not BreakerState.CLOSED:
            self._enter(BreakerState.CLOSED)

    def _admit(self) -> int:
        wait_seconds = self._opened_at + self._recovery_seconds - self._clock()
        if self._state is BreakerState.OPEN and wait_seconds <= 0:
            self._enter(BreakerState.HALF_OPEN)
        if self._state is BreakerState.OPEN or self._probing >= self._probes:
            raise Unavailable(
                f"{self.name} does not answer", dependency=self.name, retry_after_seconds=max(wait_seconds, 0.1)
            )
        self._probing += 1
        return self._era

    def _release(self, era: int) -> None:
        if era == self._era and self._state is BreakerState.HALF_OPEN:
            self._probing -= 1

    def _succeeded(self, era: int) -> None:
        if era != self._era:
            return
        self._failures.clear()
        if self._state is BreakerState.HALF_OPEN:
            self._enter(BreakerState.CLOSED)

    def _failed(self, era: int, error: BaseException) -> None:
        if era != self._era:
            return
        now = self._clock()
        self._failures.append(now)
        row = len(self._failures) == self._failures.maxlen and now - self._failures[0] <= self._window_seconds
        if row or self._state is BreakerState.HALF_OPEN:
            self._open(error)

    def _open(self, cause: BaseException) -> None:
        self._opened_at = self._clock()
        _OPENED.labels(self.name).inc()
        self._enter(BreakerState.OPEN, cause=f"{type(cause).__name__}: {cause}")

    def _enter(self, state: BreakerState, **details: str) -> None:
        before, self._state = self._state, state
        self._era += 1
        self._probing = 0
        self._failures.clear()
        _STATE.labels(self.name).set(_LEVELS[state])
        _log_at(before, state)("circuit breaker changed", dependency=self.name, before=before, after=state, **details)


def _log_at(before: BreakerState, after: BreakerState) -> Callable[..., None]:
    """Returns the log's method for a change. That each probe of a long outage fails is no news."""
    if after is BreakerState.CLOSED:
        return _LOG.info
    return _LOG.warning if before is BreakerState.CLOSED else _LOG.debug
