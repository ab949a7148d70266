"""What callers of a real server see while a store is stopped or frozen, and when it is back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import pairwise
from types import ModuleType
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from geomesh.health.v1 import health_pb2 as mesh_health_pb2
from geomesh.health.v1 import health_pb2_grpc as mesh_health_pb2_grpc
from meshkit.cache import Cache
from meshkit.postgres import Postgres
from tests.meshkit.conftest import Start
from tests.meshkit.servers import Server, StoreSettings, postgres_server, redis_server, until

_KNOWN_SECONDS = 2.0
_BACK_SECONDS = 5.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

Answer = Callable[[int], Awaitable[object]]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with redis_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _all_run(postgres: Server, redis: Server) -> Iterator[None]:
    """Begins each test with both stores at work, and keeps logs from being printed, which would cost much time."""
    postgres.start()
    redis.start()
    with capture_logs():
        yield


class Caller:
    """Calls a server as a client outside does."""

    def __init__(self, channel: grpc.aio.Channel, probe: ModuleType, messages: Any) -> None:
        self._probe = probe.ProbeServiceStub(channel)
        self._messages = messages
        self._standard_health: Any = health_pb2_grpc.HealthStub(channel)  # carries no types
        self._health: mesh_health_pb2_grpc.HealthServiceAsyncStub = mesh_health_pb2_grpc.HealthServiceStub(channel)

    async def ask(self, number: int = 0) -> str:
        """Returns what the servicer answers."""
        reply = await self._probe.Open(self._messages.ProbeRequest(number=number), timeout=20)
        return str(reply.text)

    async def outcome(self, number: int = 0) -> grpc.StatusCode:
        """Returns the code that a call ends with; an UNAVAILABLE one must say what is missing and when to come back."""
        try:
            await self.ask(number)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                _check_details(error)
            return error.code()
        return grpc.StatusCode.OK

    async def readiness(self) -> int:
        """Returns what a load balancer learns."""
        reply = await self._standard_health.Check(health_pb2.HealthCheckRequest(), timeout=1)
        return int(reply.status)

    async def health(self) -> tuple[str, dict[str, tuple[str, str]]]:
        """Returns the state of the service, and of each store with that of its breaker; it must answer at once."""
        reply = await self._health.GetHealth(mesh_health_pb2.GetHealthRequest(), timeout=0.5)
        stores = {
            each.name: (_name(each.state), each.breaker)
            for each in reply.dependencies
            if each.name not in {"auth-keys", "revocations", "refusals"}
        }
        return _name(reply.state), stores

    def ends_with(self, code: grpc.StatusCode) -> Callable[[], Awaitable[bool]]:
        """Tells whether calls end with this code."""

        async def ends() -> bool:
            return await self.outcome() is code

        return ends

    def is_ready(self, status: int) -> Callable[[], Awaitable[bool]]:
        """Tells whether a load balancer learns this."""

        async def is_ready() -> bool:
            return await self.readiness() == status

        return is_ready

    def is_in(self, state: str) -> Callable[[], Awaitable[bool]]:
        """Tells whether the service says that it is in this state."""

        async def is_in() -> bool:
            return (await self.health())[0] == state

        return is_in

    def finds(self, store: str, state: str) -> Callable[[], Awaitable[bool]]:
        """Tells whether the service says that a store is in this state."""

        async def finds() -> bool:
            return (await self.health())[1][store][0] == state

        return finds


def _name(state: "mesh_health_pb2.HealthState.ValueType") -> str:
    return mesh_health_pb2.HealthState.Name(state).removeprefix("HEALTH_STATE_")


def _check_details(error: grpc.aio.AioRpcError) -> None:
    status = status_pb2.Status()
    raw = dict(error.trailing_metadata()).get("grpc-status-details-bin")
    assert isinstance(raw, bytes), error.details()
    status.ParseFromString(raw)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for packed in status.details:
        packed.Unpack(info)
        packed.Unpack(retry)
    assert (info.reason, info.metadata["dependency"]) == ("DEPENDENCY_UNAVAILABLE", "postgres-primary")
    assert 0.05 <= retry.retry_delay.ToNanoseconds() / 1e9 <= _BACK_SECONDS
    assert status.message == "postgres-primary does not answer"


Serve = Callable[..., Any]


@pytest.fixture
def serve(start: Start, probe: ModuleType, messages: Any, postgres: Server, redis: Server) -> Serve:
    """Serves one RPC from both stores: 0 reads from Postgres, 1 through the cache, 2 waits in Postgres, 3 writes."""

    @asynccontextmanager
    async def served(*, is_ready: bool = True) -> AsyncIterator[Caller]:
        settings = StoreSettings(postgres_dsn=postgres.url, redis_url=redis.url, pool_size=4)
        database, cache = Postgres(settings), Cache(settings)

        async def compute() -> bytes:
            return str(await database.fetchval("SELECT 7")).encode()

        async def write() -> str:
            async with database.transaction() as connection:
                await connection.execute("CREATE TEMPORARY TABLE thing () ON COMMIT DROP")
                return str(await connection.fetchval("SELECT pg_sleep(10)"))

        answers: list[Callable[[], Awaitable[object]]] = [
            lambda: database.fetchval("SELECT 7"),
            lambda: cache.get_or_compute("seven", compute, 0.5),
            lambda: database.fetchval("SELECT pg_sleep(10)"),
            write,
        ]

        class Probe(probe.ProbeServiceServicer):  # type: ignore[name-defined, misc]
            async def Open(self, request: Any, context: object) -> Any:
                answer = await answers[request.number]()
                return messages.ProbeResponse(text=answer.decode() if isinstance(answer, bytes) else str(answer))

            async def Write(self, request: Any, context: object) -> Any:
                raise AssertionError("no test here calls it")

            async def Watch(self, request: Any, context: object) -> AsyncIterator[Any]:
                yield messages.ProbeResponse()

            async def Upload(self, requests: Any, context: object) -> Any:
                raise AssertionError("no test here calls it")

        async with AsyncExitStack() as stack:
            stores = {"dependencies": [database, cache], "redis_url": redis.url}
            ports = await stack.enter_async_context(start(Probe(), **stores, drain_seconds=0.0))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}"))
            caller = Caller(channel, probe, messages)
            if is_ready:
                await until(caller.is_in("OK"))
                await until(caller.is_ready(_SERVING))
            yield caller

    return served


@contextmanager
def _frozen(server: Server) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


async def _stop(server: Server) -> None:
    await asyncio.to_thread(server.stop)


async def _freeze(server: Server) -> None:
    server.freeze()


async def _bring_back(server: Server) -> None:
    """Starts or thaws it, whatever it needs."""
    await asyncio.to_thread(server.start) if not server.is_running() else server.thaw()


_OUTAGES = pytest.mark.parametrize("end", [_stop, _freeze], ids=["stopped", "frozen"])
_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@_OUTAGES
async def test_callers_know_within_two_seconds_that_postgres_is_gone(
    serve: Serve, postgres: Server, end: Callable[[Server], Awaitable[None]]
) -> None:
    async with serve() as caller:
        assert await caller.ask() == "7"
        await end(postgres)
        try:
            started = time.monotonic()
            assert await caller.outcome() is _UNAVAILABLE
            assert time.monotonic() - started < _KNOWN_SECONDS
        finally:
            await _bring_back(postgres)


@_OUTAGES
async def test_calls_in_work_end_within_two_seconds_too(
    serve: Serve, postgres: Server, end: Callable[[Server], Awaitable[None]]
) -> None:
    async with serve() as caller:
        in_work = [asyncio.create_task(caller.outcome(number)) for number in (2, 3, 2, 3)]
        await asyncio.sleep(0.3)
        started = time.monotonic()
        await end(postgres)
        in_work += [asyncio.create_task(caller.outcome()) for _ in range(5)]
        try:
            ended = await asyncio.gather(*in_work)
            assert time.monotonic() - started < _KNOWN_SECONDS
            assert set(ended) == {_UNAVAILABLE}
        finally:
            await _bring_back(postgres)


@_OUTAGES
async def test_nobody_of_many_waits_longer_and_later_callers_know_at_once(
    serve: Serve, postgres: Server, end: Callable[[Server], Awaitable[None]]
) -> None:
    async with serve() as caller:
        await end(postgres)
        try:
            started = time.monotonic()
            assert set(await asyncio.gather(*(caller.outcome() for _ in range(100)))) == {_UNAVAILABLE}
            assert time.monotonic() - started < _KNOWN_SECONDS
            await until(caller.is_in("DOWN"), _KNOWN_SECONDS)
            times = []
            for _ in range(20):
                started = time.monotonic()
                assert await caller.outcome() is _UNAVAILABLE
                times.append(time.monotonic() - started)
            assert sorted(times)[len(times) // 2] < 0.05, "the breaker answers for Postgres"
        finally:
            await _bring_back(postgres)


@_OUTAGES
async def test_of_a_long_outage_only_probes_wait(
    serve: Serve, postgres: Server, end: Callable[[Server], Awaitable[None]]
) -> None:
    """A probe that got no connection says of Postgres that it is gone; else each caller would be the next probe."""
    async with serve() as caller:
        await end(postgres)
        try:
            await until(caller.is_in("DOWN"), _KNOWN_SECONDS + 0.5)
            times = []
            ends_at = time.monotonic() + 5.0
            while time.monotonic() < ends_at:
                started = time.monotonic()
                assert await caller.outcome() is _UNAVAILABLE
                times.append(time.monotonic() - started)
                await asyncio.sleep(0.02)
            waited = [seconds >= 0.5 for seconds in times]
            assert not any(each and after for each, after in pairwise(waited)), "one waited right after another"
        finally:
            await _bring_back(postgres)


@_OUTAGES
async def test_the_server_lives_on_and_says_what_it_lacks(
    serve: Serve, postgres: Server, end: Callable[[Server], Awaitable[None]]
) -> None:
    async with serve() as caller:
        await end(postgres)
        try:
            await until(caller.is_ready(_NOT_SERVING), _KNOWN_SECONDS + 0.5)
            state, stores = await caller.health()
            assert (state, stores["postgres-primary"][0], stores["redis"]) == ("DOWN", "DOWN", ("OK", "closed"))
            assert stores["postgres-primary"][1] in {"open", "half_open"}
        finally:
            await _bring_back(postgres)


@_OUTAGES
@pytest.mark.parametrize("seconds", [0.0, 4.0], ids=["at once", "after a while"])
async def test_calls_succeed_within_five_seconds_of_its_return_without_a_restart(
    serve: Serve, postgres: Server, end: Callable[[Server], Awaitable[None]], seconds: float
) -> None:
    async with serve() as caller:
        await end(postgres)
        try:
            await until(caller.ends_with(_UNAVAILABLE), _KNOWN_SECONDS)
            await asyncio.sleep(seconds)
        finally:
            await _bring_back(postgres)
        back_at = time.monotonic()
        await until(caller.ends_with(grpc.StatusCode.OK), _BACK_SECONDS)
        await until(caller.is_ready(_SERVING), _BACK_SECONDS)
        assert time.monotonic() - back_at < _BACK_SECONDS
        assert set(await asyncio.gather(*(caller.outcome() for _ in range(50)))) == {grpc.StatusCode.OK}
        assert (await caller.health())[1]["postgres-primary"] == ("OK", "closed")


async def test_a_server_that_started_without_postgres_serves_when_it_is_there(serve: Serve, postgres: Server) -> None:
    await _stop(postgres)
    try:
        async with serve(is_ready=False) as caller:
            assert await caller.outcome() is _UNAVAILABLE
            assert await caller.readiness() == _NOT_SERVING
            await _bring_back(postgres)
            await until(caller.ends_with(grpc.StatusCode.OK), _BACK_SECONDS)
            await until(caller.is_ready(_SERVING), _BACK_SECONDS)
    finally:
        await _bring_back(postgres)


async def test_a_short_pause_of_postgres_fails_nobody(serve: Serve, postgres: Server) -> None:
    async with serve() as caller:
        with _frozen(postgres):
            asked = [asyncio.create_task(caller.outcome()) for _ in range(20)]
            await asyncio.sleep(0.3)
        assert set(await asyncio.gather(*asked)) == {grpc.StatusCode.OK}
        assert (await caller.health())[0] == "OK"


@_OUTAGES
async def test_without_redis_reads_are_answered_and_the_service_is_degraded_but_in_rotation(
    serve: Serve, redis: Server, end: Callable[[Server], Awaitable[None]]
) -> None:
    async with serve() as caller:
        assert await caller.ask(1) == "7"
        await end(redis)
        try:
            for number in (0, 1, 1, 0):
                started = time.monotonic()
                assert await caller.ask(number) == "7"
                assert time.monotonic() - started < 1
                await asyncio.sleep(0.2)
            # The watch for revocations may miss Redis first, and degrades the service by itself.
            await until(caller.finds("redis", "DOWN"))
            assert await caller.readiness() == _SERVING
            state, stores = await caller.health()
            assert state == "DEGRADED"
            assert stores["postgres-primary"] == ("OK", "closed")
            assert set(await asyncio.gather(*(caller.outcome(1) for _ in range(50)))) == {grpc.StatusCode.OK}
        finally:
            await _bring_back(redis)
        await until(caller.is_in("OK"), _BACK_SECONDS)
        assert await caller.ask(1) == "7"


async def test_what_the_cache_holds_is_answered_while_postgres_is_gone(serve: Serve, postgres: Server) -> None:
    async with serve() as caller:
        assert await caller.ask(1) == "7"
        await _stop(postgres)
        try:
            await until(caller.ends_with(_UNAVAILABLE), _KNOWN_SECONDS)
            await asyncio.sleep(0.6)
            assert await caller.ask(1) == "7", "stale, which is better than nothing"
        finally:
            await _bring_back(postgres)
