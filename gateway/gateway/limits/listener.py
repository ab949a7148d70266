"""Where Envoy asks: one RPC of its own protocol, without the request path, since who asks is Envoy and not a caller.

h2 speaks HTTP/2; what is here is the little that gRPC adds for a unary call, after
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. Every public call waits for this one, and gRPC's own server
takes twice the processor's time for it; docs/limits.md has the figures.
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
import h2.settings
import structlog
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame

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
_MOST_AT_ONCE: Final = 200
"""Calls on one connection; h2 looks at all of them for each new one. Envoy opens another connection for the rest."""
_ANY_STREAM: Final = 2**31 - 1
_PREFIX: Final = struct.Struct("!?I")
"""Of a gRPC message: whether it is compressed, and its length."""
# Envoy's are well-formed and so are these, and checking both took a fifth of the time of a call.
_HTTP2: Final = H2Configuration(
    client_side=False,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)
_HEAD: Final = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_OK: Final = [(b"grpc-status", b"0")]
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
        self._http = H2Connection(_HTTP2)
        self._requests: dict[int, bytearray] = {}
        self._asked: set[int] = set()
        self._flushes = False
        self._read = 0
        self._refusal = ""
        self._answered = asyncio.Event()
        self._answered.set()
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._connections.add(self)
        # Who may ask can use up anybody's limit.
        if self._allowed is not None and not self._allowed.intersection(names := names_of_peer(self._transport)):
            self._refusal = f"limits is not asked by {', '.join(names) or 'strangers'}"
        self._http.local_settings = h2.settings.Settings(client=False)
        self._http.initiate_connection()
        # In a second step, since the first holds at once, and Envoy may send a thousand calls before it has read it.
        self._http.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: _MOST_AT_ONCE})
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._connections.discard(self)
        self._lost.set()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._http.receive_data(data):
                self._take(event)
        except ProtocolError as error:
            _LOG.warning("a connection broke HTTP/2 and is closed", error=str(error))
            self._flush()  # why, as h2 put it
            self._transport.close()
            return
        self._flush()

    async def end(self) -> None:
        """Asks for no new calls, answers those that are on their way, and closes the connection."""
        # h2's own says which call was the last, and takes none after it.
        self._flush()
        self._transport.write(GoAwayFrame(0, last_stream_id=_ANY_STREAM).serialize())
        await asyncio.sleep(_ON_THEIR_WAY_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._answered.wait()
        with contextlib.suppress(ProtocolError):  # the other end was quicker
            self._http.close_connection()
        self._flush()
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._lost.wait()
        self._transport.abort()  # TLS waits long for the other end's farewell

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._begin(event)
        elif isinstance(event, DataReceived):
            stream = event.stream_id or 0
            self._make_room(event.flow_controlled_length or 0)
            request = self._requests.get(stream)
            if request is None:
                return
            request += event.data or b""
            if len(request) > _MOST_BYTES:
                self._refuse(stream, grpc.StatusCode.RESOURCE_EXHAUSTED, f"a request has at most {_MOST_BYTES} bytes")
        elif isinstance(event, StreamEnded):
            stream = event.stream_id or 0
            request = self._requests.pop(stream, None)
            if request is not None:
                self._ask(stream, request)
        elif isinstance(event, StreamReset):
            self._forget(event.stream_id or 0)

    def _begin(self, event: RequestReceived) -> None:
        stream = event.stream_id or 0
        path = next((value for name, value in event.headers or () if name == b":path"), b"")
        if self._refusal:
            self._refuse(stream, grpc.StatusCode.PERMISSION_DENIED, self._refusal)
        elif path != _PATH:
            self._refuse(stream, grpc.StatusCode.UNIMPLEMENTED, f"there is only {_PATH.decode()} here")
        else:
            self._requests[stream] = bytearray()

    def _ask(self, stream: int, request: bytearray) -> None:
        compressed, length = _PREFIX.unpack_from(request) if len(request) >= _PREFIX.size else (False, -1)
        if compressed or length != len(request) - _PREFIX.size:
            self._refuse(stream, grpc.StatusCode.INTERNAL, "a request is one message, not compressed")
            return
        self._asked.add(stream)
        self._answered.clear()
        self._answer(bytes(request[_PREFIX.size :]), partial(self._reply, stream))

    def _reply(self, stream: int, reply: bytes) -> None:
        if stream not in self._asked:  # it went away while it waited
            return
        self._forget(stream)
        with contextlib.suppress(ProtocolError):  # the other end takes no more
            self._http.send_headers(stream, _HEAD)
            self._http.send_data(stream, _PREFIX.pack(False, len(reply)) + reply)
            self._http.send_headers(stream, _OK, end_stream=True)
        self._flush_soon()

    def _refuse(self, stream: int, code: grpc.StatusCode, message: str) -> None:
        self._forget(stream)
        status = [(b"grpc-status", str(code.value[0]).encode()), (b"grpc-message", quote(message).encode())]
        with contextlib.suppress(ProtocolError):
            self._http.send_headers(stream, _HEAD + status, end_stream=True)
        self._flush_soon()

    def _forget(self, stream: int) -> None:
        self._requests.pop(stream, None)
        self._asked.discard(stream)
        if not self._asked:
            self._answered.set()

    def _make_room(self, read: int) -> None:
        """Lets as much be sent again as was read. No stream needs it: what one may send fits into its first window."""
        self._read += read
        if self._read >= _MOST_BYTES // 2:
            self._http.increment_flow_control_window(self._read)
            self._read = 0

    def _flush_soon(self) -> None:
        """Sends what is to be sent once everyone who can go on has: the answers to many calls come in one go."""
        if not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushes = False
        if data := self._http.data_to_send():
            self._transport.write(data)
