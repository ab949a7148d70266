"""What happens around every call: its token, its time, its repetitions, and its error."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import ServiceDescriptor

from geomesh.options.v1 import options_pb2
from geomesh_client.errors import (
    DeadlineExceeded,
    GeomeshError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    from_rpc_error,
)
from geomesh_client.session import Session

Details = grpc.aio.ClientCallDetails
Continue = Callable[[Details, Any], Awaitable[Any]]

_REPEATABLE: Final = {
    descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS,
    descriptor_pb2.MethodOptions.IDEMPOTENT,
}
_NO_TOKEN: Final = options_pb2.PERMISSION_ANYONE
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 5.0
OLD: Final = {"TOKEN_EXPIRED", "TOKEN_INVALID", "TOKEN_REVOKED"}
"""Reasons for which another token may be taken where this one was not."""


@dataclass(frozen=True, slots=True)
class Rpc:
    """What a proto says of an RPC.

    Attributes:
        repeatable: Whether a call that may have been carried out can be sent again.
        takes_token: Whether it matters who calls.
    """

    repeatable: bool
    takes_token: bool


_UNKNOWN: Final = Rpc(repeatable=False, takes_token=True)


def rpcs_of(services: Iterable[ServiceDescriptor]) -> dict[str, Rpc]:
    """Returns every RPC of `services` by its path, as the protos declare it."""
    found = {}
    for service in services:
        for method in service.methods:
            options = method.GetOptions()
            found[f"/{service.full_name}/{method.name}"] = Rpc(
                options.idempotency_level in _REPEATABLE, options.Extensions[options_pb2.requires] != _NO_TOKEN
            )
    return found


@dataclass(slots=True)
class Around:
    """What calls share.

    Attributes:
        rpcs: What the protos say of each, by its path.
        timeout_seconds: What a call that is no stream gets where its caller names no time.
        attempts: How often it is tried at most.
        session: Whose token goes along; None for nobody's.
    """

    rpcs: dict[str, Rpc]
    timeout_seconds: float
    attempts: int
    session: Session | None = None
    draws: random.Random = field(default_factory=random.SystemRandom)

    async def unary(self, proceed: Continue, details: Details, request: Any) -> Any:
        """Makes a call with one request and one reply, again where it may be and there is time."""
        timeout = self.timeout_seconds if details.timeout is None else details.timeout
        deadline = time.monotonic() + timeout
        token, renewed, attempt = await self._token_before(deadline, details), False, 1
        while True:
            remaining = deadline - time.monotonic()
            try:
                return await _answer(proceed, _outgoing(details, token, max(remaining, 0.0)), request)
            except Unauthenticated as error:
                if renewed or not token or error.reason not in OLD:
                    raise
                token, renewed = await self._token_before(deadline, details, instead_of=token), True
            except GeomeshError as error:
                wait_seconds = self._wait(self._rpc(details), error, attempt)
                if wait_seconds is None or time.monotonic() + wait_seconds >= deadline:
                    raise
                attempt += 1
                await asyncio.sleep(wait_seconds)

    async def stream_unary(self, proceed: Continue, details: Details, requests: Any) -> Any:
        """Makes a call that streams requests; nobody but its caller could send them again."""
        token = await self._token(details)
        return _Translated(await proceed(_outgoing(details, token, details.timeout), requests), self._refuser(token))

    async def stream_stream(self, proceed: Continue, details: Details, requests: Any) -> AsyncIterator[Any]:
        """Makes a call that streams both; nobody but its caller could send the requests again."""
        token = await self._token(details)
        return _translated(await proceed(_outgoing(details, token, details.timeout), requests), self._refuser(token))

    async def unary_stream(self, proceed: Continue, details: Details, request: Any) -> AsyncIterator[Any]:
        """Begins a call that streams replies, with a new token where the mesh refuses the old one at once.

        Where to go on when it breaks later, only its caller knows; see :func:`geomesh_client.follow`.
        """
        token = await self._token(details)
        refuse = self._refuser(token)
        first = await proceed(_outgoing(details, token, details.timeout), request)

        async def replies() -> AsyncIterator[Any]:
            silent = True
            try:
                async with aclosing(_translated(first, refuse)) as begun:
                    async for reply in begun:
                        silent = False
                        yield reply
            except Unauthenticated as error:
                if not (silent and token and error.reason in OLD):
                    raise
            else:
                return
            another = await self._token(details, instead_of=token)
            second = await proceed(_outgoing(details, another, details.timeout), request)
            async with aclosing(_translated(second, self._refuser(another))) as begun:
                async for reply in begun:
                    yield reply

        return replies()

    async def _token_before(self, deadline: float, details: Details, *, instead_of: str = "") -> str:
        """Returns the token for a call, whose time signing in takes part of."""
        limit = asyncio.timeout(max(0.0, deadline - time.monotonic()))
        try:
            async with limit:
                return await self._token(details, instead_of=instead_of)
        except TimeoutError:
            if not limit.expired():
                raise
            message = "the caller was not signed in within the call's time"
            raise DeadlineExceeded(grpc.StatusCode.DEADLINE_EXCEEDED, message) from None

    def _refuser(self, token: str) -> Callable[[GeomeshError], None]:
        """Returns what is told of an error that a stream ends with, so that the next call does not repeat it."""

        def refuse(error: GeomeshError) -> None:
            if self.session is not None and isinstance(error, Unauthenticated) and error.reason in OLD:
                self.session.refuse(token)

        return refuse

    async def _token(self, details: Details, *, instead_of: str = "") -> str:
        if self.session is None or not self._rpc(details).takes_token:
            return ""
        return await self.session.access_token(instead_of=instead_of)

    def _rpc(self, details: Details) -> Rpc:
        path: Any = details.method  # text, or bytes: the published type and the library do not agree
        return self.rpcs.get(path.decode() if isinstance(path, bytes) else path, _UNKNOWN)

    def _wait(self, rpc: Rpc, error: GeomeshError, attempt: int) -> float | None:
        """Returns how long to wait before another try; None where there must be none.

        What was refused for a limit was never begun. What found nobody may have been carried out.
        """
        refused = isinstance(error, ResourceExhausted) and error.retry_after_seconds is not None
        unanswered = isinstance(error, Unavailable) and rpc.repeatable
        if attempt >= self.attempts or not (refused or unanswered):
            return None
        jitter = self.draws.uniform(0, min(_FIRST_WAIT_SECONDS * 2**attempt, _LONGEST_WAIT_SECONDS))
        return (error.retry_after_seconds or 0.0) + jitter


class _Translated:
    """A call of gRPC's that raises errors of ours. Here an interceptor must return a call, and not what it answered."""

    def __init__(self, call: Any, tell: Callable[[GeomeshError], None]) -> None:
        self._call = call
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            return (yield from self._call.__await__())
        except grpc.aio.AioRpcError as error:
            ours = from_rpc_error(error)
            self._tell(ours)
            raise ours from error


