"""How a caller proves who they are, and how that proof is kept fresh."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, Self

from geomesh.auth.v1 import auth_pb2
from geomesh_client.errors import Unauthenticated

if TYPE_CHECKING:
    from geomesh.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub

_EARLY_SHARE: Final = 0.2
"""The part of a token's life before whose end it is renewed, so that it does not end on its way."""
_SPENT: Final = "REFRESH_TOKEN_INVALID"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What proves who calls.

    Attributes:
        access: For the header ``authorization``.
        refresh: For the next access token; empty where there is none.
        renew_at: When a new access token is due, by the monotonic clock, in seconds.
    """

    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    renew_at: float = float("inf")

    @classmethod
    def of(cls, pair: auth_pb2.TokenPair) -> Self:
        """Returns the tokens of a session."""
        renew_at = time.monotonic() + pair.expires_in_seconds * (1 - _EARLY_SHARE)
        return cls(pair.access_token, pair.refresh_token, renew_at)


class Credentials(Protocol):
    """What a session begins with, at first and whenever it could not be kept up."""

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        """Returns new tokens."""


@dataclass(frozen=True, slots=True)
class Password:
    """An account's email address and password."""

    email: str
    password: str = field(repr=False)

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        """Signs in."""
        return Tokens.of(await auth.Login(auth_pb2.LoginRequest(email=self.email, password=self.password)))


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The newest refresh token of a session that was begun elsewhere. When it is spent, nothing can replace it."""

    token: str = field(repr=False)

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        """Exchanges it."""
        return Tokens.of(await auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=self.token)))


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token that someone else keeps fresh."""

    token: str = field(repr=False)

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        """Takes it as it is."""
        del auth
        return Tokens(self.token)


class Session:
    """Keeps an access token at hand: begins when it is first needed, and renews it once for all calls that wait."""

    def __init__(self, credentials: Credentials, auth: "AuthServiceAsyncStub") -> None:
        self._credentials = credentials
        self._auth = auth
        self._tokens: Tokens | None = None
        self._renewing = asyncio.Lock()

    async def access_token(self, *, instead_of: str = "") -> str:
        """Returns an access token that is not about to end.

        Args:
            instead_of: One that the mesh refused; whoever comes with it first renews it.

        Raises:
            GeomeshError: Nobody can be signed in.
        """
        if (tokens := self._fresh(instead_of)) is not None:
            return tokens.access
        async with self._renewing:
            if (tokens := self._fresh(instead_of)) is None:
                # Kept even if this caller is cancelled: the mesh has spent the old one.
                tokens = await asyncio.shield(self._renew())
            return tokens.access

    def _fresh(self, refused: str) -> Tokens | None:
        tokens = self._tokens
        if tokens is None or tokens.access == refused or time.monotonic() >= tokens.renew_at:
            return None
        return tokens

    async def _renew(self) -> Tokens:
        refresh = self._tokens.refresh if self._tokens is not None else ""
        if refresh:
            try:
                pair = await self._auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=refresh))
            except Unauthenticated as error:
                if error.reason != _SPENT:
                    raise
            else:
                self._tokens = Tokens.of(pair)
                return self._tokens
        self._tokens = await self._credentials.begin(self._auth)
        return self._tokens
