"""Retries that cannot make an outage worse: full jitter, a budget, and never past the caller's deadline."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from meshkit.context import CURRENT

ResultT = TypeVar("ResultT")


class Retries:
    """Repeats calls to one dependency that failed for a passing reason. Only for calls that may be carried out twice.

    Waits before the n-th retry for a random time between 0 and `first_seconds` * 2^(n-1), so that callers who failed
    together do not come back together (“full jitter”). All calls share one budget, of which a retry takes 1 and a
    call gives `budget_ratio` back: when most calls fail, retries add that share to the load and no more.
    """

    def __init__(
        self,
        is_passing: Callable[[BaseException], bool],
        *,
        attempts: int = 3,
        first_seconds: float = 0.02,
        within_seconds: float = 1.0,
        budget: float = 10.0,
        budget_ratio: float = 0.1,
    ) -> None:
        """Makes the policy for one dependency.

        Args:
            is_passing: Tells the errors that another attempt may not meet.
            attempts: How often a call is made at most.
            first_seconds: Longest wait before the first retry; it doubles with each.
            within_seconds: Time from the first attempt after which no other is started.
            budget: Retries in a burst at most.
            budget_ratio: Retries that a call adds to the budget.
        """
        self._is_passing = is_passing
        self._attempts = attempts
        self._first_seconds = first_seconds
        self._within_seconds = within_seconds
        self._most = self._budget = budget
        self._ratio = budget_ratio

    def count(self) -> None:
        """Notes a first attempt, which adds to the budget."""
        if self._budget < self._most:
            self._budget = min(self._most, self._budget + self._ratio)

    async def after(
        self, error: Exception, started: float, work: Callable[..., Awaitable[ResultT]], *arguments: object
    ) -> ResultT:
        """Goes on after a first attempt that failed, or raises its error.

        Args:
            error: What the first attempt raised.
            started: When it began, by :func:`time.monotonic`.
            work: What to repeat.
            *arguments: Its arguments.
        """
        for attempt in range(1, self._attempts):
            wait_seconds = random.uniform(0, self._first_seconds * 2 ** (attempt - 1))  # noqa: S311 -- spreads load, hides nothing
            if not (self._is_passing(error) and self._may_retry(started, wait_seconds)):
                break
            self._budget -= 1
            await asyncio.sleep(wait_seconds)
            try:
                return await work(*arguments)
            except Exception as next_error:  # noqa: BLE001 -- `is_passing` tells them apart
                error = next_error
        raise error

    def _may_retry(self, started: float, wait_seconds: float) -> bool:
        call = CURRENT.get()
        next_at = time.monotonic() + wait_seconds
        in_time = next_at < started + self._within_seconds and (call is None or next_at < call.deadline)
        return in_time and self._budget >= 1