async def _translated(call: Any, tell: Callable[[GeomeshError], None]) -> AsyncGenerator[Any, None]:
    """Yields the replies of a call, and raises errors of ours."""
    try:
        async for reply in call:
            yield reply
    except grpc.aio.AioRpcError as error:
        ours = from_rpc_error(error)
        tell(ours)
        raise ours from error
    finally:
        call.cancel()


async def _answer(proceed: Continue, details: Details, request: Any) -> Any:
    try:
        return await (await proceed(details, request))
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


def _outgoing(details: Details, token: str, timeout: float | None) -> Details:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    if token:
        metadata["authorization"] = f"Bearer {token}"
    return Details(
        method=details.method,
        timeout=timeout,
        metadata=metadata,
        credentials=details.credentials,
        wait_for_ready=details.wait_for_ready,
    )


class UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    """One request, one reply."""

    def __init__(self, around: Around) -> None:
        self._around = around

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Details, request: Any) -> Any:
        """Makes the call."""
        return await self._around.unary(continuation, client_call_details, request)


class StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    """Many requests, one reply."""

    def __init__(self, around: Around) -> None:
        self._around = around

    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Details, request_iterator: Any
    ) -> Any:
        """Makes the call."""
        return await self._around.stream_unary(continuation, client_call_details, request_iterator)


class UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    """One request, many replies."""

    def __init__(self, around: Around) -> None:
        self._around = around

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Details, request: Any) -> Any:
        """Begins the call."""
        return await self._around.unary_stream(continuation, client_call_details, request)


class StreamStream(grpc.aio.StreamStreamClientInterceptor):
    """Many requests, many replies."""

    def __init__(self, around: Around) -> None:
        self._around = around

    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Details, request_iterator: Any
    ) -> Any:
        """Begins the call."""
        return await self._around.stream_stream(continuation, client_call_details, request_iterator)


def interceptors(around: Around) -> list[grpc.aio.ClientInterceptor]:
    """Returns what a channel is made with, for every kind of call."""
    return [UnaryUnary(around), StreamUnary(around), UnaryStream(around), StreamStream(around)]
