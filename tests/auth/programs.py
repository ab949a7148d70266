"""Calls of the auth service that tests of sessions, keys and programs make."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from geomesh.auth.v1 import auth_pb2 as pb
from meshkit.errors import Reason
from meshkit.status import from_rpc_error
from tests.auth.conftest import Auth

WITHIN_SECONDS = 5.0
"""A revocation is known everywhere after this."""


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Returns the metadata that presents an access token."""
    return (("authorization", f"Bearer {token}"),)


async def create_key(auth: Auth, token: str, *scopes: str, **fields: Any) -> pb.CreateApiKeyResponse:
    """Makes an API key."""
    request = pb.CreateApiKeyRequest(display_name="a sensor", scopes=scopes or ["read:own_data"], **fields)
    return await auth.stub.CreateApiKey(request, metadata=bearer(token))


async def create_service_account(auth: Auth, token: str, role: str = "", *scopes: str) -> pb.ServiceAccountSecret:
    """Makes a service account."""
    request = pb.CreateServiceAccountRequest(display_name="a loader", role=role, scopes=scopes)
    return await auth.stub.CreateServiceAccount(request, metadata=bearer(token))


async def by_key(auth: Auth, key: str, scope: str = "") -> pb.AccessToken:
    """Exchanges an API key."""
    return await auth.stub.ExchangeToken(pb.ExchangeTokenRequest(grant_type="api_key", api_key=key, scope=scope))


async def by_secret(auth: Auth, made: pb.ServiceAccountSecret, scope: str = "") -> pb.AccessToken:
    """Exchanges the secret of a service account."""
    request = pb.ExchangeTokenRequest(
        grant_type="client_credentials",
        client_id=made.service_account.service_account_id,
        client_secret=made.client_secret,
        scope=scope,
    )
    return await auth.stub.ExchangeToken(request)


async def introspect(auth: Auth, caller: str, token: str) -> pb.IntrospectTokenResponse:
    """Looks at a token."""
    return await auth.stub.IntrospectToken(pb.IntrospectTokenRequest(token=token), metadata=bearer(caller))


async def refused_with(call: Callable[[], Awaitable[Any]], reason: Reason) -> float:
    """Returns after how many seconds the call is refused for this reason; fails if that takes too long."""
    started = time.monotonic()
    while True:
        error = await _error_of(call)
        if error is not None:
            assert error.reason is reason
            return time.monotonic() - started
        assert time.monotonic() < started + WITHIN_SECONDS, "it is still accepted"
        await asyncio.sleep(0.05)


async def _error_of(call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        await call()
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error, "auth")
    return None
