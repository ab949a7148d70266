"""Turns servicers into a running service. This and `run` are all that a ``__main__`` calls."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar

import grpc
import structlog
import uvloop
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry import trace
from prometheus_client import start_http_server

from geomesh.auth.v1 import auth_pb2, auth_pb2_grpc
from geomesh.options.v1.options_pb2 import PERMISSION_ANYONE
from meshkit import gates, request_path, telemetry
from meshkit.channels import Upstream
from meshkit.health import Dependency, HealthServicer, State, overall
from meshkit.jwks import FetchJwks
from meshkit.policy import method_of, methods_of, service_of
from meshkit.refusals import Refusals
from meshkit.settings import ServiceSettings
from meshkit.tls import Certificates, server_credentials
from meshkit.tokens import TokenVerifier

ListenerT = TypeVar("ListenerT")

_LOG: Final = structlog.get_logger("meshkit.serve")
_HEALTH_SECONDS: Final = 0.5
_CONNECT_SECONDS: Final = 2.0


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a service's `main` on uvloop until it is told to stop."""
    uvloop.run(main())


async def serve(
    settings: ServiceSettings,
    *,
    servicers: Sequence[object],
    dependencies: Sequence[Dependency] = (),
    stands_for: Mapping[str, Dependency] = MappingProxyType({}),
    tokens: TokenVerifier | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is in work.

    Args:
        settings: The service's settings.
        servicers: Implementations of generated ``…Servicer`` classes.
        dependencies: What the service needs; started before and closed after, in order and in reverse order.
        stands_for: Full names of gRPC services that run elsewhere, each with the dependency that knows how it fares,
            for which this process answers reflection and ``grpc.health.v1``.
        tokens: What verifies the callers' tokens; None for one that asks the auth service for the keys.

    Raises:
        TypeError: A servicer leaves an RPC unimplemented.
        ValueError: An RPC names no permission.
    """
    telemetry.configure_logging(settings)
    tracer = telemetry.configure_tracing(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(
        settings,
        servicers=servicers,
        dependencies=dependencies,
        stands_for=stands_for,
        tracer=tracer,
        tokens=tokens,
    ) as ports:
        _settle_memory()
        _LOG.info("serving", host=settings.host, port=ports.grpc, metrics_port=ports.metrics)
        await stop.wait()
        _LOG.info("draining")
    telemetry.close_tracing()
    _LOG.info("stopped")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a server listens."""

    grpc: int
    metrics: int


@asynccontextmanager
async def running(
    settings: ServiceSettings,
    *,
    servicers: Sequence[object],
    dependencies: Sequence[Dependency] = (),
    stands_for: Mapping[str, Dependency] = MappingProxyType({}),
    tracer: trace.Tracer | None = None,
    tokens: TokenVerifier | None = None,
) -> AsyncIterator[Ports]:
    """Serves while the context is open and drains when it closes; see `serve`, which is this and a signal."""
    async with AsyncExitStack() as stack:
        certificates = Certificates.of(settings)
        auth = Upstream(settings.auth_address, "auth", forward_identity=False, certificates=certificates)
        stack.push_async_callback(auth.close)
        tokens = tokens or TokenVerifier(settings, _fetch_jwks(auth.channel))
        refusals = Refusals(settings)
        path = request_path.Server(settings, tokens, refusals, tracer)
        tokens.revoked.listen(path.end_revoked)
        tokens.listen_for_withdrawals(path.end_unproven)
        telemetry.IN_WORK.set_function(lambda: path.in_work)
        server = grpc.aio.server(options=_options(settings))
        # Who asks nobody for a token needs neither keys nor Redis to judge one, and knows nobody to refuse.
        if any(map(_asks_for_tokens, servicers)):
            dependencies = (*tokens.dependencies, refusals, *dependencies)
        everything = (*servicers, HealthServicer(settings.service, dependencies))
        names = [_register(server, path, each) for each in everything]
        standard_health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(standard_health, server)
        names.append(health.SERVICE_NAME)
        reflection.enable_server_reflection([*names, *stands_for, reflection.SERVICE_NAME], server)

        for dependency in dependencies:
            await dependency.start()
            stack.push_async_callback(dependency.close)
        await _until_connected(dependencies)
        metrics, _thread = _listen(settings.metrics_port, partial(start_http_server, addr=settings.metrics_host))
        stack.callback(metrics.server_close)
        stack.push_async_callback(asyncio.to_thread, metrics.shutdown)
        port = _listen(settings.port, lambda number: _open_port(server, f"{settings.host}:{number}", certificates))
        await server.start()
        states: dict[tuple[str, ...], Callable[[], State]] = {("", *names): lambda: overall(dependencies)}
        states |= {(name,): partial(getattr, each, "state") for name, each in stands_for.items()}
        reporters = [asyncio.create_task(_report_health(standard_health, *each)) for each in states.items()]
        try:
            yield Ports(port, metrics.server_port)
        finally:
            for reporter in reporters:
                reporter.cancel()
            await _drain(settings, server, path, standard_health)


def _asks_for_tokens(servicer: object) -> bool:
    return any(each.permission != PERMISSION_ANYONE for each in methods_of(service_of(servicer)).values())


async def _until_connected(dependencies: Sequence[Dependency]) -> None:
    """Waits a little for what is required: a replica that listens before it can answer fails the calls it attracts."""
    patient_until = time.monotonic() + _CONNECT_SECONDS
    while any(each.required and each.state is State.DOWN for each in dependencies):
        if time.monotonic() > patient_until:
            return
        await asyncio.sleep(0.02)


def _listen(port: int, listen: Callable[[int], ListenerT]) -> ListenerT:
    """Returns what `listen` returns, or ends the program with one line that names the port it could not have."""
    try:
        return listen(port)
    except (OSError, RuntimeError) as error:
        raise SystemExit(f"cannot listen on port {port}: {error}") from None


def _open_port(server: grpc.aio.Server, address: str, certificates: Certificates | None) -> int:
    if certificates is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, server_credentials(certificates))


