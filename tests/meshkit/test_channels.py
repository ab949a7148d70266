"""One service calls another: what travels along, and what comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any

import grpc
import pytest

from meshkit.breaker import BreakerState
from meshkit.channels import DEFAULT_SECONDS, Upstream
from meshkit.context import CURRENT, RequestContext, current
from meshkit.errors import DeadlineExceeded, InvalidInput, MeshError, NotFound, Reason, Unavailable
from meshkit.health import State
from tests.meshkit.conftest import Issuer, Start

Act = Callable[[Any], Awaitable[Any]]


@pytest.fixture
def service(probe: ModuleType) -> Callable[[Act], Any]:
    """Makes a servicer whose Open and Write do what the test says."""

    def make(act: Act) -> Any:
        class Probe(probe.ProbeServiceServicer):  # type: ignore[name-defined, misc]
            async def Open(self, request: Any, context: object) -> Any:
                return await act(request)

            async def Write(self, request: Any, context: object) -> Any:
                return await act(request)

            async def Watch(self, request: Any, context: object) -> AsyncIterator[Any]:
                yield await act(request)

            async def Upload(self, requests: Any, context: object) -> Any:
                return await act(await anext(requests))

        return Probe()

    return make


async def test_the_callers_token_time_request_and_trace_travel_along(
    start: Start, service: Callable[[Act], Any], probe: ModuleType, messages: Any, issuer: tuple[Issuer, int]
) -> None:
    seen: dict[str, Any] = {}

    async def note(request: Any) -> Any:
        call = current()
        seen.update(
            tenant=call.identity.tenant,
            request_id=call.request_id,
            trace_id=call.trace_id,
            remaining=call.remaining_seconds(),
        )
        return messages.ProbeResponse()

    async with start(service(note)) as callee:
        upstream = Upstream(f"127.0.0.1:{callee.grpc}", "probe")

        async def forward(request: Any) -> Any:
            return await probe.ProbeServiceStub(upstream.channel).Write(request)

        async with start(service(forward)) as caller, grpc.aio.insecure_channel(f"127.0.0.1:{caller.grpc}") as channel:
            metadata = (
                ("authorization", f"Bearer {issuer[0].token('user', tenant='acme')}"),
                ("x-request-id", "r-1"),
                ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"),
            )
            await probe.ProbeServiceStub(channel).Upload(iter([messages.ProbeRequest()]), metadata=metadata, timeout=8)
        await upstream.close()
    assert seen.pop("remaining") < 7.99
    assert seen == {"tenant": "acme", "request_id": "r-1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}


@pytest.mark.parametrize(
    "error",
    [
        NotFound(Reason.PLACE_NOT_FOUND, "no place has id 42"),
        InvalidInput("q", "must not be empty", reason=Reason.INVALID_FIELD),
    ],
)
async def test_an_error_crosses_as_the_error_it_was(
    start: Start, service: Callable[[Act], Any], probe: ModuleType, messages: Any, error: MeshError
) -> None:
    async def fail(request: Any) -> Any:
        raise error

    async with start(service(fail)) as callee:
        upstream = Upstream(f"127.0.0.1:{callee.grpc}", "probe")
        with pytest.raises(type(error)) as caught:
            await probe.ProbeServiceStub(upstream.channel).Open(messages.ProbeRequest())
        await upstream.close()
    assert (caught.value.reason, caught.value.message) == (error.reason, error.message)
    assert upstream.state is State.OK


@pytest.mark.parametrize(("rpc", "calls"), [("Open", 2), ("Write", 1)])
async def test_only_a_call_that_can_be_repeated_is_repeated(
    start: Start,
    service: Callable[[Act], Any],
    probe: ModuleType,
    messages: Any,
    issuer: tuple[Issuer, int],
    rpc: str,
    calls: int,
) -> None:
    seen = 0

    async def fail_once(request: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == 1:
            raise Unavailable("not yet")
        return messages.ProbeResponse(text="second")

    async with start(service(fail_once)) as callee:
        upstream = Upstream(f"127.0.0.1:{callee.grpc}", "probe")
        call = getattr(probe.ProbeServiceStub(upstream.channel), rpc)
        metadata = (("authorization", f"Bearer {issuer[0].token('user')}"),)
        outcome = (await asyncio.gather(call(messages.ProbeRequest(), metadata=metadata), return_exceptions=True))[0]
        await upstream.close()
    assert seen == calls
    assert isinstance(outcome, Unavailable) is (calls == 1)


async def test_a_service_that_is_gone_costs_its_callers_nothing_after_a_while(
    probe: ModuleType, messages: Any, unused_tcp_port: int
) -> None:
    upstream = Upstream(f"127.0.0.1:{unused_tcp_port}", "probe")
    call = probe.ProbeServiceStub(upstream.channel).Open
    for _ in range(5):
        with pytest.raises(Unavailable, match="probe does not answer"):
            await call(messages.ProbeRequest())
    assert upstream.breaker == BreakerState.OPEN
    assert upstream.state is State.DOWN
    started = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable) as caught:
        await call(messages.ProbeRequest())
    assert asyncio.get_running_loop().time() - started < 0.05
    assert caught.value.dependency == "probe"
    await upstream.close()


async def test_a_slow_service_is_given_up_before_the_caller_gives_up(
    start: Start, service: Callable[[Act], Any], probe: ModuleType, messages: Any
) -> None:
    async def hang(request: Any) -> Any:
        await asyncio.Event().wait()

    async with start(service(hang), drain_seconds=0.0) as callee:
        upstream = Upstream(f"127.0.0.1:{callee.grpc}", "probe")

        async def forward(request: Any) -> Any:
            with pytest.raises(DeadlineExceeded, match="probe did not answer in time"):
                await probe.ProbeServiceStub(upstream.channel).Open(request)
            return messages.ProbeResponse(text="told in time")

        async with start(service(forward)) as caller, grpc.aio.insecure_channel(f"127.0.0.1:{caller.grpc}") as channel:
            reply = await probe.ProbeServiceStub(channel).Open(messages.ProbeRequest(), timeout=0.5)
        await upstream.close()
    assert reply.text == "told in time"


async def test_callers_in_a_hurry_do_not_make_a_service_count_as_gone(
    start: Start, service: Callable[[Act], Any], probe: ModuleType, messages: Any
) -> None:
    asked = 0

    async def dawdle(request: Any) -> Any:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.2)
        return messages.ProbeResponse()

    async with start(service(dawdle), drain_seconds=0.0) as callee:
        upstream = Upstream(f"127.0.0.1:{callee.grpc}", "probe")
        call = probe.ProbeServiceStub(upstream.channel).Open
        await call(messages.ProbeRequest())
        for _ in range(6):
            with pytest.raises(DeadlineExceeded):
                await call(messages.ProbeRequest(), timeout=0.05)
        assert upstream.breaker == BreakerState.CLOSED
        late = CURRENT.set(RequestContext("/probe", {}, time.monotonic() - 1))
        asked = 0
        with pytest.raises(DeadlineExceeded, match="time was over before probe was asked"):
            await call(messages.ProbeRequest())
        CURRENT.reset(late)
        assert asked == 0
        await upstream.close()


async def test_a_stream_without_a_deadline_may_call_too(
    start: Start, service: Callable[[Act], Any], probe: ModuleType, messages: Any
) -> None:
    remaining: list[float] = []

    async def note(request: Any) -> Any:
        remaining.append(current().remaining_seconds())
        return messages.ProbeResponse(text="answered")

    async with start(service(note)) as callee:
        upstream = Upstream(f"127.0.0.1:{callee.grpc}", "probe")

        async def forward(request: Any) -> Any:
            return await probe.ProbeServiceStub(upstream.channel).Open(request)

        async with start(service(forward)) as caller, grpc.aio.insecure_channel(f"127.0.0.1:{caller.grpc}") as channel:
            reply = await probe.ProbeServiceStub(channel).Upload(iter([messages.ProbeRequest()]))
        await upstream.close()
    assert reply.text == "answered"
    assert 0 < remaining[0] < DEFAULT_SECONDS + 0.1  # gRPC sends a timeout with few digits, rounded up


async def test_calls_go_round_among_replicas(
    start: Start, service: Callable[[Act], Any], probe: ModuleType, messages: Any
) -> None:
    def replica(name: str) -> Any:
        async def answer(request: Any) -> Any:
            return messages.ProbeResponse(text=name)

        return service(answer)

    async with start(replica("a")) as a, start(replica("b")) as b:
        upstream = Upstream(f"ipv4:127.0.0.1:{a.grpc},127.0.0.1:{b.grpc}", "probe")
        call = probe.ProbeServiceStub(upstream.channel).Open
        async with asyncio.timeout(10):
            answers: list[str] = []
            while set(answers) != {"a", "b"}:
                answers.append((await call(messages.ProbeRequest())).text)
        await upstream.close()
    assert len(answers) < 100
