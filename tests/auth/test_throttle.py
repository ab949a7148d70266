"""Who guesses is slowed down, and nobody learns by that who has an account."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import redis

from auth.throttle import Attempt, Rate, Throttle
from geomesh.auth.v1 import auth_pb2 as pb
from meshkit.errors import ResourceExhausted
from meshkit.redis import Redis
from tests.auth.conftest import EMAIL, PASSWORD, Auth, Start, make_settings, refusal

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"


@pytest.fixture
async def store(redis_url: str, tmp_path: Path) -> AsyncIterator[Redis]:
    # On a busy machine Redis is slow, not away: that is another test.
    store = Redis(make_settings("x", "x", tmp_path, redis_url=redis_url), timeout_seconds=10.0)
    yield store
    await store.close()


def throttle(store: Redis, account: int = 3, address: int = 100, seconds: float = 60.0) -> Throttle:
    return Throttle(store, "test", account=Rate(account, seconds), address=Rate(address, seconds))


async def taken(counter: Throttle, times: int, name: str = EMAIL, address: str = HERE) -> list[Attempt]:
    results = await asyncio.gather(*(counter.take(name, address) for _ in range(times)), return_exceptions=True)
    assert all(isinstance(result, Attempt | ResourceExhausted) for result in results)
    return [result for result in results if isinstance(result, Attempt)]


async def test_so_many_pass_at_once_and_no_more_on_any_replica(store: Redis) -> None:
    replicas = [throttle(store), throttle(store)]
    passed = await asyncio.gather(*(taken(replica, 20) for replica in replicas))
    assert sum(map(len, passed)) == 3


async def test_the_next_one_may_try_after_the_interval(store: Redis) -> None:
    counter = throttle(store, seconds=0.5)
    assert len(await taken(counter, 10)) == 3
    with pytest.raises(ResourceExhausted) as refused:
        await counter.take(EMAIL, HERE)
    assert 0 < refused.value.retry_after_seconds <= 0.5
    await asyncio.sleep(refused.value.retry_after_seconds)
    assert len(await taken(counter, 10)) == 1


async def test_a_refused_attempt_makes_nobody_wait_longer(store: Redis) -> None:
    counter = throttle(store, seconds=1.0)
    await taken(counter, 10)
    until = time.monotonic() + 0.9
    while time.monotonic() < until:
        with pytest.raises(ResourceExhausted) as refused:
            await counter.take(EMAIL, HERE)
    assert refused.value.retry_after_seconds < 0.5


async def test_a_success_is_given_back(store: Redis) -> None:
    counter = throttle(store)
    for _ in range(20):
        await counter.succeeded(await counter.take(EMAIL, HERE))
    assert len(await taken(counter, 10)) == 3


async def test_an_attacker_does_not_hold_the_owner_up(store: Redis) -> None:
    counter = throttle(store)
    await counter.succeeded(await counter.take(EMAIL, HERE))
    assert len(await taken(counter, 10, address=ELSEWHERE)) == 3
    assert len(await taken(counter, 10, address=HERE)) == 3
    assert await taken(counter, 10, address="203.0.113.9") == []


async def test_many_accounts_from_one_address_are_slowed_down(store: Redis) -> None:
    counter = throttle(store, address=5)
    results = [await taken(counter, 1, name=f"{number}@acme.example") for number in range(8)]
    assert sum(map(len, results)) == 5
    assert len(await taken(counter, 1, address=ELSEWHERE)) == 1


async def test_one_ipv6_network_is_one_address(store: Redis) -> None:
    counter = throttle(store, address=5)
    results = [await taken(counter, 1, f"{number}@a.example", f"2001:db8::{number:x}") for number in range(8)]
    assert sum(map(len, results)) == 5
    assert len(await taken(counter, 1, address="2001:db8:0:1::1")) == 1


async def test_everything_in_redis_ends_by_itself_and_names_nobody(store: Redis, redis_url: str) -> None:
    counter = throttle(store)
    await counter.succeeded((await taken(counter, 10))[0])
    with redis.Redis.from_url(redis_url) as client:
        keys = client.keys("*")
        assert keys
        assert all(client.ttl(key) > 0 for key in keys)
        assert not [key for key in keys if EMAIL.encode() in key]


async def test_without_redis_each_process_counts(tmp_path: Path) -> None:
    store = Redis(make_settings("x", "x", tmp_path, redis_url="redis://127.0.0.1:9/0"))
    counter = throttle(store)
    passed = await taken(counter, 10)
    assert len(passed) == 3
    await counter.succeeded(passed[0])
    assert len(await taken(counter, 10)) == 1
    assert len(await taken(counter, 1, name="other@acme.example")) == 1
    await store.close()


async def attempt(auth: Auth, email: str, password: str) -> tuple[grpc.StatusCode, str, float]:
    started = time.perf_counter()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await auth.login(email, password)
    return refused.value.code(), refused.value.details() or "", time.perf_counter() - started


async def test_known_and_unknown_accounts_are_slowed_down_alike(start: Start) -> None:
    async with start(sign_in_account_burst=3) as auth:
        await auth.add()
        known = [await attempt(auth, EMAIL, "wrong") for _ in range(5)]
        unknown = [await attempt(auth, "nobody@acme.example", "wrong") for _ in range(5)]
        assert [each[:2] for each in known] == [each[:2] for each in unknown]
        codes = [each[0] for each in known]
        assert codes == [grpc.StatusCode.UNAUTHENTICATED] * 3 + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2
        # The right password is no better while the account is slowed down.
        assert isinstance(await refusal(auth.login()), ResourceExhausted)
        throttled = [event for event in await auth.audit() if event[0] == "sign_in.throttled"]
        assert len(throttled) == 1
        assert "sign_in.throttled" in [event[0] for event in await auth.audit("public")]


async def test_guesses_at_one_time_are_counted_before_they_are_checked(start: Start) -> None:
    async with start(sign_in_account_burst=5, password_waiting=100) as auth:
        await auth.add()
        passwords = [f"guess {number}" for number in range(30)] + [PASSWORD]
        calls = (attempt(auth, EMAIL, password) for password in passwords[:-1])
        codes = [code for code, _, _ in await asyncio.gather(*calls)]
        assert codes.count(grpc.StatusCode.UNAUTHENTICATED) == 5


async def test_guesses_from_one_address_at_one_time_are_counted_exactly_on_all_replicas(start: Start) -> None:
    many = {"sign_in_address_burst": 7, "password_waiting": 100}
    async with start(**many) as auth, start(**many) as replica:
        await auth.add()
        calls = (attempt((auth, replica)[number % 2], f"{number}@acme.example", "guess") for number in range(40))
        codes = [code for code, _, _ in await asyncio.gather(*calls)]
        assert codes.count(grpc.StatusCode.UNAUTHENTICATED) == 7
        assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 33


async def test_sign_in_goes_on_without_redis_and_is_still_slowed_down(start: Start) -> None:
    async with start(sign_in_account_burst=3, redis_url="redis://127.0.0.1:9/0") as auth:
        await auth.add()
        await auth.login()
        codes = [(await attempt(auth, EMAIL, "wrong"))[0] for _ in range(4)]
        assert codes == [grpc.StatusCode.UNAUTHENTICATED] * 3 + [grpc.StatusCode.RESOURCE_EXHAUSTED]


async def test_the_edge_says_who_the_client_is(start: Start) -> None:
    async with start() as auth:
        await auth.add()
        with pytest.raises(grpc.aio.AioRpcError):
            await auth.stub.Login(_wrong(), metadata=(("x-envoy-external-address", ELSEWHERE),))
        with pytest.raises(grpc.aio.AioRpcError):
            await auth.stub.Login(_wrong())
        query = "SELECT string_agg(address, ' ' ORDER BY sequence) FROM auth.audit_events WHERE tenant_id = 'acme'"
        assert await auth.arrange(query) == f"{ELSEWHERE} 127.0.0.1"


def _wrong() -> pb.LoginRequest:
    return pb.LoginRequest(email=EMAIL, password="wrong")