def _fetch_jwks(channel: grpc.aio.Channel) -> FetchJwks:
    stub: auth_pb2_grpc.AuthServiceAsyncStub = auth_pb2_grpc.AuthServiceStub(channel)

    async def fetch() -> dict[str, Any]:
        # The auth service itself is asked too, by its own process, which asks before it listens.
        return MessageToDict(await stub.GetJwks(auth_pb2.GetJwksRequest(), wait_for_ready=True))

    return fetch


def _options(settings: ServiceSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Envoy takes headers of 32 KiB, and sends a REST caller's path along as one of them. gRPC's own limit of 8 to 16
        # would end such a call without any details.
        ("grpc.max_metadata_size", 64 * 1024),
        ("grpc.absolute_max_metadata_size", 64 * 1024),
        # gRPC's own bound of a thousand ends a burst of calls as CANCELLED, without details. This is more than the edge
        # lets through, so that it is a gate of ours that refuses.
        ("grpc.server.max_pending_requests", settings.max_pending_calls),
        ("grpc.server.max_pending_requests_hard_limit", settings.max_pending_calls),
        # Two servers that share a port were measured to pin all traffic to one of them.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _register(server: grpc.aio.Server, path: request_path.Server, servicer: object) -> str:
    """Adds every RPC of `servicer` with the whole request path before it, and returns the service's name."""
    service = service_of(servicer)
    handlers = {each.name: _handler(path, each, getattr(servicer, each.name)) for each in service.methods}
    # Registering the methods one by one too, as generated code does, was measured to cost about a tenth of the rate.
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    name: str = service.full_name
    return name


def _handler(
    path: request_path.Server, descriptor: MethodDescriptor, behaviour: Callable[..., Any]
) -> grpc.RpcMethodHandler[Any, Any]:
    method = method_of(descriptor)
    make: Callable[..., grpc.RpcMethodHandler[Any, Any]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[method.request_streaming, method.response_streaming]
    return make(
        request_path.wrap(method, path, behaviour),
        request_deserializer=gates.reader(GetMessageClass(descriptor.input_type)),
        response_serializer=_serialized,
    )


def _serialized(reply: Any) -> bytes:
    """Returns the bytes of a reply; a cache may have them already."""
    if isinstance(reply, bytes):
        return reply
    serialized: bytes = reply.SerializeToString()
    return serialized


async def _report_health(servicer: health.aio.HealthServicer, names: Sequence[str], state: Callable[[], State]) -> None:
    """Keeps grpc.health.v1 true. Degraded is not down: only a required dependency takes the service out of rotation."""
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    before: State | None = None
    while True:
        now = state()
        if now is not before:
            if before is not None:
                _LOG.warning("health changed", services=names, before=before.name, now=now.name)
            for name in names:
                await servicer.set(name, not_serving if now is State.DOWN else serving)
            before = now
        await asyncio.sleep(_HEALTH_SECONDS)


def _settle_memory() -> None:
    """Moves what lives as long as the process out of the collector's sight, which makes every collection shorter."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


async def _drain(
    settings: ServiceSettings,
    server: grpc.aio.Server,
    path: request_path.Server,
    standard_health: health.aio.HealthServicer,
) -> None:
    """Leaves the rotation, waits until that is noticed, lets calls finish, and ends streams so that they can resume."""
    await standard_health.enter_graceful_shutdown()
    await asyncio.sleep(settings.drain_notice_seconds)
    path.end_streams()
    await server.stop(grace=settings.drain_seconds)
