"""Where Envoy asks: one RPC of its own protocol, without the request path, since who asks is Envoy and not a caller."""

from collections.abc import Awaitable, Callable
from typing import Final

import grpc

from gateway.limits.settings import Settings
from meshkit.health import State
from meshkit.tls import Certificates, peer_check, server_credentials

Answer = Callable[[bytes], Awaitable[bytes]]
"""Returns the serialized reply to a serialized request."""

SERVICE: Final = "envoy.service.ratelimit.v3.RateLimitService"
_GRACE_SECONDS: Final = 1.0
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    # Envoy asks every 15 s whether a connection lives, also when nobody calls; gRPC by itself would end it for that.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Listener:
    """Listens on a port of its own. It is a :class:`meshkit.health.Dependency`: the service starts and closes it."""

    name = "counting"
    required = True
    breaker = ""

    def __init__(self, settings: Settings, answer: Answer) -> None:
        """Prepares without listening.

        Args:
            settings: Where to listen, what the service proves itself with, and who may ask.
            answer: What answers.
        """
        self._address = f"{settings.host}:{settings.counting_port}"
        self._answer = answer
        self._certificates = Certificates.of(settings)
        self._refused_peer = peer_check(settings)
        self._server: grpc.aio.Server | None = None

    @property
    def state(self) -> State:
        """OK while it listens."""
        return State.DOWN if self._server is None else State.OK

    async def start(self) -> None:
        """Listens."""

        async def should_rate_limit(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            # Who may ask can use up anybody's limit.
            if self._refused_peer is not None and (peer := self._refused_peer(context)) is not None:
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"limits is not asked by {peer or 'strangers'}")
            return await self._answer(request)

        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(should_rate_limit)
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"ShouldRateLimit": method}),))
        try:
            if self._certificates is None:
                server.add_insecure_port(self._address)
            else:
                server.add_secure_port(self._address, server_credentials(self._certificates))
        except RuntimeError as error:
            raise SystemExit(f"cannot listen on {self._address}: {error}") from None
        await server.start()
        self._server = server

    async def close(self) -> None:
        """Takes no more requests, and answers those it has."""
        if self._server is not None:
            await self._server.stop(_GRACE_SECONDS)
