"""Keeping an access token at hand."""

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from geomesh_client.credentials import Credentials, RefreshToken, Tokens
from geomesh_client.errors import DeadlineExceeded, ResourceExhausted, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from geomesh.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub

_SPENT: Final = "REFRESH_TOKEN_INVALID"
_AGAIN_SECONDS: Final = 2.0
"""After a renewal that failed, time until the next one, while the old token is still good."""


class Session:
    """Keeps an access token at hand: begins when it is first needed, and renews it once for all calls that wait."""

    def __init__(self, credentials: Credentials, auth: "AuthServiceAsyncStub") -> None:
        self._credentials = credentials
        self._auth = auth
        self._tokens: Tokens | None = None
        self._renewing: asyncio.Task[Tokens] | None = None

    async def access_token(self, *, instead_of: str = "") -> str:
        """Returns an access token that is not about to end.

        Args:
            instead_of: One that the mesh refused; whoever comes with it first renews it.

        Raises:
            GeomeshError: Nobody can be signed in.
        """
        tokens = self._tokens
        if tokens is None or tokens.access == instead_of or time.monotonic() >= tokens.renew_at:
            # One task for all: it goes on when a caller is cancelled, because the mesh has spent the old token.
            if self._renewing is None:
                self._renewing = asyncio.create_task(self._renew(refused=instead_of), name="renew the token")
                self._renewing.add_done_callback(self._renewed)
            tokens = await asyncio.shield(self._renewing)
        return tokens.access

    def refuse(self, token: str) -> None:
        """Has the next call bring a new token, since the mesh refused this one."""
        if self._tokens is not None and self._tokens.access == token:
            self._tokens = replace(self._tokens, renew_at=0.0, ends_at=0.0)

    async def close(self) -> None:
        """Renews no more."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    def _renewed(self, task: "asyncio.Task[Tokens]") -> None:
        self._renewing = None
        if not task.cancelled():
            task.exception()  # it is the callers' who wait; when all of them are gone, it is nobody's

    async def _renew(self, *, refused: str) -> Tokens:
        old = self._tokens
        try:
            tokens = await self._next(old)
        except (Unavailable, ResourceExhausted, DeadlineExceeded):
            now = time.monotonic()
            if old is None or old.access == refused or now >= old.ends_at:
                raise
            tokens = replace(old, renew_at=now + _AGAIN_SECONDS)
        self._tokens = tokens
        return tokens

    async def _next(self, old: Tokens | None) -> Tokens:
        if old is not None and old.refresh:
            try:
                return await RefreshToken(old.refresh).begin(self._auth)
            except Unauthenticated as error:
                if error.reason != _SPENT:
                    raise
        return await self._credentials.begin(self._auth)
