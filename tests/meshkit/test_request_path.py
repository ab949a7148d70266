"""Every promise of the request path, tried on a real server over a real socket."""

import asyncio
import importlib
from types import ModuleType
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from meshkit import errors, gates, telemetry
from meshkit.context import current
from meshkit.errors import Reason
from tests.meshkit.conftest import Issuer, ProbeSettings, Start


def details(error: grpc.aio.AioRpcError, kind: type[Any]) -> Any:
    """Returns the detail of this kind, or an empty one."""
    status, found = status_pb2.Status(), kind()
    raw = dict(error.trailing_metadata())["grpc-status-details-bin"]
    status.ParseFromString(raw)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    for packed in status.details:
        packed.Unpack(found)
    return found


def reason(error: grpc.aio.AioRpcError) -> str:
    info = details(error, error_details_pb2.ErrorInfo)
    assert info.domain == "geomesh"
    return str(info.reason)


@pytest.fixture
def make_probe(probe: ModuleType, messages: Any) -> Any:
    """Makes a servicer whose RPCs all do what the test says."""

    def make(act: Any = None) -> Any:
        async def default(request: Any) -> Any:
            return messages.ProbeResponse(text=f"{request.number}")

        action = act or default

        class Probe(probe.ProbeServiceServicer):  # type: ignore[name-defined, misc]
            async def Open(self, request: Any, context: object) -> Any:
                return await action(request)

            async def Write(self, request: Any, context: object) -> Any:
                return await action(request)

            async def Watch(self, request: Any, context: object) -> Any:
                while True:
                    yield await action(request)

            async def Upload(self, requests: Any, context: object) -> Any:
                numbers = [request.number async for request in requests]
                return messages.ProbeResponse(text=str(numbers))

        return Probe()

    return make


@pytest.fixture
def stub(probe: ModuleType) -> Any:
    def connect(port: int) -> Any:
        return probe.ProbeServiceStub(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))

    return connect


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


async def test_answers_a_valid_request(start: Start, make_probe: Any, stub: Any, messages: Any) -> None:
    async with start(make_probe()) as ports:
        reply = await stub(ports.grpc).Open(messages.ProbeRequest(number=7))
    assert reply.text == "7"


async def test_refuses_a_call_without_the_token_it_needs(
    start: Start, make_probe: Any, stub: Any, messages: Any
) -> None:
    async with start(make_probe()) as ports:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(ports.grpc).Write(messages.ProbeRequest())
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason(caught.value) == Reason.TOKEN_MISSING


async def test_refuses_a_token_with_too_small_a_role(
    start: Start, make_probe: Any, stub: Any, messages: Any, issuer: tuple[Issuer, int]
) -> None:
    async with start(make_probe()) as ports:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(ports.grpc).Write(messages.ProbeRequest(), metadata=bearer(issuer[0].token("public")))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason(caught.value) == Reason.PERMISSION_MISSING


async def test_tells_the_handler_who_calls(
    start: Start, make_probe: Any, stub: Any, messages: Any, issuer: tuple[Issuer, int]
) -> None:
    async def whose(request: Any) -> Any:
        return messages.ProbeResponse(text=f"{current().identity.tenant} {current().identity.roles}")

    async with start(make_probe(whose)) as ports:
        reply = await stub(ports.grpc).Write(messages.ProbeRequest(), metadata=bearer(issuer[0].token("user")))
    assert reply.text == "acme ('user',)"


@pytest.mark.parametrize("header", ["Bearer nonsense", "Basic dXNlcjpwYXNz", "Bearer ", ""])
async def test_refuses_a_wrong_token_where_an_anonymous_caller_would_be_served(
    start: Start, make_probe: Any, stub: Any, messages: Any, header: str
) -> None:
    async with start(make_probe()) as ports:
        upload = stub(ports.grpc).Upload
        assert (await upload(iter([messages.ProbeRequest(number=1)]))).text == "[1]"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await upload(iter([messages.ProbeRequest(number=1)]), metadata=(("authorization", header),))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason(caught.value) == Reason.TOKEN_INVALID


async def test_does_not_look_at_tokens_where_anyone_may_call(
    start: Start, make_probe: Any, stub: Any, messages: Any, issuer: tuple[Issuer, int]
) -> None:
    async with start(make_probe()) as ports:
        expired = bearer(issuer[0].token("user", exp=1))
        assert (await stub(ports.grpc).Open(messages.ProbeRequest(number=3), metadata=expired)).text == "3"


