"""What is known of the call in work: who asks, until when, and under which name it is found in the logs."""

import time
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from meshkit.errors import MeshError
from meshkit.identity import ANONYMOUS, Identity

if TYPE_CHECKING:
    import grpc

REQUEST_ID: Final = "x-request-id"
TRACEPARENT: Final = "traceparent"
AUTHORIZATION: Final = "authorization"
CLIENT_ADDRESS: Final = "x-envoy-external-address"
"""The header in which the edge says who its client is. It takes away what a client writes there."""


class RequestContext:
    """One call, from its arrival to its reply.

    Attributes:
        method: The RPC's full name, e.g. ``/geomesh.geocoder.v1.GeocoderService/Geocode``.
        metadata: The metadata the call came with; of a repeated key the last value.
        deadline: When the caller stops waiting, on :func:`time.monotonic`'s clock in seconds.
        watched_by_caller: Whether the caller named that deadline, so that gRPC ends the call when it passes.
        identity: Who calls; :data:`meshkit.identity.ANONYMOUS` without a token.
        ended_by: Why a stream was ended before its time; None as long as it was not.
    """

    __slots__ = ("_request_id", "deadline", "ended_by", "identity", "metadata", "method", "watched_by_caller")

    def __init__(
        self,
        method: str,
        metadata: Mapping[str, str | bytes],
        deadline: float,
        watched_by_caller: bool = True,  # noqa: FBT001, FBT002 -- a keyword costs time on every call
    ) -> None:
        self.method = method
        self.metadata = metadata
        self.deadline = deadline
        self.watched_by_caller = watched_by_caller
        self.identity: Identity = ANONYMOUS
        self.ended_by: MeshError | None = None
        self._request_id = ""

    @property
    def request_id(self) -> str:
        """The caller's request id, or one made on first use, since most calls never need theirs."""
        if not self._request_id:
            self._request_id = self.text(REQUEST_ID) or uuid.uuid4().hex
        return self._request_id

    @property
    def trace_id(self) -> str:
        """The W3C trace id in 32 hex digits, or an empty string when the caller traces nothing."""
        parts = self.text(TRACEPARENT).split("-")
        return parts[1] if len(parts) == 4 else ""  # noqa: PLR2004 -- version-trace-span-flags

    def text(self, key: str) -> str:
        """Returns a metadata value as text, or an empty string."""
        value = self.metadata.get(key, "")
        return value if isinstance(value, str) else value.decode("latin-1")

    def remaining_seconds(self) -> float:
        """Returns the time in seconds until the caller stops waiting, never negative."""
        return max(0.0, self.deadline - time.monotonic())


CURRENT: Final[ContextVar[RequestContext | None]] = ContextVar("geomesh_request", default=None)


def current() -> RequestContext:
    """Returns the call in work; outside of one, an anonymous call with a minute to go, for loaders and tests."""
    return CURRENT.get() or RequestContext("", {}, time.monotonic() + 60.0)


def address_of(context: "grpc.aio.ServicerContext[Any, Any]") -> str:
    """Returns the address that the call in work comes from: as the edge says, or else the connection's."""
    named = current().text(CLIENT_ADDRESS)
    if named:
        return named[:64]
    # `ipv4:127.0.0.1:1234`, `ipv6:%5B::1%5D:1234` or `unix:…`
    parts = unquote(context.peer() or "").split(":", 1)
    return parts[-1].rpartition(":")[0].strip("[]") if parts[0].startswith("ip") else ""
