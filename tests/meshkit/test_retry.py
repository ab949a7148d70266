"""Retries: which, how often, until when, and never more than the budget."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from meshkit.context import CURRENT, RequestContext
from meshkit.retry import Retries

ResultT = TypeVar("ResultT")


class Passing(Exception):
    """Another attempt may not meet it."""


class Lasting(Exception):
    """Every attempt will meet it."""


class Work:
    """Raises what it is told to, then returns how often it was called."""

    def __init__(self, *errors: Exception) -> None:
        self.attempts = 0
        self._errors = errors

    async def __call__(self) -> int:
        self.attempts += 1
        if self.attempts <= len(self._errors):
            raise self._errors[self.attempts - 1]
        return self.attempts


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, Passing)


async def call(retries: Retries, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Makes a call as Postgres does: the first attempt, and what follows a failed one."""
    started = time.monotonic()
    retries.count()
    try:
        return await work()
    except Exception as error:  # noqa: BLE001 -- any, as there
        return await retries.after(error, started, work)


@pytest.fixture
def deadline() -> Iterator[RequestContext]:
    """The call in work; the test sets its deadline."""
    context = RequestContext("/probe", {}, time.monotonic() + 60)
    token = CURRENT.set(context)
    yield context
    CURRENT.reset(token)


async def test_repeats_what_failed_for_a_passing_reason() -> None:
    assert await call(Retries(_is_passing), Work(Passing(), Passing())) == 3


async def test_raises_what_the_last_attempt_raised() -> None:
    work = Work(Passing("first"), Passing("second"), Passing("third"))
    with pytest.raises(Passing, match="third"):
        await call(Retries(_is_passing, attempts=3), work)
    assert work.attempts == 3


async def test_does_not_repeat_what_will_fail_again() -> None:
    work = Work(Passing(), Lasting())
    with pytest.raises(Lasting):
        await call(Retries(_is_passing), work)
    assert work.attempts == 2


async def test_a_caller_who_goes_away_is_no_reason_to_try_again() -> None:
    attempts = 0

    async def hang() -> None:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(60)

    asked = asyncio.create_task(call(Retries(lambda _: True), hang))
    await asyncio.sleep(0.01)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert attempts == 1


async def test_waits_for_a_random_part_of_a_time_that_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    spans: list[tuple[float, float]] = []

    def draw(least: float, most: float) -> float:
        spans.append((least, most))
        return 0.0

    monkeypatch.setattr("meshkit.retry.random.uniform", draw)
    await call(Retries(_is_passing, attempts=5, first_seconds=0.1), Work(*[Passing()] * 4))
    assert spans == [(0, 0.1), (0, 0.2), (0, 0.4), (0, 0.8)]


async def test_begins_no_attempt_after_its_own_time() -> None:
    async def slow() -> None:
        await asyncio.sleep(0.06)
        raise Passing

    started = time.monotonic()
    with pytest.raises(Passing):
        await call(Retries(_is_passing, attempts=100, first_seconds=0.0, within_seconds=0.1, budget=100), slow)
    assert time.monotonic() - started < 0.25


async def test_begins_no_attempt_after_the_callers_deadline(deadline: RequestContext) -> None:
    deadline.deadline = time.monotonic() - 0.1
    work = Work(Passing())
    with pytest.raises(Passing):
        await call(Retries(_is_passing), work)
    assert work.attempts == 1


async def test_an_outage_is_met_with_no_more_retries_than_the_budget() -> None:
    retries = Retries(_is_passing, attempts=3, first_seconds=0.0, budget=10, budget_ratio=0.1)
    attempts = 0

    async def fail() -> None:
        nonlocal attempts
        attempts += 1
        raise Passing

    for _ in range(200):
        with pytest.raises(Passing):
            await call(retries, fail)
    assert 200 + 10 <= attempts <= 200 + 10 + 200 * 0.1


async def test_calls_fill_the_budget_again() -> None:
    retries = Retries(_is_passing, attempts=2, first_seconds=0.0, budget=1, budget_ratio=0.1)
    with pytest.raises(Passing):
        await call(retries, Work(Passing(), Passing()))
    work = Work(Passing())
    with pytest.raises(Passing):
        await call(retries, work)
    assert work.attempts == 1
    for _ in range(10):
        await call(retries, Work())
    assert await call(retries, Work(Passing())) == 2
