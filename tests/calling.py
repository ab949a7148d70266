"""A service that runs as its own `python -m` would run it, and those who call it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from meshkit.health import Dependency
from meshkit.serve import running
from meshkit.settings import ServiceSettings
from tests.meshkit.conftest import Issuer


@dataclass(frozen=True)
class BaseCaller:
    """Calls a service with one token, or none."""

    stub: Any
    metadata: tuple[tuple[str, str], ...]

    def call(self, method: str, request: Message) -> Awaitable[Any]:
        """Calls a unary RPC."""
        answer: Awaitable[Any] = getattr(self.stub, method)(request, metadata=self.metadata, timeout=30)
        return answer


CallerT = TypeVar("CallerT", bound=BaseCaller)


@asynccontextmanager
async def callers(
    kind: type[CallerT],
    stub: Callable[[grpc.aio.Channel], Any],
    tokens: Issuer,
    settings: ServiceSettings,
    servicer: object,
    dependencies: Sequence[Dependency] = (),
    options: Sequence[tuple[str, Any]] = (),
) -> AsyncIterator[Callable[..., CallerT]]:
    """Serves, and yields what makes the caller of a tenant, with the roles named, else `user`; without one, anonymous.

    The options are those of the callers' channel.
    """
    async with (
        running(settings, servicers=[servicer], dependencies=dependencies) as ports,
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}", options=options) as channel,
    ):
        connected = stub(channel)

        def caller(tenant: str | None, *roles: str) -> CallerT:
            if tenant is None:
                return kind(connected, ())
            token = tokens.token(*(roles or ("user",)), tenant=tenant)
            return kind(connected, (("authorization", f"Bearer {token}"),))

        yield caller
