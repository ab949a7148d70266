"""Where Envoy asks: one RPC of its own protocol, without the request path, since who asks is Envoy and not a caller.

`http2` speaks HTTP/2; what is here is the little that gRPC adds for a unary call, after
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. Every public call waits for this one, and gRPC's own server
takes many times the processor's time for it; docs/limits.md has the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from functools import partial
from typing import Final, cast
from urllib.parse import quote

import grpc
import structlog

from gateway.limits.http2 import BrokenError, Connection, head_block
from gateway.limits.settings import Settings
from meshkit.health import State
from meshkit.tls import Certificates, allowed_peers, names_of_peer, server_context

Answer = Callable[[bytes, Callable[[bytes], None]], None]
"""Takes a serialized request, and what is to be called, now or later, with the serialized reply."""

SERVICE: Final = "envoy.service.ratelimit.v3.RateLimitService"
_PATH: Final = f"/{SERVICE}/ShouldRateLimit".encode()
_GRACE_SECONDS: Final = 1.0
_ON_THEIR_WAY_SECONDS: Final = 0.05
_MOST_BYTES: Final = 65_000
"""Of one request. Envoy's have a few hundred."""
_PREFIX: Final = struct.Struct("!?I")
"""Of a gRPC message: whether it is compressed, and its length."""
_FIELDS: Final = ((b":status", b"200"), (b"content-type", b"application/grpc"))
_HEAD: Final = head_block(_FIELDS)
_OK: Final = head_block([(b"grpc-status", b"0")])
_LOG: Final = structlog.get_logger(__name__)


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
        self._host, self._port = settings.host, settings.counting_port
        self._answer = answer
        self._certificates = Certificates.of(settings)
        self._allowed = allowed_peers(settings)
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def state(self) -> State:
        """OK while it listens."""
        return State.DOWN if self._server is None else State.OK

    async def start(self) -> None:
        """Listens."""
        tls = None if self._certificates is None else server_context(self._certificates)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Connection(self._answer, self._allowed, self._connections), self._host, self._port, ssl=tls
            )
        except OSError as error:
            raise SystemExit(f"cannot listen on {self._host}:{self._port}: {error}") from None

    async def close(self) -> None:
        """Takes no more connections, asks those there are to send no more, and answers what they sent before."""
        if self._server is None:
            return
        self._server.close()
        ending = [asyncio.create_task(connection.end()) for connection in self._connections]
        if ending:
            await asyncio.wait(ending)


class _Connection(asyncio.Protocol):
    """One connection of Envoy's: each stream is a call."""

    def __init__(self, answer: Answer, allowed: frozenset[str] | None, connections: set[_Connection]) -> None:
        self._answer = answer
        self._allowed = allowed
        self._connections = connections
        self._http = Connection(self._ask, most_bytes=_MOST_BYTES)
        self._flushes = False
        self._refusal = ""
        self._answered = asyncio.Event()
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._connections.add(self)
        # Who may ask can use up anybody's limit.
        if self._allowed is not None and not self._allowed.intersection(names := names_of_peer(self._transport)):
            self._refusal = f"limits is not asked by {', '.join(names) or 'strangers'}"
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._connections.discard(self)
        self._lost.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._http.receive(data)
        except BrokenError as error:
            _LOG.warning("a connection broke HTTP/2 and is closed", error=str(error))
            self._flush()  # why it is
            self._transport.close()
            return
        self._flush()

    async def end(self) -> None:
        """Asks for no new calls, answers those that are on their way, and closes the connection."""
        self._http.leave(last=False)
        self._flush()
        await asyncio.sleep(_ON_THEIR_WAY_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                while not self._http.is_idle:
                    self._answered.clear()
                    await self._answered.wait()
        self._http.leave(last=True)
        self._flush()
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._lost.wait()
        self._transport.abort()  # TLS waits long for the other end's farewell

    def _ask(self, stream: int, path: bytes, request: bytes) -> None:
        if self._refusal:
            self._refuse(stream, grpc.StatusCode.PERMISSION_DENIED, self._refusal)
        elif path != _PATH:
            self._refuse(stream, grpc.StatusCode.UNIMPLEMENTED, f"there is only {_PATH.decode()} here")
        elif len(request) > _MOST_BYTES:
            self._refuse(stream, grpc.StatusCode.RESOURCE_EXHAUSTED, f"a request has at most {_MOST_BYTES} bytes")
        elif len(request) < _PREFIX.size or _PREFIX.unpack_from(request) != (False, len(request) - _PREFIX.size):
            self._refuse(stream, grpc.StatusCode.INTERNAL, "a request is one message, not compressed")
        else:
            self._answer(request[_PREFIX.size :], partial(self._reply, stream))

    def _reply(self, stream: int, reply: bytes) -> None:
        self._http.reply(stream, _HEAD, _PREFIX.pack(False, len(reply)) + reply, _OK)
        self._flush_soon()

    def _refuse(self, stream: int, code: grpc.StatusCode, message: str) -> None:
        status = ((b"grpc-status", str(code.value[0]).encode()), (b"grpc-message", quote(message).encode()))
        self._http.refuse(stream, head_block((*_FIELDS, *status)))
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Sends what is to be sent once everyone who can go on has: the answers to many calls come in one go."""
        if not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushes = False
        if (data := self._http.to_send()) and not self._transport.is_closing():
            self._transport.write(data)
        self._answered.set()
