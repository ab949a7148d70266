"""The path of a request through a service, declared once, from the first step to the last.

1. context: who asks, until when and under which name, because all that follows names the call by it.
2. metrics: before anything can refuse, so that refusals are counted by their code.
3. errors: around all the rest, so that whatever is raised reaches the caller as a status of ours.
4. tracing: after counting, so that a span is never the only witness of a call.
5. time limit: before the first step that may wait, for keys, a dependency or the handler.
6. with mutual TLS, which process calls: before the gates, because who may not call may not make work either.
7. the gates, in the order and for the reasons of `meshkit.gates`: load, authentication, authorization, validation.
8. the handler.

All of it is put around a handler when that is registered and runs in one coroutine, but for what few calls need. gRPC's
own interceptors look up and wrap again at every call, which cost half of the throughput where it was measured; a
coroutine for each step cost a tenth.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import structlog
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from meshkit import gates, status, telemetry
from meshkit.context import AUTHORIZATION, CURRENT, TRACEPARENT, RequestContext, current
from meshkit.errors import DeadlineExceeded, MeshError, PermissionDenied, Reason, Unavailable
from meshkit.jws import expired
from meshkit.policy import Method
from meshkit.refusals import Refusals
from meshkit.settings import ServiceSettings
from meshkit.tls import peer_check
from meshkit.tokens import TokenVerifier, revoked, withdrawn

Call = Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]
"""A handler: takes the request, or the iterator of requests, and returns the reply, or writes many and returns None."""

_LOG: Final = structlog.get_logger("meshkit.request")
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_SAMPLED: Final = 1


@dataclass(slots=True)
class Server:
    """What the calls of one process share.

    Attributes:
        settings: The service's settings.
        tokens: Tells whose token it is.
        refusals: Brings refusals of known callers to the audit log.
        tracer: Makes spans; None when tracing is off.
        in_work: Unary calls in work now.
        streams: Tasks that write to a caller until they are told to stop.
        calls: Every streaming call in work, by its task.
    """

    settings: ServiceSettings
    tokens: TokenVerifier
    refusals: Refusals
    tracer: trace.Tracer | None = None
    in_work: int = 0
    streams: set[asyncio.Task[Any]] = field(default_factory=set)
    calls: dict[asyncio.Task[Any], RequestContext] = field(default_factory=dict)

    def end_streams(self) -> None:
        """Ends what writes to a caller until it is told to stop, with a word that says to resume."""
        for task in tuple(self.streams):
            stopping = Unavailable(
                "this server is stopping; resume the stream", reason=Reason.SHUTTING_DOWN, retry_after_seconds=0.0
            )
            self.end(task, self.calls[task], stopping)

    def end_revoked(self) -> None:
        """Ends the streams whose caller's token is revoked: a stream lives longer than a call, and its right may not."""
        for task, call in tuple(self.calls.items()):
            if self.tokens.revoked.covers(call.identity):
                self.end(task, call, revoked())

    def end_unproven(self) -> None:
        """Ends the streams whose caller's token was signed with a key that is not published any more."""
        for task, call in tuple(self.calls.items()):
            if call.identity.subject and not self.tokens.knows_key_of(call.text(AUTHORIZATION).partition(" ")[2]):
                self.end(task, call, withdrawn())

    def end(self, task: asyncio.Task[Any], call: RequestContext, cause: MeshError) -> None:
        """Ends a stream, whose caller is told why."""
        if call.ended_by is None:
            call.ended_by = cause
            task.cancel()


def wrap(method: Method, server: Server, handler: Callable[..., Any]) -> Call:
    """Returns `handler` with the whole path before it."""
    work = _limited(method, server, _gated(method, server, handler))
    if server.tracer is not None:
        work = _traced(method, server, server.tracer, work)
    streaming = method.request_streaming or method.response_streaming
    own_limit_seconds = float("inf") if streaming else server.settings.request_timeout_seconds
    observe = telemetry.DURATION.labels(method.path).observe
    ended = {code: telemetry.REQUESTS.labels(method.path, code.name) for code in grpc.StatusCode}
    count_ok = ended[grpc.StatusCode.OK].inc
    streams = telemetry.STREAMS.labels(method.path)

    async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        started = time.monotonic()
        # The published types do not say what the library does: None without a deadline, and a plain tuple.
        remaining: float | None = context.time_remaining()
        metadata: Any = context.invocation_metadata()
        deadline = started + (own_limit_seconds if remaining is None else remaining)
        call = RequestContext(method.path, dict(metadata), deadline, remaining is not None)
        CURRENT.set(call)
        task = asyncio.current_task() if streaming else None
        if task is not None:
            streams.inc()
            server.calls[task] = call
        else:
            server.in_work += 1
        try:
            reply = await work(request, context)
        except asyncio.CancelledError:
            if call.ended_by is None:
                ended[grpc.StatusCode.CANCELLED].inc()
                raise
            error: MeshError = call.ended_by
        except Exception as raised:  # noqa: BLE001 -- the boundary: nothing of a defect may reach the caller
            error = _ours(method, call, raised)
        else:
            count_ok()
            return reply
        finally:
            if task is not None:
                streams.dec()
                del server.calls[task]
            else:
                server.in_work -= 1
            observe(time.monotonic() - started)
        ended[status.code_of(error)].inc()
        if isinstance(error, PermissionDenied):
            server.refusals.note(call, error, context)
        await context.abort_with_status(status.RichStatus(status.to_status(error, request_id=call.request_id)))
        raise AssertionError("abort_with_status always raises")

    return answer


