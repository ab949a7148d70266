"""Streams live no longer than the token that opened them, on a real server, and how a client goes on."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import pytest

from geomesh_client import Tokens, Unauthenticated, Unavailable, follow
from geomesh_client.calls import Around, interceptors, rpcs_of
from geomesh_client.session import Session
from tests.meshkit.conftest import Issuer, Start
from tests.meshkit.test_request_path import reason

WITHIN_SECONDS = 5.0


@pytest.fixture
def counting(probe: Any, messages: Any) -> Any:
    """A servicer whose Watch counts on from the number that it is given, and knows how many watch."""

    class Counting(probe.ProbeServiceServicer):  # type: ignore[misc]
        watching = 0

        async def Open(self, request: Any, context: object) -> Any:
            return messages.ProbeResponse()

        Write = Open

        async def Watch(self, request: Any, context: object) -> Any:
            self.watching += 1
            number = request.number
            try:
                while True:
                    number += 1
                    yield messages.ProbeResponse(text=str(number))
                    await asyncio.sleep(0.05)
            finally:
                self.watching -= 1

        async def Upload(self, requests: Any, context: object) -> Any:
            return messages.ProbeResponse(text=str([request.number async for request in requests]))

    return Counting()


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


async def ended(call: Any) -> grpc.aio.AioRpcError:
    """Returns the error that a stream of replies ends with."""
    async with asyncio.timeout(2 * WITHIN_SECONDS):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            while True:
                assert await call.read() is not grpc.aio.EOF
    return error.value


async def test_a_stream_of_replies_ends_when_its_token_expires(
    start: Start, issuer: tuple[Issuer, int], probe: Any, messages: Any, counting: Any
) -> None:
    expires_at = int(time.time()) + 3
    async with start(counting) as ports, grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        stub = probe.ProbeServiceStub(channel)
        short = stub.Watch(messages.ProbeRequest(), metadata=bearer(issuer[0].token("user", exp=expires_at)))
        others = [stub.Watch(messages.ProbeRequest(), metadata=bearer(issuer[0].token("user")))]
        others.append(stub.Watch(messages.ProbeRequest()))  # anyone's, which has no token that could end
        error = await ended(short)
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert reason(error) == "TOKEN_EXPIRED"
        assert expires_at <= time.time() < expires_at + WITHIN_SECONDS
        assert [(await each.read()).text for each in others] == ["1", "1"]
        for each in others:
            each.cancel()


async def test_a_stream_of_requests_ends_when_its_token_expires(
    start: Start, issuer: tuple[Issuer, int], probe: Any, messages: Any, counting: Any
) -> None:
    expires_at = int(time.time()) + 2
    async with start(counting) as ports, grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        call = probe.ProbeServiceStub(channel).Upload(metadata=bearer(issuer[0].token("user", exp=expires_at)))
        await call.write(messages.ProbeRequest(number=1))
        async with asyncio.timeout(2 + WITHIN_SECONDS):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
        assert reason(refused.value) == "TOKEN_EXPIRED"


async def test_a_stream_that_is_opened_in_the_leeway_has_the_rest_of_it(
    start: Start, issuer: tuple[Issuer, int], probe: Any, messages: Any, counting: Any
) -> None:
    token = issuer[0].token("user", exp=int(time.time()) - 1)
    async with (
        start(counting, token_leeway_seconds=3.0) as ports,
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        call = probe.ProbeServiceStub(channel).Watch(messages.ProbeRequest(), metadata=bearer(token))
        assert (await call.read()).text == "1"
        assert reason(await ended(call)) == "TOKEN_EXPIRED"


async def test_a_stream_ends_when_the_key_of_its_token_is_withdrawn(
    start: Start, issuer: tuple[Issuer, int], probe: Any, messages: Any, counting: Any
) -> None:
    async with (
        start(counting, jwks_refresh_seconds=0.3) as ports,
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        stub = probe.ProbeServiceStub(channel)
        call = stub.Watch(messages.ProbeRequest(), metadata=bearer(issuer[0].token("user")))
        assert (await call.read()).text == "1"
        issuer[0].renew()
        error = await ended(call)
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
        goes_on = stub.Watch(messages.ProbeRequest(), metadata=bearer(issuer[0].token("user")))
        assert (await goes_on.read()).text == "1"
        goes_on.cancel()


class Brief:
    """Credentials whose access tokens live for a second or two, counted."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self.begun = 0

    async def begin(self, auth: object) -> Tokens:
        self.begun += 1
        return Tokens(self._issuer.token("user", exp=int(time.time()) + 2), renew_at=time.monotonic() + 60)


