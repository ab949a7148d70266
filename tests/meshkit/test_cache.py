"""The cache: computed once however many ask, kept here and in Redis, right without Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from structlog.testing import capture_logs

from meshkit.cache import Cache
from meshkit.context import CURRENT, RequestContext
from meshkit.errors import DeadlineExceeded, NotFound, Reason
from meshkit.health import State
from meshkit.settings import ServiceSettings
from tests.meshkit.servers import Server, StoreSettings, empty, redis_server, until


class OtherSettings(ServiceSettings, service="gateway"):
    """The settings of another service."""


class Computation:
    """Counts how often it was computed, and takes as long as the test says."""

    def __init__(self, seconds: float = 0.0, value: bytes = b"") -> None:
        self.times = 0
        self.seconds = seconds
        self.error: Exception | None = None
        self._value = value

    async def __call__(self) -> bytes:
        self.times += 1
        time_now = self.times
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return self._value or b"value %d" % time_now


Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with redis_server() as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """An empty Redis, whatever the test before did to it."""
    empty(shared)
    with capture_logs():
        yield shared


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Connect]:
    """Makes a cache as one process has it; all share one Redis."""
    async with AsyncExitStack() as stack:

        async def connected(settings: type[ServiceSettings] = StoreSettings, **options: Any) -> Cache:
            fields = {name: options.pop(name) for name in list(options) if name in settings.model_fields}
            cache = Cache(settings(redis_url=server.url, **fields), **options)
            await cache.start()
            stack.push_async_callback(cache.close)
            return cache

        yield connected


@pytest.fixture
async def client(server: Server) -> AsyncIterator["Redis"]:
    """Looks into Redis."""
    async with Redis.from_url(server.url.get_secret_value()) as client:
        yield client


def _count(result: str) -> float:
    return REGISTRY.get_sample_value("geomesh_cache_operations_total", {"result": result}) or 0.0


async def _stored(client: Redis, many: int = 1) -> None:
    async def are_stored() -> bool:
        return len(await client.keys("*:value:*")) == many and not await client.keys("*:lock:*")

    await until(are_stored)


async def test_a_value_is_computed_once_and_then_at_hand(connect: Connect) -> None:
    cache, compute = await connect(), Computation()
    hits = _count("hit_local")
    for _ in range(3):
        assert await cache.get_or_compute("k", compute, 60) == b"value 1"
    assert (compute.times, _count("hit_local") - hits) == (1, 2)


async def test_each_key_has_its_own_value(connect: Connect) -> None:
    cache, compute = await connect(), Computation()
    assert await cache.get_or_compute("a", compute, 60) == b"value 1"
    assert await cache.get_or_compute("b", compute, 60) == b"value 2"


async def test_thirty_who_ask_for_what_nobody_has_cause_one_computation(connect: Connect) -> None:
    cache, compute = await connect(), Computation(0.1)
    asked = await asyncio.gather(*(cache.get_or_compute("k", compute, 60) for _ in range(30)))
    assert (set(asked), compute.times) == ({b"value 1"}, 1)


async def test_thirty_who_ask_three_processes_cause_one_computation(connect: Connect) -> None:
    caches, compute = [await connect() for _ in range(3)], Computation(0.2)
    asked = await asyncio.gather(*(cache.get_or_compute("k", compute, 60) for cache in caches * 10))
    assert (set(asked), compute.times) == ({b"value 1"}, 1)


async def test_what_one_process_computed_another_finds(connect: Connect, client: Redis) -> None:
    compute = Computation()
    await (await connect()).get_or_compute("k", compute, 60)
    await _stored(client)
    hits = _count("hit_redis")
    other = await connect()
    assert await other.get_or_compute("k", compute, 60) == b"value 1"
    assert await other.get_or_compute("k", compute, 60) == b"value 1"
    assert (compute.times, _count("hit_redis") - hits) == (1, 1)


async def test_an_empty_value_is_a_value(connect: Connect, client: Redis) -> None:
    times = 0

    async def compute() -> bytes:
        nonlocal times
        times += 1
        return b""

    for cache in (await connect(), await connect()):
        assert await cache.get_or_compute("k", compute, 60) == b""
        await _stored(client)
    assert times == 1


async def test_services_and_versions_do_not_share_values(connect: Connect, client: Redis) -> None:
    compute = Computation()
    caches = [await connect(), await connect(OtherSettings), await connect(version=2)]
    for many, cache in enumerate(caches, 1):
        assert await cache.get_or_compute("k", compute, 60) == b"value %d" % many
        await _stored(client, many)


async def test_the_first_to_ask_may_go_away_without_ending_the_others(connect: Connect) -> None:
    cache, compute = await connect(), Computation(0.2)
    first, *others = (asyncio.create_task(cache.get_or_compute("k", compute, 60)) for _ in range(10))
    await asyncio.sleep(0.05)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert set(await asyncio.gather(*others)) == {b"value 1"}
    assert compute.times == 1


async def test_what_was_begun_is_finished_and_kept_though_all_went_away(connect: Connect) -> None:
    cache, compute = await connect(), Computation(0.1)
    asking = asyncio.create_task(cache.get_or_compute("k", compute, 60))
    await asyncio.sleep(0.05)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.sleep(0.1)
    assert await cache.get_or_compute("k", compute, 60) == b"value 1"


async def test_a_computation_has_the_services_time_and_not_its_first_callers(connect: Connect) -> None:
    cache = await connect(request_timeout_seconds=20)
    call = RequestContext("/probe", {}, time.monotonic() + 0.01)
    token = CURRENT.set(call)
    remaining = []

    async def compute() -> bytes:
        inside = CURRENT.get()
        assert inside is not None
        remaining.append(inside.deadline - time.monotonic())
        assert inside.method == "/probe"
        return b"v"

    await cache.get_or_compute("k", compute, 60)
    assert CURRENT.get() is call
    CURRENT.reset(token)
    assert 19 < remaining[0] <= 20


async def test_a_computation_is_ended_by_the_services_time(connect: Connect) -> None:
    cache, compute = await connect(request_timeout_seconds=0.1), Computation(30)
    asked = await asyncio.gather(*(cache.get_or_compute("k", compute, 60) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in asked] == [DeadlineExceeded] * 3


async def test_an_error_goes_to_all_who_wait_and_is_not_kept(connect: Connect, client: Redis) -> None:
    caches, compute = [await connect(), await connect()], Computation(0.1)
    compute.error = NotFound(Reason.PLACE_NOT_FOUND, "no place has id 42")
    asked = await asyncio.gather(
        *(caches[0].get_or_compute("k", compute, 60) for _ in range(10)), return_exceptions=True
    )
    assert (asked, compute.times) == ([compute.error] * 10, 1)
    compute.error = None
    await _stored(client, many=0)
    assert await caches[1].get_or_compute("k", compute, 60) == b"value 2"


async def test_another_process_need_not_wait_for_one_whose_computation_failed(connect: Connect) -> None:
    failing, working = Computation(0.2), Computation()
    failing.error = ValueError("a defect")
    first = asyncio.create_task((await connect()).get_or_compute("k", failing, 60))
    other = await connect()
    await asyncio.sleep(0.05)
    started = time.monotonic()
    assert await other.get_or_compute("k", working, 60) == b"value 1"
    assert time.monotonic() - started < 1
    with pytest.raises(ValueError, match="a defect"):
        await first


async def test_another_process_takes_over_from_one_that_died(connect: Connect, client: Redis) -> None:
    cache, compute = await connect(), Computation()
    await client.set("geomesh:runtime:1:lock:k", "", px=300)
    started = time.monotonic()
    assert await cache.get_or_compute("k", compute, 60) == b"value 1"
    assert 0.2 < time.monotonic() - started < 1


async def test_a_stale_value_is_handed_out_while_one_caller_has_it_computed_anew(connect: Connect) -> None:
    cache, compute = await connect(), Computation()
    await cache.get_or_compute("k", compute, 0.05)
    compute.seconds = 0.2
    await asyncio.sleep(0.06)
    started = time.monotonic()
    asked = await asyncio.gather(*(cache.get_or_compute("k", compute, 0.05) for _ in range(30)))
    assert (set(asked), time.monotonic() - started < 0.1) == ({b"value 1"}, True)

    async def is_new() -> bool:
        return bool(await cache.get_or_compute("k", compute, 60) == b"value 2")

    assert await until(is_new, 1) > 0.1
    assert compute.times == 2


async def test_a_value_that_is_stale_in_redis_is_handed_out_too_and_replaced_by_one_process(
    connect: Connect, client: Redis
) -> None:
    compute = Computation()
    await (await connect()).get_or_compute("k", compute, 0.05)
    await _stored(client)
    await asyncio.sleep(0.06)
    compute.seconds = 0.2
    others = [await connect() for _ in range(3)]
    asked = await asyncio.gather(*(each.get_or_compute("k", compute, 60) for each in others * 5))
    assert set(asked) == {b"value 1"}

    async def all_have_the_new_one() -> bool:
        return [await each.get_or_compute("k", compute, 60) for each in others] == [b"value 2"] * 3

    await until(all_have_the_new_one, 3)
    assert compute.times == 2


async def test_a_stale_value_outlives_failures_to_replace_it_until_its_time_is_over(connect: Connect) -> None:
    cache, compute = await connect(), Computation()
    await cache.get_or_compute("k", compute, 0.05, stale_seconds=0.5)
    compute.error = ValueError("a defect")
    await asyncio.sleep(0.06)
    for _ in range(10):
        assert await cache.get_or_compute("k", compute, 0.05, stale_seconds=0.5) == b"value 1"
        await asyncio.sleep(0.02)
    assert compute.times == 2, "it rests after a failure"
    await asyncio.sleep(0.4)
    with pytest.raises(ValueError, match="a defect"):
        await cache.get_or_compute("k", compute, 0.05, stale_seconds=0.5)


async def test_a_value_that_is_too_old_is_handed_out_by_nobody(connect: Connect, client: Redis) -> None:
    caches, compute = [await connect(), await connect()], Computation()
    await caches[0].get_or_compute("k", compute, 0.05, stale_seconds=0.05)
    await _stored(client)
    await asyncio.sleep(0.15)
    assert await caches[0].get_or_compute("k", compute, 60) == b"value 2"
    assert await caches[1].get_or_compute("k", compute, 60) in {b"value 2", b"value 3"}


async def test_the_value_used_longest_ago_makes_room(connect: Connect, client: Redis) -> None:
    cache, compute = await connect(entries=2), Computation()
    for key in ("a", "b", "a", "c"):
        await cache.get_or_compute(key, compute, 60)
    await _stored(client, 3)
    await client.flushall()
    assert await cache.get_or_compute("a", compute, 60) == b"value 1"
    assert await cache.get_or_compute("c", compute, 60) == b"value 3"
    assert await cache.get_or_compute("b", compute, 60) == b"value 4"


async def test_a_large_value_is_kept_in_redis_alone(connect: Connect, client: Redis) -> None:
    cache, compute = await connect(), Computation(value=b"x" * 65_537)
    await cache.get_or_compute("k", compute, 60)
    await _stored(client)
    assert len(await cache.get_or_compute("k", compute, 60)) == 65_537
    assert compute.times == 1
    await client.flushall()
    await cache.get_or_compute("k", compute, 60)
    assert compute.times == 2


async def test_redis_forgets_a_value_when_nobody_may_have_it_any_more(connect: Connect, client: Redis) -> None:
    cache = await connect()
    await cache.get_or_compute("k", Computation(), 10, stale_seconds=5)
    await _stored(client)
    assert 13 < await client.pttl("geomesh:runtime:1:value:k") / 1000 <= 15


async def test_values_that_were_computed_together_do_not_expire_together(connect: Connect, client: Redis) -> None:
    cache = await connect()
    for number in range(40):
        await cache.get_or_compute(f"k{number}", Computation(), 100, stale_seconds=0)
    await _stored(client, 40)
    times = [await client.pttl(key) / 1000 for key in await client.keys("*:value:*")]
    assert 88 < min(times) < max(times) <= 100
    assert max(times) - min(times) > 3


async def test_without_redis_each_process_computes_once_for_itself_and_nobody_waits(
    server: Server, connect: Connect
) -> None:
    caches, compute = [await connect(), await connect()], Computation(0.05)
    assert (caches[0].state, caches[0].required) == (State.OK, False)
    await asyncio.to_thread(server.stop)
    started = time.monotonic()
    asked = await asyncio.gather(*(cache.get_or_compute("k", compute, 60) for cache in caches * 15))
    assert time.monotonic() - started < 0.5
    assert (set(asked), compute.times) == ({b"value 1", b"value 2"}, 2)


async def test_a_frozen_redis_costs_a_fraction_of_a_second_and_soon_nothing(server: Server, connect: Connect) -> None:
    cache, compute = await connect(), Computation()
    server.freeze()
    try:
        started = time.monotonic()
        await cache.get_or_compute("first", compute, 60)
        assert time.monotonic() - started < 0.5
        await until(_is_down(cache))
        started = time.monotonic()
        for number in range(50):
            await cache.get_or_compute(f"k{number}", compute, 60)
        assert time.monotonic() - started < 0.2
    finally:
        server.thaw()


async def test_redis_is_used_again_when_it_is_back(server: Server, connect: Connect, client: Redis) -> None:
    cache = await connect()
    await asyncio.to_thread(server.stop)
    await until(_is_down(cache))
    await asyncio.to_thread(server.start)

    async def is_up() -> bool:
        return cache.state is State.OK and cache.breaker == "closed"

    await until(is_up)
    await cache.get_or_compute("k", Computation(), 60)
    await _stored(client)


async def test_a_redis_that_refuses_commands_is_no_reason_to_refuse_callers(connect: Connect, client: Redis) -> None:
    cache, compute = await connect(), Computation()
    await client.set("geomesh:runtime:1:value:k", b"garbage")
    await client.config_set("maxmemory", "1")
    try:
        assert await cache.get_or_compute("k", compute, 60) == b"value 1"
        assert await cache.get_or_compute("other", compute, 60) == b"value 2"
    finally:
        await client.config_set("maxmemory", "0")


async def test_closing_drops_what_is_under_way(connect: Connect) -> None:
    cache = await connect()
    asking = asyncio.create_task(cache.get_or_compute("k", Computation(30), 60))
    await asyncio.sleep(0.05)
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_value_that_grew_too_large_for_the_process_takes_the_place_of_the_small_one(connect: Connect) -> None:
    cache = await connect()
    await cache.get_or_compute("k", Computation(value=b"small"), 0.05)
    await asyncio.sleep(0.06)
    large = Computation(value=b"x" * 65_537)

    async def is_large() -> bool:
        return len(await cache.get_or_compute("k", large, 60)) > 5

    await until(is_large, 2)


def _is_down(cache: Cache) -> Any:
    async def is_down() -> bool:
        return cache.state is State.DOWN

    return is_down


async def test_a_key_comes_to_redis_when_it_is_missed_again_where_sharing_waits(
    connect: Connect, server: Server
) -> None:
    cache = await connect(share_once_asked=False, entries=1)
    compute = Computation()
    async with Redis(port=server.port) as redis:
        first = await cache.get_or_compute("once", compute, ttl_seconds=60)
        assert await cache.get_or_compute("once", compute, ttl_seconds=60) == first
        await cache.get_or_compute("another", Computation(), ttl_seconds=60)  # makes the first one leave
        assert await redis.keys() == []
        await cache.get_or_compute("once", compute, ttl_seconds=60)
        await until(lambda: cache_keys(redis))
    other = await connect()
    assert await other.get_or_compute("once", compute, ttl_seconds=60) == b"value 2"
    assert compute.times == 2


async def cache_keys(redis: Redis) -> bool:
    """Tells whether a value has arrived."""
    return any(b":value:" in key for key in await redis.keys())


async def test_what_is_made_at_once_is_kept_and_needs_no_computation(connect: Connect) -> None:
    cache = await connect(share_once_asked=False)
    compute, answers = Computation(), iter([b"at once"])
    for _ in range(2):
        got = await cache.get_or_compute("key", compute, ttl_seconds=60, at_once=lambda: next(answers))
        assert got == b"at once"
    assert compute.times == 0


async def test_what_cannot_be_made_at_once_is_computed_once_for_all(connect: Connect) -> None:
    cache = await connect(share_once_asked=False)
    compute = Computation(seconds=0.05)
    got = await asyncio.gather(
        *(cache.get_or_compute("key", compute, ttl_seconds=60, at_once=lambda: None) for _ in range(20))
    )
    assert (got, compute.times) == ([b"value 1"] * 20, 1)


async def test_an_error_at_once_is_told_and_not_kept(connect: Connect) -> None:
    cache = await connect(share_once_asked=False)

    def fail() -> bytes | None:
        raise NotFound(Reason.NO_DATA_NEARBY, "nothing here")

    with pytest.raises(NotFound):
        await cache.get_or_compute("key", Computation(), ttl_seconds=60, at_once=fail)
    assert await cache.get_or_compute("key", Computation(), ttl_seconds=60, at_once=lambda: b"later") == b"value 1"


async def test_what_all_processes_share_is_not_made_at_once(connect: Connect) -> None:
    cache = await connect()
    assert await cache.get_or_compute("key", Computation(), ttl_seconds=60, at_once=lambda: b"alone") == b"value 1"
