"""The window itself, on a real Redis and its clock."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
import redis
from pydantic import SecretStr

from gateway.limits.batches import Batches, Question, patient_redis
from gateway.limits.decisions import SCRIPT, Decision, Limiter
from gateway.limits.plans import Plans
from gateway.limits.settings import Settings
from meshkit.errors import Unavailable
from tests.meshkit.servers import redis_server

SECOND = 1_000
MINUTE = 60_000
HOUR = 3_600_000
# What is counted is asked here, not how soon: a machine that runs many tests at once may stand still for a second.
PATIENCE_SECONDS = 20.0


@pytest.fixture
async def counting(redis_url: str) -> AsyncIterator[Batches]:
    async with asking(redis_url) as batches:
        yield batches


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[Batches]:
    redis = patient_redis(Settings(redis_url=SecretStr(url)), patience_seconds=PATIENCE_SECONDS)
    await redis.start()
    batches = Batches(redis, SCRIPT, patience_seconds=PATIENCE_SECONDS)
    try:
        yield batches
    finally:
        await batches.close()
        await redis.close()


def question(*windows: tuple[str, int, int], own: str = "own") -> Question:
    """Returns the question about one request; each window is its key, its limit and its length in milliseconds."""
    arguments = [word for key, limit, length in windows for word in (limit, length, f"field_{key}")]
    return Question((own, *(key for key, _, _ in windows)), tuple(arguments))


async def ask(counting: Batches, *windows: tuple[str, int, int]) -> list[int]:
    told: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    def tell(answer: list[int] | Exception) -> None:
        if isinstance(answer, Exception):
            told.set_exception(answer)
        else:
            told.set_result(answer)

    counting.ask(question(*windows), tell)
    return await told


async def test_as_many_pass_as_the_limit_says(counting: Batches) -> None:
    answers = [await ask(counting, ("a", 3, HOUR)) for _ in range(5)]
    assert [(allowed, remaining) for allowed, _, _, remaining, _ in answers] == [(1, 2), (1, 1), (1, 0), (0, 0), (0, 0)]


async def test_no_stretch_of_a_windows_length_holds_more_than_the_limit(counting: Batches) -> None:
    passed, until = [], time.monotonic() + 5
    while time.monotonic() < until:
        # Asked in bursts, since a burst at a border is what a window could miss.
        before = time.monotonic()
        answers = await asyncio.gather(*(ask(counting, ("a", 20, SECOND)) for _ in range(7)))
        passed += [(before, time.monotonic())] * sum(answer[0] for answer in answers)
        await asyncio.sleep(0.01)
    assert len(passed) > 60  # it gives back what it took
    for first, after in zip(passed, passed[20:], strict=False):
        assert after[1] - first[0] >= 1


async def test_a_refused_request_makes_nobody_wait_longer(counting: Batches) -> None:
    await ask(counting, ("a", 1, SECOND))
    passed_at = time.monotonic()
    while not (await ask(counting, ("a", 1, SECOND)))[0]:  # noqa: ASYNC110 -- asked, not told
        await asyncio.sleep(0.005)
    assert 1.0 - 0.02 <= time.monotonic() - passed_at < 1.5


async def test_says_when_the_next_one_passes(counting: Batches) -> None:
    await ask(counting, ("a", 1, SECOND))
    _, _, _, _, wait_ms = await ask(counting, ("a", 1, SECOND))
    await asyncio.sleep(wait_ms / 1000 + 0.002)
    assert (await ask(counting, ("a", 1, SECOND)))[0] == 1


async def test_what_one_limit_refuses_counts_in_no_other(counting: Batches, redis_url: str) -> None:
    calls, streams = ("calls", 100, HOUR), ("streams", 1, HOUR)
    await ask(counting, calls, streams)
    for _ in range(3):
        allowed, place, limit, _, _ = await ask(counting, calls, streams)
        assert (allowed, place, limit) == (0, 2, 1)
    _, _, _, remaining, _ = await ask(counting, calls)
    assert remaining == 98


async def test_reports_the_limit_that_is_nearest(counting: Batches) -> None:
    _, place, limit, remaining, _ = await ask(counting, ("calls", 5, HOUR), ("batches", 50, HOUR))
    assert (place, limit, remaining) == (1, 5, 4)


async def test_a_tenants_own_limit_goes_before_the_plans_at_once(counting: Batches, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as store:
        await ask(counting, ("a", 5, HOUR))
        store.hset("own", "field_a", 2)
        assert (await ask(counting, ("a", 5, HOUR)))[:4] == [1, 1, 2, 0]
        assert (await ask(counting, ("a", 5, HOUR)))[0] == 0
        store.hset("own", "field_a", 3)
        assert (await ask(counting, ("a", 5, HOUR)))[:4] == [1, 1, 3, 0]
        store.hset("own", "field_a", 0)
        assert (await ask(counting, ("a", 5, HOUR)))[0] == 0
        store.delete("own")
        assert (await ask(counting, ("a", 5, HOUR)))[:4] == [1, 1, 5, 1]


async def test_nonsense_among_a_tenants_own_limits_changes_nothing(counting: Batches, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as store:
        store.hset("own", "field_a", "plenty")
    assert (await ask(counting, ("a", 5, HOUR)))[2] == 5


async def test_after_a_limit_was_lowered_says_when_enough_have_left(counting: Batches) -> None:
    for _ in range(4):
        await ask(counting, ("a", 10, SECOND))
        await asyncio.sleep(0.1)
    allowed, _, _, remaining, wait_ms = await ask(counting, ("a", 2, SECOND))
    assert (allowed, remaining) == (0, 0)
    await asyncio.sleep(wait_ms / 1000 + 0.002)
    assert (await ask(counting, ("a", 2, SECOND)))[0] == 1


async def test_counters_do_not_stay(counting: Batches, redis_url: str) -> None:
    await ask(counting, ("a", 5, HOUR), ("b", 5, MINUTE))
    with redis.Redis.from_url(redis_url) as store:
        assert HOUR < store.pttl("a") <= HOUR * 1.05
        assert MINUTE < store.pttl("b") <= MINUTE * 1.05


async def test_two_connections_count_together(counting: Batches, redis_url: str) -> None:
    async with asking(redis_url) as other:
        answers = await asyncio.gather(*(ask(each, ("a", 100, HOUR)) for each in [counting, other] * 100))
    assert sum(answer[0] for answer in answers) == 100


async def test_a_redis_that_keeps_forgetting_the_script_counts_all_the_same() -> None:
    ended = threading.Event()

    def forget(url: str) -> None:
        with redis.Redis.from_url(url) as store:
            while not ended.is_set():
                store.script_flush()

    with redis_server() as own, ThreadPoolExecutor(1) as thread:  # the others' scripts are in the tests' Redis
        url = own.url.get_secret_value()
        async with asking(url) as counting:
            forgetting = thread.submit(forget, url)
            try:
                remaining = [(await ask(counting, ("a", 200, HOUR)))[3] for _ in range(200)]
            finally:
                ended.set()
        forgetting.result()
    assert remaining == list(reversed(range(200)))


async def test_a_redis_that_refuses_to_count_is_told_of_and_stops_nobody(
    counting: Batches, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    limiter = Limiter(Plans(Settings()), counting)
    facts = (("kind", "call"), ("masked_remote_address", "10.0.0.1/32"))
    with redis.Redis.from_url(redis_url) as store:
        store.set("geomesh:counted:calls_an_hour:address:10.0.0.1/32", "not a hash")
    decisions: asyncio.Queue[Decision | None] = asyncio.Queue()
    for _ in range(3):
        limiter.decide(facts, decisions.put_nowait)
    assert [await decisions.get() for _ in range(3)] == [None, None, None]
    assert capsys.readouterr().out.count("WRONGTYPE") == 1


async def test_many_are_asked_in_few_runs_and_each_gets_its_own_answer(counting: Batches, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as store, store.monitor() as seen:
        answers = await asyncio.gather(*(ask(counting, (f"caller-{n}", n + 1, HOUR)) for n in range(250)))
        store.echo("that was all")
        database = store.get_connection_kwargs()["db"]
        commands = itertools.takewhile(lambda each: "that was all" not in each["command"], seen.listen())
        runs = sum(each["db"] == database and each["command"].startswith("EVAL") for each in commands)
    assert [(allowed, limit, remaining) for allowed, _, limit, remaining, _ in answers] == [
        (1, n + 1, n) for n in range(250)
    ]
    assert 3 <= runs <= 4  # the first may find that Redis does not know the script


async def test_what_cannot_be_counted_spoils_nobody_elses_answer(counting: Batches, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as store:
        store.set("broken", "not a hash")
    first, broken, last = await asyncio.gather(
        *(ask(counting, (key, 5, HOUR)) for key in ("a", "broken", "b")), return_exceptions=True
    )
    for answer in (first, last):
        assert isinstance(answer, list), answer
        assert answer[0] == 1
    assert isinstance(broken, redis.ResponseError)
    assert "WRONGTYPE" in str(broken)


async def test_who_cannot_be_told_holds_nobody_up(counting: Batches) -> None:
    def fail(_answer: object) -> None:
        raise RuntimeError("it went away")

    counting.ask(question(("a", 5, HOUR)), fail)
    assert (await ask(counting, ("a", 5, HOUR)))[3] == 3


async def test_a_wrong_password_is_a_redis_that_does_not_answer(redis_url: str) -> None:
    async with asking(redis_url.replace(redis_url.split("@", maxsplit=1)[0], "redis://:wrong")) as batches:
        with pytest.raises(Unavailable):
            await ask(batches, ("a", 5, HOUR))