@asynccontextmanager
async def client(port: int, probe: Any, messages: Any, credentials: Any) -> AsyncIterator[Any]:
    """Yields a stub that calls as geomesh_client does."""
    around = Around(rpcs_of([messages.DESCRIPTOR.services_by_name["ProbeService"]]), 5.0, 1)
    target = f"127.0.0.1:{port}"
    async with grpc.aio.insecure_channel(target, interceptors=interceptors(around)) as channel:
        stub = probe.ProbeServiceStub(channel)
        around.session = Session(credentials, stub)
        yield stub
        await around.session.close()


def from_behind(stub: Any, messages: Any, at_most: int = 10) -> Callable[[Any], Any]:
    """Returns what begins to watch behind a reply."""

    def begin(last: Any) -> Any:
        return stub.Watch(messages.ProbeRequest(number=min(int(last.text), at_most) if last else 0))

    return begin


async def test_a_client_follows_a_stream_beyond_the_end_of_its_token(
    start: Start, issuer: tuple[Issuer, int], probe: Any, messages: Any, counting: Any
) -> None:
    credentials = Brief(issuer[0])
    async with start(counting) as ports, client(ports.grpc, probe, messages, credentials) as stub:
        async with asyncio.timeout(20), aclosing(follow(from_behind(stub, messages))) as replies:
            async for _ in replies:
                if credentials.begun == 3:
                    break
        async with asyncio.timeout(5):
            while counting.watching:  # noqa: ASYNC110 -- the server learns of the client's end by and by
                await asyncio.sleep(0.02)


async def test_without_following_it_a_client_learns_why_a_stream_ended_and_the_next_has_a_new_token(
    start: Start, issuer: tuple[Issuer, int], probe: Any, messages: Any, counting: Any
) -> None:
    credentials = Brief(issuer[0])
    async with start(counting) as ports, client(ports.grpc, probe, messages, credentials) as stub:
        async with asyncio.timeout(20):
            with pytest.raises(Unauthenticated) as told:
                async for _ in stub.Watch(messages.ProbeRequest()):
                    pass
            assert told.value.reason == "TOKEN_EXPIRED"
            async for reply in stub.Watch(messages.ProbeRequest(number=5)):
                assert reply.text == "6"
                break
    assert credentials.begun == 2


class Spoilt(Brief):
    """Credentials whose first token is none."""

    async def begin(self, auth: object) -> Tokens:
        tokens = await super().begin(auth)
        return Tokens("not.a.token") if self.begun == 1 else tokens


async def test_a_stream_is_opened_again_when_its_token_was_refused_before_the_first_reply(
    start: Start, issuer: tuple[Issuer, int], probe: Any, messages: Any, counting: Any
) -> None:
    credentials = Spoilt(issuer[0])
    async with start(counting) as ports, client(ports.grpc, probe, messages, credentials) as stub:
        async for reply in stub.Watch(messages.ProbeRequest()):
            assert reply.text == "1"
            break
    assert credentials.begun == 2


async def test_following_outlasts_a_server_that_stops_and_gives_up_when_none_comes(
    start: Start, issuer: tuple[Issuer, int], probe: Any, messages: Any, counting: Any
) -> None:
    async with start(counting) as ports:
        port = ports.grpc
    async with client(port, probe, messages, Lasting(issuer[0])) as stub, asyncio.timeout(60):
        replies = follow(from_behind(stub, messages), attempts=20)
        async with start(counting, port=port):
            assert [(await anext(replies)).text for _ in range(2)] == ["1", "2"]
        async with start(counting, port=port):
            # What the first server still sent before it stopped comes before what the second one counts on from.
            following = [int((await anext(replies)).text) for _ in range(20)]
            assert following == sorted(following)
        await replies.aclose()
        with pytest.raises(Unavailable):
            await anext(follow(from_behind(stub, messages), attempts=2))


class Lasting(Brief):
    """Credentials whose tokens live long."""

    async def begin(self, auth: object) -> Tokens:
        return Tokens(self._issuer.token("user"))