def _ours(method: Method, call: RequestContext, raised: Exception) -> MeshError:
    """Returns what the caller is told of an error, and logs what nobody foresaw."""
    if not isinstance(raised, MeshError):
        _LOG.error("a call failed for a reason that nobody foresaw", rpc=method.path, exc_info=raised)
        return status.internal(call.request_id)
    if raised.reason is Reason.INTERNAL:
        _LOG.error("a call ended as internal error", rpc=method.path, error=raised.message)
    return raised


def _traced(method: Method, server: Server, tracer: trace.Tracer, work: Call) -> Call:
    """Makes a span when the caller's trace is sampled, or when the dice say so; otherwise costs one look."""
    ratio = server.settings.trace_sample_ratio
    name = f"{method.service}/{method.name}"
    attributes = {"rpc.system": "grpc", "rpc.service": method.service, "rpc.method": method.name}

    async def in_span(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        call = current()
        with tracer.start_as_current_span(
            name,
            context=_PROPAGATOR.extract({TRACEPARENT: call.text(TRACEPARENT)}),
            kind=trace.SpanKind.SERVER,
            attributes={**attributes, "geomesh.request_id": call.request_id},
        ):
            return await work(request, context)

    def traced(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Awaitable[Any]:
        parent = current().text(TRACEPARENT)
        sampled = _is_sampled(parent) if parent else random.random() < ratio  # noqa: S311 -- a sample, not a secret
        return in_span(request, context) if sampled else work(request, context)

    return traced


def _is_sampled(traceparent: str) -> bool:
    try:
        return bool(int(traceparent[-2:], 16) & _SAMPLED)
    except ValueError:
        return False


def _limited(method: Method, server: Server, work: Call) -> Call:
    """Ends a call that names no deadline in the time of the settings. One that names its own is ended by gRPC."""
    if method.request_streaming or method.response_streaming:
        return work
    timeout_seconds = server.settings.request_timeout_seconds

    async def in_time(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        limit = asyncio.timeout(timeout_seconds)
        try:
            async with limit:
                return await work(request, context)
        except TimeoutError:
            if not limit.expired():  # something else's, which is as unforeseen as any other error
                raise
            raise DeadlineExceeded(f"not done within {timeout_seconds:g} s; the call named no deadline") from None

    def limited(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Awaitable[Any]:
        return work(request, context) if current().watched_by_caller else in_time(request, context)

    return limited


def _gated(method: Method, server: Server, handler: Callable[..., Any]) -> Call:
    """Lets a call pass all gates before `handler`."""
    refused_peer = peer_check(server.settings)
    made = [make(method, server) for make, _reason in gates.GATES]
    passed = tuple(gate for gate in made if gate is not None)
    handle = _writing(server, handler) if method.response_streaming else handler
    if method.request_streaming or method.response_streaming:
        handle = _while_token_lasts(server, handle)

    async def work(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        call = current()
        if refused_peer is not None and (name := refused_peer(context)) is not None:
            raise PermissionDenied(Reason.PERMISSION_MISSING, f"{server.settings.service} is not called by {name}")
        for gate in passed:
            waiting = gate(call, request)
            if waiting is not None:
                await waiting
        return await handle(gates.checked(request) if method.request_streaming else request, context)

    return work


def _while_token_lasts(server: Server, handle: Call) -> Call:
    """Ends a stream when its caller's token expires, since nobody would look at the token again.

    One that was opened in the leeway after the token's end has that long.
    """

    async def handled(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        call, task = current(), asyncio.current_task()
        assert task is not None  # noqa: S101 -- gRPC runs every handler in a task
        left_seconds = call.identity.expires_at - time.time()
        if left_seconds == float("inf"):
            return await handle(request, context)
        if left_seconds <= 0:
            left_seconds = max(0.0, left_seconds + server.settings.token_leeway_seconds)
        timer = asyncio.get_running_loop().call_later(left_seconds, server.end, task, call, expired())
        try:
            return await handle(request, context)
        finally:
            timer.cancel()

    return handled


def _writing(server: Server, handler: Callable[..., AsyncGenerator[Any, None]]) -> Call:
    """Lets a stream of replies pass through the same steps as a single one, and be ended by a drain."""

    async def write(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- gRPC runs every handler in a task
        server.streams.add(task)
        try:
            # Closed here, so that what a subscriber holds is free when it has gone, and not when it is found unused.
            async with aclosing(handler(request, context)) as replies:
                async for reply in replies:
                    await _write(context, reply)
        finally:
            server.streams.discard(task)

    return write


async def _write(context: grpc.aio.ServicerContext[Any, Any], reply: Any) -> None:
    """Writes a reply; a caller who has gone is told of by a cancellation, wherever it is noticed first."""
    try:
        await context.write(reply)
    except grpc.aio.InternalError as error:
        raise asyncio.CancelledError from error
