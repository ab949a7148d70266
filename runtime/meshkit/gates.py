"""What a call must pass before its handler sees it. Each gate refuses by raising, and is made once for each RPC.

A gate is a plain function: coroutines around each other were measured to cost a tenth of the rate. One that has to wait
returns what to wait for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError, Message

from geomesh.options.v1 import options_pb2
from meshkit.context import AUTHORIZATION, RequestContext
from meshkit.errors import InvalidInput, PermissionDenied, Reason, ResourceExhausted, Unauthenticated
from meshkit.identity import permission_name, permissions_of
from meshkit.validation import validate

if TYPE_CHECKING:
    from meshkit.policy import Method
    from meshkit.request_path import Server

Gate = Callable[[RequestContext, Any], Awaitable[None] | None]
"""Takes the call and its request; of a stream of requests, whatever stands for it, unread."""

_BEARER: Final = "Bearer "


def admit(method: Method, server: Server) -> Gate | None:
    """Refuses what would only wait: a queue without bound makes every caller late."""
    if method.request_streaming or method.response_streaming:
        return None
    most = server.settings.max_concurrent_requests

    def admitted(call: RequestContext, request: Any) -> None:
        del call, request
        if server.in_work > most:
            raise ResourceExhausted(
                Reason.OVERLOADED, f"this server works at its limit of {most} calls", retry_after_seconds=1.0
            )

    return admitted


def authenticate(method: Method, server: Server) -> Gate | None:
    """Finds out who calls.

    A wrong token is refused also where an anonymous caller would be served: its bearer thinks that it counts. Where
    anyone may call it is not looked at, because a client must be able to renew an expired token by such a call.
    """
    if method.permission == options_pb2.PERMISSION_ANYONE:
        return None
    tokens = server.tokens

    async def verify(call: RequestContext, token: str) -> None:
        call.identity = await tokens.verify(token)

    def authenticated(call: RequestContext, request: Any) -> Awaitable[None] | None:
        del request
        header = call.metadata.get(AUTHORIZATION)
        if header is None:
            return None
        if not isinstance(header, str) or header[: len(_BEARER)].title() != _BEARER:
            raise Unauthenticated(Reason.TOKEN_INVALID, "authorization must be `Bearer` and an access token")
        token = header[len(_BEARER) :]
        known = tokens.cached(token)
        if known is None:
            return verify(call, token)
        call.identity = known
        return None

    return authenticated


def authorize(method: Method, server: Server) -> Gate | None:
    """Lets pass who holds the permission that the proto of the RPC names."""
    del server
    required = method.permission
    if required == options_pb2.PERMISSION_ANYONE:
        return None
    name = permission_name(required)

    def authorized(call: RequestContext, request: Any) -> None:
        del request
        if required in call.identity.permissions:
            return
        if AUTHORIZATION not in call.metadata:
            raise Unauthenticated(Reason.TOKEN_MISSING, f"{method.name} needs a token with {name}")
        if required in permissions_of(call.identity.roles):
            raise PermissionDenied(
                Reason.PERMISSION_MISSING, f"{method.name} needs {name}, which the scope of your token leaves out"
            )
        raise PermissionDenied(Reason.PERMISSION_MISSING, f"{method.name} needs {name}, which your roles do not hold")

    return authorized


def check_request(method: Method, server: Server) -> Gate | None:
    """Holds the request against the rules in its proto, so that no handler ever sees one that breaks them."""
    del server
    if method.request_streaming:
        return None  # `checked` holds each of them

    def held(call: RequestContext, request: Any) -> None:
        del call
        check(request)

    return held


GATES: Final[tuple[tuple[Callable[[Method, Server], Gate | None], str], ...]] = (
    (admit, "before the first costly step: a refusal must be cheap when there is too much work"),
    (authenticate, "before anything looks at the request, so that a stranger cannot probe it"),
    (authorize, "before validation, so that who may not call learns nothing about what would be valid"),
    (check_request, "last, so that a handler only ever sees requests that keep the rules of their proto"),
)
"""Every gate in order, with the reason why it stands where it stands."""


async def checked(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yields the requests of a stream, each once it was held against its rules."""
    async for request in requests:
        check(request)
        yield request


def check(request: Any) -> None:
    """Returns when a request could be read and keeps its rules.

    Raises:
        InvalidInput: It could not, or does not.
    """
    if isinstance(request, Unreadable):
        raise InvalidInput(
            "request", f"is no {request.message_type}, or has text that is no UTF-8", reason=Reason.MALFORMED_REQUEST
        )
    validate(request)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What comes in the place of a request that cannot be read; `check` refuses it.

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
