"""What is revoked comes from Redis to every process, and what happens to remembered tokens, streams and a lost Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import grpc
import pytest
from pydantic import SecretStr
from redis import asyncio as driver

from meshkit.errors import Reason
from meshkit.health import State
from meshkit.revocations import KEYS, PUBLISH, Kind, Revocation, RevokedTokens, publication
from tests.meshkit.conftest import Issuer, Start
from tests.meshkit.forging import settings
from tests.meshkit.servers import Server, empty, redis_server
from tests.meshkit.test_request_path import reason
from tests.meshkit.test_tokens import FORGER, Mesh

INFINITE = float("inf")


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


class Follower:
    """A process that asks when it is told to."""

    def __init__(self, server: Server) -> None:
        self.told = 0
        self.revoked = RevokedTokens(settings(redis_url=server.url, revocation_poll_seconds=60))
        self.revoked.listen(self._listen)

    def _listen(self) -> None:
        self.told += 1

    async def __aenter__(self) -> Self:
        await self.revoked.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.revoked.close()

    def knows(self, kind: Kind, name: str, issued_at: float = 1_000.0) -> bool:
        found = self.revoked._issued_before[kind].get(name)  # noqa: SLF001
        return found is not None and issued_at < found[0]


async def publish(redis: Any, *revocations: Revocation, epoch: str = "one", whole: bool = False) -> bool:
    arguments = publication(revocations, now=time.time(), epoch=epoch, whole=whole)
    return bool(await redis.eval(PUBLISH, len(KEYS), *KEYS, *arguments))


def revocation(name: str, changed_at: float = 1.0, **changes: float) -> Revocation:
    chosen = {"issued_before": INFINITE, "until": INFINITE} | changes
    return Revocation(Kind.SESSION, name, changed_at=changed_at, **chosen)


async def test_learns_what_was_published_before_and_after_it_began(server: Server, redis: Any) -> None:
    await publish(redis, revocation("a name with spaces"), whole=True)
    async with Follower(server) as follower:
        assert follower.knows(Kind.SESSION, "a name with spaces")
        assert not follower.knows(Kind.TENANT, "a name with spaces")
        await publish(redis, revocation("b"))
        assert not follower.knows(Kind.SESSION, "b")
        await follower.revoked.poll()
        assert follower.knows(Kind.SESSION, "b")
        assert follower.told == 2
        await follower.revoked.poll()
        assert follower.told == 2
        assert follower.revoked.state is State.OK


async def test_an_older_word_never_replaces_a_newer(server: Server, redis: Any) -> None:
    await publish(redis, revocation("a", changed_at=2.0), whole=True)
    await publish(redis, revocation("a", changed_at=1.0, issued_before=0.0))
    async with Follower(server) as follower:
        assert follower.knows(Kind.SESSION, "a")
        await publish(redis, revocation("a", changed_at=3.0, issued_before=500.0))
        await follower.revoked.poll()
        assert not follower.knows(Kind.SESSION, "a", issued_at=1_000.0)
        assert follower.knows(Kind.SESSION, "a", issued_at=499.0)


async def test_forgets_what_covers_no_token_any_more(server: Server, redis: Any) -> None:
    await publish(redis, revocation("a", until=time.time() + 0.3), whole=True)
    async with Follower(server) as follower:
        assert follower.knows(Kind.SESSION, "a")
        await asyncio.sleep(0.4)
        await publish(redis, revocation("b"))
        await follower.revoked.poll()
        assert not follower.knows(Kind.SESSION, "a")
        assert await redis.hlen(KEYS[1]) == await redis.zcard(KEYS[2]) == await redis.zcard(KEYS[3]) == 1


async def test_who_missed_that_something_was_dropped_starts_anew(server: Server, redis: Any) -> None:
    await publish(redis, revocation("a"), whole=True)
    async with Follower(server) as follower:
        # Taken back while the follower does not look, and dropped before it looks again.
        await publish(redis, revocation("a", changed_at=2.0, issued_before=0.0, until=1.0))
        await publish(redis, revocation("b"))
        await follower.revoked.poll()
        assert not follower.knows(Kind.SESSION, "a")
        assert follower.knows(Kind.SESSION, "b")


async def test_a_publisher_learns_that_redis_lost_its_data(server: Server, redis: Any) -> None:
    assert await publish(redis, revocation("a"), whole=True)
    await redis.flushdb()
    assert not await publish(redis, revocation("b"))
    async with Follower(server) as follower:
        assert await publish(redis, revocation("a"), revocation("b"), epoch="two", whole=True)
        await follower.revoked.poll()
        assert follower.knows(Kind.SESSION, "a")


async def test_what_is_known_stays_true_while_redis_is_empty_or_away(server: Server, redis: Any) -> None:
    await publish(redis, revocation("a"), whole=True)
    async with Follower(server) as follower:
        await redis.flushdb()
        await follower.revoked.poll()
        assert follower.knows(Kind.SESSION, "a")
        server.stop()
        await follower.revoked.poll()
        assert follower.knows(Kind.SESSION, "a")
        states = [follower.revoked.state]
        server.start()
        await follower.revoked.poll()
        assert [*states, follower.revoked.state] == [State.DOWN, State.OK]


async def test_a_frozen_redis_keeps_nobody_waiting_for_long(server: Server, redis: Any) -> None:
    follower = Follower(server)
    server.freeze()
    try:
        started = time.monotonic()
        await follower.revoked.start()
        assert time.monotonic() - started < 5
        assert follower.revoked.state is State.DOWN
    finally:
        server.thaw()
        await follower.revoked.close()


async def test_a_remembered_token_is_forgotten_when_it_is_revoked() -> None:
    mesh = Mesh()
    token, other = FORGER.token(sid="s-1"), FORGER.token(sid="s-2")
    await mesh.verifier.verify(token)
    kept = await mesh.verifier.verify(other)
    mesh.verifier.revoked.adopt([revocation("s-1")])
    assert mesh.verifier.cached(token) is None
    assert mesh.verifier.cached(other) is kept
    assert (await mesh.refusal(token)).reason is Reason.TOKEN_REVOKED


@pytest.mark.parametrize(
    ("kind", "claim", "name"),
    [
        (Kind.TOKEN, "jti", "t-1"),
        (Kind.SESSION, "sid", "s-1"),
        (Kind.SUBJECT, "sub", "u-1"),
        (Kind.TENANT, "tenant", "o-1"),
    ],
)
async def test_tokens_are_revoked_by_what_they_have_in_common(kind: Kind, claim: str, name: str) -> None:
    mesh = Mesh()
    now = time.time()
    mesh.verifier.revoked.adopt([Revocation(kind, name, now - 10, now + 900)])
    assert (await mesh.refusal(token(**{claim: name}, iat=now - 11))).reason is Reason.TOKEN_REVOKED
    await mesh.verifier.verify(token(**{claim: name}, iat=now - 9.5))
    await mesh.verifier.verify(token(**{claim: "another"}, iat=now - 11))


def token(**changes: Any) -> str:
    return FORGER.token(FORGER.claims() | changes)


async def test_the_raw_token_is_no_key_of_the_denylist() -> None:
    mesh = Mesh()
    token = FORGER.token(jti="t-1")
    mesh.verifier.revoked.adopt([Revocation(Kind.TOKEN, "t-1", INFINITE, INFINITE)])
    refusals = [await mesh.refusal(each) for each in (token, FORGER.token(jti="t-1"))]
    assert {each.reason for each in refusals} == {Reason.TOKEN_REVOKED}


class Streams:
    """A server with streams in both directions, and who has one open."""

    def __init__(self, ports: Any, issuer: Issuer, probe: Any, messages: Any) -> None:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}")
        self.stub = probe.ProbeServiceStub(self.channel)
        self._issuer, self._messages = issuer, messages

    def watch(self, tenant: str) -> Any:
        return self.stub.Watch(self._messages.ProbeRequest(number=1), metadata=self._metadata(tenant))

    def upload(self, tenant: str) -> Any:
        return self.stub.Upload(metadata=self._metadata(tenant))

    def _metadata(self, tenant: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._issuer.token('user', tenant=tenant)}"),)


@pytest.fixture
async def streams(
    server: Server, redis: Any, start: Start, issuer: tuple[Issuer, int], probe: Any, messages: Any
) -> AsyncIterator[Streams]:
    class Probe(probe.ProbeServiceServicer):  # type: ignore[misc]
        async def Open(self, request: Any, context: object) -> Any:
            return messages.ProbeResponse()

        Write = Open

        async def Watch(self, request: Any, context: object) -> Any:
            while True:
                yield messages.ProbeResponse(text="still here")
                await asyncio.sleep(0.05)

        async def Upload(self, requests: Any, context: object) -> Any:
            return messages.ProbeResponse(text=str([request.number async for request in requests]))

    await publish(redis, whole=True)
    async with start(Probe(), redis_url=SecretStr(server.url.get_secret_value()), revocation_poll_seconds=0.2) as ports:
        opened = Streams(ports, issuer[0], probe, messages)
        yield opened
        await opened.channel.close()


async def test_a_stream_of_replies_ends_when_its_tenant_is_suspended(streams: Streams, redis: Any) -> None:
    suspended, untouched = streams.watch("acme"), streams.watch("other")
    assert (await suspended.read()).text == (await untouched.read()).text == "still here"
    await publish(redis, Revocation(Kind.TENANT, "acme", INFINITE, INFINITE, 1.0))
    started = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        while time.monotonic() < started + 5:
            await suspended.read()
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason(ended.value) == "TOKEN_REVOKED"
    assert (await untouched.read()).text == "still here"
    untouched.cancel()


async def test_a_stream_of_requests_ends_when_its_tenant_is_suspended(
    streams: Streams, redis: Any, messages: Any
) -> None:
    suspended, untouched = streams.upload("acme"), streams.upload("other")
    for call in (suspended, untouched):
        await call.write(messages.ProbeRequest(number=1))
    await publish(redis, Revocation(Kind.TENANT, "acme", INFINITE, INFINITE, 1.0))
    async with asyncio.timeout(5):
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await suspended
    assert reason(ended.value) == "TOKEN_REVOKED"
    await untouched.done_writing()
    assert (await untouched).text == "[1]"
