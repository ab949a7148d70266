"""The circuit breaker, by a clock that the test moves."""

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from meshkit.breaker import Breaker
from meshkit.errors import Unavailable


class Gone(Exception):
    """The dependency fails."""


class Answered(Exception):
    """The dependency answers that the caller made a mistake."""


class Ours(Exception):
    """Something that says nothing of the dependency."""


class Clock:
    """Seconds, as many as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("thing", _judge, failures=3, window_seconds=60, recovery_seconds=5, probes=2, clock=clock)


def _judge(error: BaseException) -> bool | None:
    judgements: dict[type[BaseException], bool] = {Gone: True, Answered: False}
    return judgements.get(type(error))


async def _succeed() -> str:
    return "done"


async def _meet(breaker: Breaker, *errors: type[Exception]) -> None:
    for error in errors:

        async def fail(error: type[Exception] = error) -> None:
            raise error

        with pytest.raises(error):
            await breaker.call(fail)


async def test_passes_arguments_and_results_through(breaker: Breaker) -> None:
    async def add(one: int, other: int) -> int:
        return one + other

    assert await breaker.call(add, 1, 2) == 3


async def test_opens_after_failures_in_a_row_and_then_refuses_without_calling(breaker: Breaker) -> None:
    await _meet(breaker, Gone, Gone)
    assert breaker.state == "closed"
    await _meet(breaker, Gone)
    assert breaker.state == "open"
    called = False

    async def note() -> None:
        nonlocal called
        called = True

    with pytest.raises(Unavailable, match="thing does not answer") as refused:
        await breaker.call(note)
    assert not called
    assert (refused.value.dependency, refused.value.retry_after_seconds) == ("thing", 5.0)


async def test_says_how_long_it_stays_open_but_never_to_come_back_at_once(breaker: Breaker, clock: Clock) -> None:
    await _meet(breaker, Gone, Gone, Gone)
    for later, seconds in ((3.0, 2.0), (1.95, 0.1)):
        clock.now += later
        with pytest.raises(Unavailable) as refused:
            await breaker.call(_succeed)
        assert refused.value.retry_after_seconds == pytest.approx(seconds)


async def test_a_success_between_failures_ends_the_row(breaker: Breaker) -> None:
    await _meet(breaker, Gone, Gone)
    assert await breaker.call(_succeed) == "done"
    await _meet(breaker, Gone, Gone)
    assert breaker.state == "closed"


async def test_an_answer_that_refuses_the_caller_ends_the_row_too(breaker: Breaker) -> None:
    await _meet(breaker, Gone, Gone, Answered, Gone, Gone)
    assert breaker.state == "closed"


async def test_an_error_of_our_own_neither_ends_the_row_nor_lengthens_it(breaker: Breaker) -> None:
    await _meet(breaker, Gone, Ours, Ours, Ours, Gone)
    assert breaker.state == "closed"
    await _meet(breaker, Gone)
    assert breaker.state == "open"


async def test_failures_far_apart_are_no_row(breaker: Breaker, clock: Clock) -> None:
    for _ in range(5):
        await _meet(breaker, Gone)
        clock.now += 31
    assert breaker.state == "closed"


async def test_callers_who_go_away_say_nothing_of_the_dependency(breaker: Breaker) -> None:
    await _meet(breaker, Gone, Gone)
    for _ in range(5):
        call = asyncio.create_task(breaker.call(asyncio.sleep, 60))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert breaker.state == "closed"


async def test_half_open_lets_as_many_probes_through_as_it_may_and_refuses_the_rest(
    breaker: Breaker, clock: Clock
) -> None:
    await _meet(breaker, Gone, Gone, Gone)
    clock.now += 5
    answer = asyncio.Event()
    calls = [asyncio.create_task(breaker.call(answer.wait)) for _ in range(30)]
    await asyncio.sleep(0)
    assert breaker.state == "half_open"
    answer.set()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(each).__name__ for each in ended) == ["Unavailable"] * 28 + ["bool"] * 2
    assert breaker.state == "closed"


async def test_the_first_probe_to_fail_opens_it_again_for_the_whole_time(breaker: Breaker, clock: Clock) -> None:
    await _meet(breaker, Gone, Gone, Gone)
    clock.now += 5
    await _meet(breaker, Gone)
    assert breaker.state == "open"
    clock.now += 4.9
    with pytest.raises(Unavailable):
        await breaker.call(_succeed)
    clock.now += 0.1
    assert await breaker.call(_succeed) == "done"
    assert breaker.state == "closed"


async def test_a_probe_that_says_nothing_makes_room_for_another(breaker: Breaker, clock: Clock) -> None:
    await _meet(breaker, Gone, Gone, Gone)
    clock.now += 5
    for _ in range(10):
        probe = asyncio.create_task(breaker.call(asyncio.sleep, 60))
        await asyncio.sleep(0)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        await _meet(breaker, Ours)
    assert breaker.state == "half_open"
    assert await breaker.call(_succeed) == "done"


async def test_a_call_from_before_the_change_says_nothing_of_the_dependency_of_now(
    breaker: Breaker, clock: Clock
) -> None:
    late = asyncio.Event()

    async def end(error: type[Exception] | None) -> None:
        await late.wait()
        if error is not None:
            raise error

    before = [asyncio.create_task(breaker.call(end, error)) for error in (None, Answered, Gone, Gone, Gone)]
    await asyncio.sleep(0)
    await _meet(breaker, Gone, Gone, Gone)
    late.set()
    await asyncio.gather(*before, return_exceptions=True)
    assert breaker.state == "open"
    clock.now += 5
    assert await breaker.call(_succeed) == "done"


async def test_opens_at_once_when_its_owner_knows(breaker: Breaker) -> None:
    breaker.trip(Gone())
    assert breaker.state == "open"
    with pytest.raises(Unavailable):
        await breaker.call(_succeed)


async def test_closes_at_once_when_its_owner_knows(breaker: Breaker) -> None:
    breaker.trip(Gone())
    breaker.reset()
    assert await breaker.call(_succeed) == "done"
    await _meet(breaker, Gone, Gone)
    assert breaker.state == "closed"


async def test_tripping_an_open_breaker_does_not_lengthen_the_wait(breaker: Breaker, clock: Clock) -> None:
    breaker.trip(Gone())
    clock.now += 4
    breaker.trip(Gone())
    clock.now += 1
    assert await breaker.call(_succeed) == "done"


async def test_shows_its_state_and_counts_how_often_it_opened(breaker: Breaker, clock: Clock) -> None:
    def sample(name: str) -> float:
        return REGISTRY.get_sample_value(name, {"dependency": "thing"}) or 0.0

    opened = sample("geomesh_breaker_opened_total")
    assert sample("geomesh_breaker_state") == 0
    breaker.trip(Gone())
    assert (sample("geomesh_breaker_state"), sample("geomesh_breaker_opened_total")) == (2, opened + 1)
    clock.now += 5
    await _during(breaker, lambda: sample("geomesh_breaker_state") == 1)
    assert sample("geomesh_breaker_state") == 0


async def _during(breaker: Breaker, holds: Callable[[], bool]) -> None:
    async def check() -> None:
        assert holds()

    await breaker.call(check)
