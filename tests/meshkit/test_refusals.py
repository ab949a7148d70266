"""Refusals of known callers reach the stream that the auth service reads, however many there are, and bounded all the way."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any, Self, cast

import grpc
import pytest
from pydantic import SecretStr
from redis import asyncio as driver

from meshkit import refusals
from meshkit.context import CLIENT_ADDRESS, CURRENT, REQUEST_ID, RequestContext
from meshkit.errors import PermissionDenied, Reason
from meshkit.health import State
from meshkit.identity import Identity, permissions_of
from meshkit.refusals import FIELD, MOST_KEPT, MOST_OF_A_TENANT, STREAM, Refusal, Refusals, read_refusal
from tests.meshkit.conftest import Issuer, Start
from tests.meshkit.forging import settings
from tests.meshkit.servers import Server, empty, redis_server, until

WRITE = "/geomesh.probe.v1.ProbeService/Write"
LONG = 3600.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def redis(server: Server) -> AsyncIterator[driver.Redis]:
    empty(server)
    client = driver.Redis.from_url(server.url.get_secret_value())
    yield client
    await client.aclose()


async def handed_over(redis: Any) -> list[Refusal]:
    return [read_refusal(fields[FIELD]) for _place, fields in await redis.xrange(STREAM)]


async def some_are_there(redis: Any) -> bool:
    return bool(await redis.xlen(STREAM))


@pytest.fixture
def servicer(probe: ModuleType, messages: Any) -> Any:
    """A servicer that refuses the number 1 by itself."""

    class Probe(probe.ProbeServiceServicer):  # type: ignore[name-defined, misc]
        async def Open(self, request: Any, context: object) -> Any:
            if request.number == 1:
                raise PermissionDenied(Reason.SIGN_UP_CLOSED, "not this one")
            return messages.ProbeResponse()

        Write = Open

        async def Watch(self, request: Any, context: object) -> Any:
            yield messages.ProbeResponse()

        async def Upload(self, requests: Any, context: object) -> Any:
            return messages.ProbeResponse()

    return Probe()


class Calls:
    """Calls the probe's RPC for those who may write."""

    def __init__(self, probe: ModuleType, messages: Any, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._stub = probe.ProbeServiceStub(self._channel)
        self._messages = messages

    async def __call__(
        self, token: str = "", number: int = 0, method: str = "Write", **metadata: str
    ) -> grpc.StatusCode:
        headers = {key.replace("_", "-"): value for key, value in metadata.items()}
        if token:
            headers["authorization"] = f"Bearer {token}"
        try:
            request = self._messages.ProbeRequest(number=number)
            await getattr(self._stub, method)(request, metadata=tuple(headers.items()))
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async def close(self) -> None:
        await self._channel.close()


async def test_the_refusal_of_a_known_caller_is_handed_over_within_seconds(
    start: Start,
    servicer: Any,
    probe: ModuleType,
    messages: Any,
    issuer: tuple[Issuer, int],
    server: Server,
    redis: Any,
) -> None:
    token = issuer[0].token("public", sub="viewer", client_id="a-program")
    async with start(servicer, redis_url=server.url) as ports:
        call = Calls(probe, messages, ports.grpc)
        assert await call(token, x_request_id="the-request") is grpc.StatusCode.PERMISSION_DENIED
        await until(lambda: some_are_there(redis))
        (refusal,) = await handed_over(redis)
        await call.close()
    assert (refusal.tenant, refusal.subject, refusal.client_id) == ("acme", "viewer", "a-program")
    assert (refusal.service, refusal.method, refusal.reason) == ("runtime", WRITE, "PERMISSION_MISSING")
    assert (refusal.address, refusal.request_id, refusal.count) == ("127.0.0.1", "the-request", 1)
    assert refusal.first_time == refusal.last_time
    raw = b"".join(fields[FIELD] for _place, fields in await redis.xrange(STREAM))
    assert not any(part.encode() in raw for part in token.split("."))


async def test_what_passes_and_what_nobody_known_is_refused_is_handed_over_to_nobody(
    start: Start,
    servicer: Any,
    probe: ModuleType,
    messages: Any,
    issuer: tuple[Issuer, int],
    server: Server,
    redis: Any,
) -> None:
    async with start(servicer, redis_url=server.url) as ports:
        call = Calls(probe, messages, ports.grpc)
        assert await call(issuer[0].token("user")) is grpc.StatusCode.OK
        for token in ("", "nonsense", issuer[0].token("public", exp=1)):
            assert await call(token) is grpc.StatusCode.UNAUTHENTICATED
        # A sign-up that is closed, for one: whoever asks for it has no account yet.
        assert await call(number=1, method="Open") is grpc.StatusCode.PERMISSION_DENIED
        await call.close()
    assert not await some_are_there(redis)  # also not at the end, when everything is handed over


async def test_what_a_handler_refuses_is_handed_over_like_what_the_gate_refuses(
    start: Start,
    servicer: Any,
    probe: ModuleType,
    messages: Any,
    issuer: tuple[Issuer, int],
    server: Server,
    redis: Any,
) -> None:
    async with start(servicer, redis_url=server.url) as ports:
        call = Calls(probe, messages, ports.grpc)
        assert await call(issuer[0].token("user"), number=1) is grpc.StatusCode.PERMISSION_DENIED
        await call.close()
    (refusal,) = await handed_over(redis)
    assert (refusal.method, refusal.reason, refusal.count) == (WRITE, "SIGN_UP_CLOSED", 1)


async def test_a_flood_through_a_server_is_few_entries_whose_counts_add_up(
    start: Start,
    servicer: Any,
    probe: ModuleType,
    messages: Any,
    issuer: tuple[Issuer, int],
    server: Server,
    redis: Any,
) -> None:
    async with start(servicer, redis_url=server.url, refusal_audit_seconds=LONG) as ports:
        call = Calls(probe, messages, ports.grpc)
        token = issuer[0].token("public")
        await call(token)
        await until(lambda: some_are_there(redis))
        codes = [code for _ in range(10) for code in await asyncio.gather(*(call(token) for _ in range(100)))]
        assert set(codes) == {grpc.StatusCode.PERMISSION_DENIED}
        assert await redis.xlen(STREAM) == 1  # the rest comes when the time is over, or at the end
        await call.close()
    found = await handed_over(redis)
    assert [each.count for each in found] == [1, 1000]
    assert found[1].first_time < found[1].last_time


class Noting:
    """Counts refusals without a server."""

    def __init__(self, url: SecretStr, *, together_seconds: float = LONG) -> None:
        self.refusals = Refusals(settings(redis_url=url, refusal_audit_seconds=together_seconds))

    async def __aenter__(self) -> Self:
        await self.refusals.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refusals.close()

    def note(self, subject: str = "someone", tenant: str = "acme", request_id: str = "r") -> None:
        call = RequestContext(WRITE, {CLIENT_ADDRESS: "192.0.2.1", REQUEST_ID: request_id}, 0.0)
        call.identity = Identity(subject, tenant, ("public",), permissions_of(()), "t", 0.0, "user")
        CURRENT.set(call)
        # The edge says the address, so that nothing is asked of the connection.
        self.refusals.note(call, PermissionDenied(Reason.PERMISSION_MISSING, "no"), cast("Any", None))


async def test_many_callers_of_a_tenant_are_counted_together_and_crowd_out_nobody(server: Server, redis: Any) -> None:
    async with Noting(server.url) as noting:
        for number in range(5 * MOST_OF_A_TENANT):
            for _ in range(2):
                noting.note(f"caller-{number}")
        noting.note("alone", tenant="other")
    found = await handed_over(redis)
    own = [each for each in found if each.tenant == "acme"]
    assert len(own) == MOST_OF_A_TENANT + 1
    assert sum(each.count for each in own) == 10 * MOST_OF_A_TENANT
    (rest,) = (each for each in own if not each.subject)
    assert (rest.method, rest.client_id, rest.count) == ("", "", 8 * MOST_OF_A_TENANT)
    assert [(each.subject, each.count) for each in found if each.tenant == "other"] == [("alone", 1)]


async def test_what_is_kept_is_bounded_over_all_tenants(server: Server, redis: Any) -> None:
    del redis
    server.stop()
    uncounted = refusals._UNCOUNTED._value  # noqa: SLF001 -- what the metric says
    before = uncounted.get()
    async with Noting(server.url) as noting:
        for number in range(10 * MOST_KEPT):
            noting.note("caller", tenant=f"t-{number}")
        assert len(noting.refusals._tallies) <= 2 * MOST_KEPT  # noqa: SLF001
    assert uncounted.get() - before == 8 * MOST_KEPT


async def test_who_is_refused_nothing_for_a_while_is_forgotten(server: Server, redis: Any) -> None:
    async with Noting(server.url, together_seconds=0.0) as noting:
        noting.note()
        await noting.refusals.flush()
        assert await redis.xlen(STREAM) == 1
        await noting.refusals.flush()
        assert not noting.refusals._tallies  # noqa: SLF001
        assert not noting.refusals._of_tenant  # noqa: SLF001


async def test_refusals_are_kept_while_redis_is_away_and_handed_over_when_it_is_back(
    server: Server, redis: Any
) -> None:
    server.stop()
    async with Noting(server.url, together_seconds=0.0) as noting:
        for _ in range(3):
            for _ in range(100):
                noting.note()
            await noting.refusals.flush()
            assert noting.refusals.state is State.DOWN
        server.start()
        await until(lambda: some_are_there(redis))
        assert noting.refusals.state is State.OK
    found = await handed_over(redis)
    assert len(found) == 2
    assert sum(each.count for each in found) == 300


async def test_what_redis_may_have_taken_is_handed_over_again_under_the_same_id(server: Server, redis: Any) -> None:
    async with Noting(server.url) as noting:
        noting.note("first")  # so that there is a connection, on which Redis finds the second when it goes on
        await noting.refusals.flush()
        noting.note("second")
        server.freeze()
        await noting.refusals.flush()
        assert noting.refusals.state is State.DOWN
        server.thaw()
        await until(lambda: read_by(redis, 3))
    first, *others = await handed_over(redis)
    assert first.subject == "first"
    assert [(each.subject, each.count, each.refusal_id) for each in others] == [
        ("second", 1, others[0].refusal_id)
    ] * len(others)


async def read_by(redis: Any, least: int) -> bool:
    return int(await redis.xlen(STREAM)) >= least


async def test_says_so_when_nobody_reads_and_the_oldest_are_lost(
    server: Server, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MOST_WAITING", 300)
    async with Noting(server.url) as noting:
        for number in range(1000):
            noting.note("caller", tenant=f"t-{number}")
        for _ in range(5):
            await noting.refusals.flush()
        assert 300 <= await redis.xlen(STREAM) < 500
        assert noting.refusals.state is State.DEGRADED


async def test_what_a_foreign_token_or_a_header_says_is_cut_to_size_and_made_utf_8(server: Server, redis: Any) -> None:
    async with Noting(server.url) as noting:
        noting.note(f"corp|\ud800{'x' * 1000}", request_id="r" * 60_000)
    (refusal,) = await handed_over(redis)
    assert refusal.subject == f"corp|?{'x' * 250}"
    assert refusal.request_id == "r" * 256


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"tenant": 1}', b"\xff"])
def test_refuses_to_read_what_is_no_refusal(text: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        read_refusal(text)
