"""Calls from one service to another: the caller's time, name, trace and token travel along, and errors come back typed.

A target is any gRPC name; several replicas are ``ipv4:127.0.0.1:18100,127.0.0.1:18101`` or a DNS name with many
addresses, and calls go round among them.
"""

import importlib
import json
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.descriptor import FileDescriptor
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import aio_client_interceptors

from meshkit.breaker import Breaker, BreakerState
from meshkit.context import AUTHORIZATION, CURRENT, REQUEST_ID, TRACEPARENT, RequestContext
from meshkit.errors import DeadlineExceeded, Unavailable
from meshkit.health import State
from meshkit.policy import method_of
from meshkit.status import from_rpc_error
from meshkit.tls import Certificates
from meshkit.tls import channel as connect

HOP_SECONDS: Final = 0.02
"""What a callee gets less than its caller has, so that it can report its own timeout before the caller gives up."""
DEFAULT_SECONDS: Final = 5.0
"""What a call gets that no request waits for, or a stream without a deadline."""

# A callee that does not answer in less time than this may be well: its caller was in a hurry.
_FAIR_SECONDS: Final = 1.0

_RETRIES: Final = {
    "maxAttempts": 3,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# gRPC's own retry budget: below half of the tokens nothing is retried, and each retry costs ten times what a success
# gives back, so that a callee in trouble is not buried by the retries of its callers.
_BUDGET: Final = {"maxTokens": 100, "tokenRatio": 0.1}


class Upstream:
    """Another service of the mesh, called through `channel`. It is a :class:`meshkit.health.Dependency`.

    Calls that the protos mark as repeatable are retried by gRPC within their deadline; behind them stands a circuit
    breaker, so that a service that is gone costs its callers nothing.

    Attributes:
        channel: What a generated stub is made with; it connects when it is first used.
    """

    def __init__(
        self,
        address: str,
        service: str,
        *,
        required: bool = False,
        forward_identity: bool = True,
        certificates: Certificates | None = None,
    ) -> None:
        """Prepares without connecting.

        Args:
            address: A gRPC target, e.g. ``127.0.0.1:50051``.
            service: The service's name, e.g. ``spatial-index``; its protos tell which calls may be repeated.
            required: Whether the caller is down without it.
            forward_identity: Whether the token of the call in work goes along.
            certificates: What the caller proves itself with, and the callee is believed by; None for plaintext.
        """
        self._service = service
        self._required = required
        self._breaker = Breaker(service, _did_not_answer)
        options: list[tuple[str, Any]] = [
            ("grpc.service_config", json.dumps(_service_config(service))),
            ("grpc.enable_retries", 1),
            ("grpc.keepalive_time_ms", 30_000),
            # The services of a mesh start together; a second of silence for one that listens a moment later is long.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 1_000),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.max_receive_message_length", 10 * 1024 * 1024),
        ]
        spans = aio_client_interceptors(filter_=_in_sampled_trace)  # type: ignore[no-untyped-call]  # it carries no types
        hop = _Hop(service, self._breaker, forward_identity=forward_identity)
        self.channel = connect(address, service, certificates, options=options, interceptors=[hop, *spans])

    @property
    def name(self) -> str:
        """The service's name."""
        return self._service

    @property
    def required(self) -> bool:
        """Whether the caller is down without it."""
        return self._required

    @property
    def state(self) -> State:
        """What the last calls saw: DOWN while the breaker is open, DEGRADED while it probes."""
        return _STATES[self._breaker.state]

    @property
    def breaker(self) -> str:
        """The state of the circuit breaker."""
        return self._breaker.state.value

    async def start(self) -> None:
        """Nothing to do: a call connects."""

    async def close(self) -> None:
        """Ends the connections."""
        await self.channel.close()


_STATES: Final = {
    BreakerState.CLOSED: State.OK,
    BreakerState.HALF_OPEN: State.DEGRADED,
    BreakerState.OPEN: State.DOWN,
}


def _did_not_answer(error: BaseException) -> bool | None:
    if isinstance(error, DeadlineExceeded):
        return True if error.given_seconds >= _FAIR_SECONDS else None
    return isinstance(error, Unavailable)


def _in_sampled_trace(details: object) -> bool:
    """Tells whether a span is worth making: an unsampled one costs as much and shows nothing."""
    del details
    return trace.get_current_span().get_span_context().trace_flags.sampled


def _service_config(service: str) -> dict[str, Any]:
    package = service.replace("-", "_")
    file: FileDescriptor = importlib.import_module(f"geomesh.{package}.v1.{package}_pb2").DESCRIPTOR
    methods = [method_of(each) for named in file.services_by_name.values() for each in named.methods]
    repeatable = [{"service": each.service, "method": each.name} for each in methods if each.idempotent]
    return {
        "loadBalancingConfig": [{"round_robin": {}}],
        "retryThrottling": _BUDGET,
        "methodConfig": [{"name": repeatable, "retryPolicy": _RETRIES}] if repeatable else [],
    }


class _Hop(grpc.aio.UnaryUnaryClientInterceptor):
    """Passes on what the callee must know of the call in work, and turns its status back into an error of ours."""

    def __init__(self, service: str, breaker: Breaker, *, forward_identity: bool) -> None:
        self._service = service
        self._breaker = breaker
        self._forwarded = (AUTHORIZATION, TRACEPARENT) if forward_identity else (TRACEPARENT,)

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """Calls, and raises what the callee raised."""
        known = CURRENT.get()
        seconds = _seconds(client_call_details.timeout, known)
        if seconds <= 0:
            raise DeadlineExceeded(f"the caller's time was over before {self._service} was asked")
        details = self._outgoing(client_call_details, known, seconds)
        return await self._breaker.call(self._call, continuation, details, seconds, request)

    async def _call(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        details: grpc.aio.ClientCallDetails,
        seconds: float,
        request: Any,
    ) -> Any:
        try:
            return await (await continuation(details, request))
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._service, seconds) from error

    def _outgoing(
        self, details: grpc.aio.ClientCallDetails, known: RequestContext | None, seconds: float
    ) -> grpc.aio.ClientCallDetails:
        metadata = dict(details.metadata or ())
        if known is not None:
            metadata[REQUEST_ID] = known.request_id
            for key in self._forwarded:
                if key in known.metadata and key not in metadata:
                    metadata[key] = known.metadata[key]
        return grpc.aio.ClientCallDetails(
            method=details.method,
            timeout=seconds,
            metadata=grpc.aio.Metadata(*metadata.items()),
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
        )


def _seconds(asked: float | None, known: RequestContext | None) -> float:
    """Returns the time that a callee gets: what the stub asks for or what the call in work has left."""
    left = math.inf if known is None else known.deadline - time.monotonic() - HOP_SECONDS
    if asked is None:
        return left if math.isfinite(left) else DEFAULT_SECONDS
    return min(asked, left)