async def test_names_every_field_that_breaks_a_rule(start: Start, make_probe: Any, stub: Any, messages: Any) -> None:
    request = messages.ProbeRequest(number=11, nested={"a": messages.ProbeRequest(number=-1)})
    async with start(make_probe()) as ports:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(ports.grpc).Open(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    violations = details(caught.value, error_details_pb2.BadRequest).field_violations
    assert {each.field for each in violations} == {"number", 'nested["a"].number'}
    assert all("10" in each.description for each in violations)


async def test_a_request_full_of_faults_is_refused_for_them_and_not_for_the_length_of_its_error(
    start: Start, make_probe: Any, stub: Any, messages: Any
) -> None:
    bad = messages.ProbeRequest(number=-1)
    async with start(make_probe()) as ports:
        for faults in (60, 1000):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub(ports.grpc).Open(messages.ProbeRequest(nested={f"{key}": bad for key in range(faults)}))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert details(caught.value, error_details_pb2.BadRequest).field_violations


async def test_tells_a_stranger_nothing_about_what_would_be_valid(
    start: Start, make_probe: Any, stub: Any, messages: Any
) -> None:
    async with start(make_probe()) as ports:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(ports.grpc).Write(messages.ProbeRequest(number=11))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_checks_each_message_of_a_stream(start: Start, make_probe: Any, stub: Any, messages: Any) -> None:
    async with start(make_probe()) as ports:
        upload = stub(ports.grpc).Upload
        reply = await upload(iter([messages.ProbeRequest(number=1), messages.ProbeRequest(number=2)]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await upload(iter([messages.ProbeRequest(number=1), messages.ProbeRequest(number=99)]))
    assert reply.text == "[1, 2]"
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound(Reason.PLACE_NOT_FOUND, "no place has id 42"), grpc.StatusCode.NOT_FOUND),
        (errors.InvalidInput("k", "is too large"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.Unauthenticated(Reason.LOGIN_FAILED, "no"), grpc.StatusCode.UNAUTHENTICATED),
        (errors.PermissionDenied(Reason.PERMISSION_MISSING, "no"), grpc.StatusCode.PERMISSION_DENIED),
        (errors.DeadlineExceeded("late"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (
            errors.ResourceExhausted(Reason.RATE_LIMITED, "slow down", retry_after_seconds=2.5),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        ),
        (errors.Unavailable("gone", dependency="postgres-primary"), grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_gives_each_error_its_code_and_its_reason(
    start: Start, make_probe: Any, stub: Any, messages: Any, error: errors.MeshError, code: grpc.StatusCode
) -> None:
    async def fail(request: Any) -> Any:
        raise error

    async with start(make_probe(fail)) as ports:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(ports.grpc).Open(messages.ProbeRequest())
    assert caught.value.code() is code
    assert reason(caught.value) == error.reason
    if isinstance(error, errors.Unavailable | errors.ResourceExhausted):
        delay = details(caught.value, error_details_pb2.RetryInfo).retry_delay
        assert delay.ToNanoseconds() == error.retry_after_seconds * 1e9


async def test_says_nothing_of_a_defect_but_the_request_id(
    start: Start, make_probe: Any, stub: Any, messages: Any
) -> None:
    async def fail(request: Any) -> Any:
        raise KeyError("the password is swordfish")

    async with start(make_probe(fail)) as ports:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(ports.grpc).Open(messages.ProbeRequest(), metadata=(("x-request-id", "abc-123"),))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == "internal error; quote request id abc-123"
    assert details(caught.value, error_details_pb2.RequestInfo).request_id == "abc-123"


async def test_sheds_what_it_could_only_queue(start: Start, make_probe: Any, stub: Any, messages: Any) -> None:
    release = asyncio.Event()

    async def wait(request: Any) -> Any:
        await release.wait()
        return messages.ProbeResponse()

    async with start(make_probe(wait), max_concurrent_requests=2) as ports:
        probe = stub(ports.grpc)
        calls = [asyncio.ensure_future(probe.Open(messages.ProbeRequest())) for _ in range(5)]
        done, admitted = await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION, timeout=5)
        while len(done) < 3:
            more, admitted = await asyncio.wait(admitted, return_when=asyncio.FIRST_COMPLETED, timeout=5)
            assert more
            done |= more
        release.set()
        await asyncio.gather(*admitted)
    refusals = [call.exception() for call in done]
    assert len(admitted) == 2
    assert all(isinstance(each, grpc.aio.AioRpcError) for each in refusals)
    assert {each.code() for each in refusals if isinstance(each, grpc.aio.AioRpcError)} == {
        grpc.StatusCode.RESOURCE_EXHAUSTED
    }


async def test_ends_a_call_that_names_no_deadline(start: Start, make_probe: Any, stub: Any, messages: Any) -> None:
    async def hang(request: Any) -> Any:
        await asyncio.Event().wait()

    async with start(make_probe(hang), request_timeout_seconds=0.05) as ports:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(ports.grpc).Open(messages.ProbeRequest())
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert reason(caught.value) == Reason.DEADLINE_EXCEEDED


async def test_a_time_out_that_nobody_foresaw_is_a_defect_and_not_the_callers_deadline(
    start: Start, make_probe: Any, stub: Any, messages: Any
) -> None:
    async def fail(request: Any) -> Any:
        raise TimeoutError("of something else")

    async with start(make_probe(fail)) as ports:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(ports.grpc).Open(messages.ProbeRequest())
    assert caught.value.code() is grpc.StatusCode.INTERNAL


async def test_leaves_a_call_that_names_a_deadline_its_time(
    start: Start, make_probe: Any, stub: Any, messages: Any
) -> None:
    async def measure(request: Any) -> Any:
        return messages.ProbeResponse(text=str(current().remaining_seconds()))

    async with start(make_probe(measure), request_timeout_seconds=0.05) as ports:
        reply = await stub(ports.grpc).Open(messages.ProbeRequest(), timeout=20)
    assert 15 < float(reply.text) < 21  # gRPC sends a timeout with few digits, rounded up


async def test_sends_bytes_that_are_a_reply_already(start: Start, make_probe: Any, stub: Any, messages: Any) -> None:
    async def cached(request: Any) -> bytes:
        return bytes(messages.ProbeResponse(text="from the cache").SerializeToString())

    async with start(make_probe(cached)) as ports:
        reply = await stub(ports.grpc).Open(messages.ProbeRequest())
    assert reply.text == "from the cache"


async def test_counts_every_call_by_its_code_refused_ones_too(
    start: Start, make_probe: Any, stub: Any, messages: Any
) -> None:
    async with start(make_probe()) as ports:
        probe = stub(ports.grpc)
        await probe.Open(messages.ProbeRequest())
        with pytest.raises(grpc.aio.AioRpcError):
            await probe.Open(messages.ProbeRequest(number=99))
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(f"http://127.0.0.1:{ports.metrics}/metrics")).text
    name = 'geomesh_requests_total{code="%s",method="/geomesh.probe.v1.ProbeService/Open"}'
    assert name % "OK" in metrics
    assert name % "INVALID_ARGUMENT" in metrics
    assert 'geomesh_request_duration_seconds_bucket{le="0.001",method="/geomesh.probe.v1.ProbeService/Open"}' in metrics


@pytest.mark.parametrize(("flags", "spans"), [("01", 1), ("00", 0), ("zz", 0)])
async def test_makes_a_span_only_when_the_trace_is_sampled(
    start: Start, make_probe: Any, stub: Any, messages: Any, flags: str, spans: int
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with start(make_probe(), tracer=provider.get_tracer("test")) as ports:
        await stub(ports.grpc).Open(
            messages.ProbeRequest(), metadata=(("traceparent", f"00-{trace_id}-00f067aa0ba902b7-{flags}"),)
        )
    finished = exporter.get_finished_spans()
    assert len(finished) == spans
    assert all(f"{span.context.trace_id:032x}" == trace_id for span in finished if span.context)


@pytest.mark.parametrize(("drawn", "spans"), [(0.009, 1), (0.011, 0)])
async def test_traces_the_share_of_calls_without_a_trace_that_the_settings_name(
    start: Start,
    make_probe: Any,
    stub: Any,
    messages: Any,
    monkeypatch: pytest.MonkeyPatch,
    drawn: float,
    spans: int,
) -> None:
    monkeypatch.setattr("meshkit.request_path.random.random", lambda: drawn)
    settings = ProbeSettings(trace_sample_ratio=0.01)
    exporter, provider = InMemorySpanExporter(), telemetry.tracer_provider(settings)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    async with start(make_probe(), tracer=tracer, trace_sample_ratio=0.01) as ports:
        await stub(ports.grpc).Open(messages.ProbeRequest())
    assert len(exporter.get_finished_spans()) == spans


async def test_a_drain_lets_calls_finish_and_ends_streams_so_that_they_can_resume(
    start: Start, make_probe: Any, stub: Any, messages: Any
) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Any) -> Any:
        if request.number == 1:
            arrived.set()
            await release.wait()
        else:
            await asyncio.sleep(0.01)
        return messages.ProbeResponse(text="done")

    async with start(make_probe(slow)) as ports:
        probe = stub(ports.grpc)
        in_work = asyncio.ensure_future(probe.Open(messages.ProbeRequest(number=1)))
        stream = probe.Watch(messages.ProbeRequest())
        assert (await stream.read()).text == "done"
        await arrived.wait()
        asyncio.get_running_loop().call_later(0.3, release.set)
    assert (await in_work).text == "done"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while True:
            await stream.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason(caught.value) == Reason.SHUTTING_DOWN


async def test_does_not_start_with_an_rpc_that_nobody_implemented(start: Start, probe: ModuleType) -> None:
    class Half(probe.ProbeServiceServicer):  # type: ignore[name-defined, misc]
        async def Open(self, request: Any, context: object) -> Any:
            return None

    with pytest.raises(TypeError, match="Half does not implement Write, Watch, Upload"):
        async with start(Half()):
            pass


async def test_does_not_start_with_an_rpc_that_names_no_permission(start: Start, probe: ModuleType) -> None:
    undecided = importlib.import_module("geomesh.probe.v1.undecided_pb2_grpc")

    class Undecided(undecided.UndecidedServiceServicer):  # type: ignore[name-defined, misc]
        async def Call(self, request: Any, context: object) -> Any:
            return None

    with pytest.raises(ValueError, match=r"UndecidedService\.Call does not say which permission it requires"):
        async with start(Undecided()):
            pass


def test_the_gates_stand_in_the_order_whose_reasons_are_written_beside_them() -> None:
    order = ["admit", "authenticate", "authorize", "check_request"]
    assert [make.__name__ for make, _reason in gates.GATES] == order
    assert all(reason for _make, reason in gates.GATES)
