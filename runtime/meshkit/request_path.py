"""The path of a request through a service, declared once, in order, with the reason for each step.

Each step wraps the next when a handler is registered, not when a call arrives: gRPC's own interceptors look up and
wrap again at every call, which cost half of the throughput where it was measured.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from geomesh.options.v1 import options_pb2
from meshkit import status, telemetry
from meshkit.context import AUTHORIZATION, CURRENT, TRACEPARENT, RequestContext, current
from meshkit.errors import (
    DeadlineExceeded,
    InvalidInput,
    MeshError,
    PermissionDenied,
    Reason,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from meshkit.policy import Method
from meshkit.settings import ServiceSettings
from meshkit.tokens import TokenVerifier
from meshkit.validation import validate

Call = Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]
"""A handler: takes the request, or the iterator of requests, and returns the reply, or writes many and returns None."""

_LOG: Final = structlog.get_logger("meshkit.request")
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_BEARER: Final = "Bearer "
_SAMPLED: Final = 1


@dataclass(slots=True)
class Server:
    """What the steps share within one process.

    Attributes:
        settings: The service's settings.
        tokens: Tells whose token it is.
        tracer: Makes spans; None when tracing is off.
        in_work: Unary calls in work now.
        streams: Tasks that write to a caller until they are told to stop.
        draining: Whether the process is about to stop.
    """

    settings: ServiceSettings
    tokens: TokenVerifier
    tracer: trace.Tracer | None = None
    in_work: int = 0
    streams: set[asyncio.Task[Any]] = field(default_factory=set)
    draining: bool = False


def map_errors(method: Method, server: Server, call: Call) -> Call:
    """Ends a call with the status of the error that it raised, and logs what nobody foresaw."""

    async def mapped(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await call(request, context)
        except asyncio.CancelledError:
            if not (server.draining and method.response_streaming):
                raise
            error: MeshError = Unavailable(
                "this server is stopping; resume the stream", reason=Reason.SHUTTING_DOWN, retry_after_seconds=0.0
            )
        except MeshError as raised:
            error = raised
        except grpc.aio.AbortError:
            raise
        except Exception:  # noqa: BLE001 -- the boundary: nothing of a defect may reach the caller
            _LOG.exception("a call failed for a reason that nobody foresaw", rpc=method.path)
            error = status.internal(current().request_id)
        if error.reason is Reason.INTERNAL:
            _LOG.error("a call ended as internal error", rpc=method.path, error=error.message)
        await context.abort_with_status(status.RichStatus(status.to_status(error, request_id=current().request_id)))
        raise AssertionError("abort_with_status always raises")

    return mapped


def make_context(method: Method, server: Server, call: Call) -> Call:
    """Notes who calls, what for and until when, where everything after can read it."""
    streaming = method.request_streaming or method.response_streaming
    own_limit = float("inf") if streaming else server.settings.request_timeout_seconds

    async def with_context(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        # Both casts: the published types do not say what the library does, None without a deadline and a plain tuple.
        remaining = cast("float | None", context.time_remaining())
        metadata = cast("tuple[tuple[str, str | bytes], ...]", context.invocation_metadata())
        known = RequestContext(
            method.path,
            dict(metadata),
            time.monotonic() + (own_limit if remaining is None else remaining),
        )
        known.watched_by_caller = remaining is not None
        CURRENT.set(known)
        return await call(request, context)

    return with_context


def count(method: Method, server: Server, call: Call) -> Call:
    """Counts the call and times it, by its RPC and by the code it ended with."""
    duration = telemetry.DURATION.labels(method.path)
    ended = {code: telemetry.REQUESTS.labels(method.path, code.name) for code in grpc.StatusCode}
    ok = ended[grpc.StatusCode.OK]
    streams = telemetry.STREAMS.labels(method.path)
    streaming = method.request_streaming or method.response_streaming

    async def counted(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        started = time.perf_counter()
        if streaming:
            streams.inc()
        else:
            server.in_work += 1
        try:
            reply = await call(request, context)
        except asyncio.CancelledError:
            ended[grpc.StatusCode.CANCELLED].inc()
            raise
        except Exception as error:
            ended[status.code_of(error)].inc()
            raise
        else:
            ok.inc()
            return reply
        finally:
            if streaming:
                streams.dec()
            else:
                server.in_work -= 1
            duration.observe(time.perf_counter() - started)

    return counted


def trace_sampled(method: Method, server: Server, call: Call) -> Call:
    """Makes a span when the caller's trace is sampled, or when the dice say so; otherwise costs one look."""
    tracer = server.tracer
    if tracer is None:
        return call
    ratio = server.settings.trace_sample_ratio
    attributes = {"rpc.system": "grpc", "rpc.service": method.service, "rpc.method": method.name}

    async def traced(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        parent = current().text(TRACEPARENT)
        if parent:
            if not _is_sampled(parent):
                return await call(request, context)
        elif random.random() >= ratio:  # noqa: S311 -- a sample, not a secret
            return await call(request, context)
        with tracer.start_as_current_span(
            f"{method.service}/{method.name}",
            context=_PROPAGATOR.extract({TRACEPARENT: parent}),
            kind=trace.SpanKind.SERVER,
            attributes={**attributes, "geomesh.request_id": current().request_id},
        ):
            return await call(request, context)

    return traced


def _is_sampled(traceparent: str) -> bool:
    try:
        return bool(int(traceparent[-2:], 16) & _SAMPLED)
    except ValueError:
        return False


def limit_time(method: Method, server: Server, call: Call) -> Call:
    """Ends a call that names no deadline in the time of the settings. One that names its own is ended by gRPC."""
    if method.request_streaming or method.response_streaming:
        return call
    timeout_seconds = server.settings.request_timeout_seconds

    async def limited(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        if current().watched_by_caller:
            return await call(request, context)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await call(request, context)
        except TimeoutError:
            raise DeadlineExceeded(f"not done within {timeout_seconds:g} s; the call named no deadline") from None

    return limited


def shed_load(method: Method, server: Server, call: Call) -> Call:
    """Refuses what would only wait: a queue without bound makes every caller late."""
    most = server.settings.max_concurrent_requests
    if method.request_streaming or method.response_streaming:
        return call

    async def admitted(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        if server.in_work > most:
            raise ResourceExhausted(
                Reason.OVERLOADED, f"this server works at its limit of {most} calls", retry_after_seconds=1.0
            )
        return await call(request, context)

    return admitted


def authenticate(method: Method, server: Server, call: Call) -> Call:
    """Finds out who calls.

    A wrong token is refused also where an anonymous caller would be served: its bearer thinks that it counts. Where
    anyone may call it is not looked at, because a client must be able to renew an expired token by such a call.
    """
    if method.permission == options_pb2.PERMISSION_ANYONE:
        return call
    tokens = server.tokens

    async def authenticated(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        known = current()
        header = known.metadata.get(AUTHORIZATION)
        if header is not None:
            if not isinstance(header, str) or header[: len(_BEARER)].title() != _BEARER:
                raise Unauthenticated(Reason.TOKEN_INVALID, "authorization must be `Bearer` and an access token")
            token = header[len(_BEARER) :]
            known.identity = tokens.cached(token) or await tokens.verify(token)
        return await call(request, context)

    return authenticated


def authorize(method: Method, server: Server, call: Call) -> Call:
    """Lets pass who holds the permission that the proto of the RPC names."""
    del server
    required = method.permission
    if required == options_pb2.PERMISSION_ANYONE:
        return call
    name = options_pb2.Permission.Name(required).removeprefix("PERMISSION_").lower().replace("_", ":", 1)

    async def authorized(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        known = current()
        if required not in known.identity.permissions:
            if AUTHORIZATION not in known.metadata:
                raise Unauthenticated(Reason.TOKEN_MISSING, f"{method.name} needs a token with {name}")
            raise PermissionDenied(
                Reason.PERMISSION_MISSING, f"{method.name} needs {name}, which your roles do not hold"
            )
        return await call(request, context)

    return authorized


def check_request(method: Method, server: Server, call: Call) -> Call:
    """Holds each message against the rules in its proto, so that no handler ever sees one that breaks them."""
    del server
    if method.request_streaming:

        async def checked_stream(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            return await call(_checked(requests), context)

        return checked_stream

    async def checked(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        _check(request)
        return await call(request, context)

    return checked


async def _checked(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        _check(request)
        yield request


def _check(request: Any) -> None:
    if isinstance(request, Unreadable):
        raise InvalidInput(
            "request", f"is no {request.message_type}, or has text that is no UTF-8", reason=Reason.MALFORMED_REQUEST
        )
    validate(request)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What comes in the place of a request that cannot be read; `check_request` refuses it.

    Attributes:
        message_type: The name of the message that it should have been.
    """

    message_type: str


def reader(message_type: type[Message]) -> Callable[[bytes], Any]:
    """Returns what reads the bytes of a request. gRPC itself would end the call as UNKNOWN, with the parser's words."""
    parse = message_type.FromString
    unreadable = Unreadable(message_type.DESCRIPTOR.name)

    def read(serialized: bytes) -> Any:
        try:
            return parse(serialized)
        except DecodeError:
            return unreadable

    return read


Step = Callable[[Method, Server, Call], Call]

STEPS: Final[tuple[tuple[Step, str], ...]] = (
    (map_errors, "outermost: whatever any later step raises must reach the caller as a status of ours"),
    (make_context, "before all that measures, refuses or logs, because they name the call by it"),
    (count, "before anything can refuse, so that refusals are counted by their code"),
    (trace_sampled, "after counting, so that a span is never the only witness of a call"),
    (limit_time, "before the first step that may wait: keys, a dependency, the handler"),
    (shed_load, "before the first costly step: a refusal must be cheap when there is too much work"),
    (authenticate, "before anything looks at the request, so that a stranger cannot probe it"),
    (authorize, "before validation, so that who may not call learns nothing about what would be valid"),
    (check_request, "last, so that a handler only ever sees requests that keep the rules of their proto"),
)
"""Every step with the reason why it stands where it stands; the first is the outermost."""


def wrap(method: Method, server: Server, handler: Callable[..., Any]) -> Call:
    """Returns `handler` with the whole path before it."""
    call: Call = _writing(server, handler) if method.response_streaming else handler
    for step, _reason in reversed(STEPS):
        call = step(method, server, call)
    return call


def _writing(server: Server, handler: Callable[..., AsyncIterator[Any]]) -> Call:
    """Lets a stream of replies pass through the same steps as a single one, and be ended by a drain."""

    async def write(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- gRPC runs every handler in a task
        server.streams.add(task)
        try:
            async for reply in handler(request, context):
                await context.write(reply)
        finally:
            server.streams.discard(task)

    return write
