"""How a caller proves who they are: what a session begins with, and the tokens that it gives."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, Self

from geomesh.auth.v1 import auth_pb2
from geomesh_client.errors import Unauthenticated

if TYPE_CHECKING:
    from geomesh.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub

_EARLY_SHARE: Final = 0.2
"""The part of a token's life before whose end it is renewed, so that it does not end on its way."""
_CODE_MISSING: Final = "SECOND_FACTOR_REQUIRED"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What proves who calls.

    Attributes:
        access: For the header ``authorization``.
        refresh: For the next access token; empty where there is none.
        renew_at: When a new access token is due, by the monotonic clock, in seconds.
        ends_at: When this one ends, likewise.
    """

    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    renew_at: float = float("inf")
    ends_at: float = float("inf")

    @classmethod
    def of(cls, reply: auth_pb2.TokenPair | auth_pb2.AccessToken) -> Self:
        """Returns the tokens that the mesh has just issued."""
        now, seconds = time.monotonic(), reply.expires_in_seconds
        refresh = reply.refresh_token if isinstance(reply, auth_pb2.TokenPair) else ""
        return cls(reply.access_token, refresh, now + seconds * (1 - _EARLY_SHARE), now + seconds)


class Credentials(Protocol):
    """What a session begins with, at first and whenever it could not be kept up."""

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        """Returns new tokens."""


@dataclass(frozen=True, slots=True)
class Password:
    """An account's email address and password.

    Attributes:
        email: The address.
        password: The password.
        code: For an account with a second factor: what returns the code that the authenticator shows now, such as
            ``lambda: input("code: ")``, which is asked only when the mesh asks, in a thread of its own; or one code, with
            which the client can sign in once.
    """

    email: str
    password: str = field(repr=False)
    code: str | Callable[[], str] = field(default="", repr=False)

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        """Signs in."""
        try:
            return await self._sign_in(auth, self.code if isinstance(self.code, str) else "")
        except Unauthenticated as error:
            if isinstance(self.code, str) or error.reason != _CODE_MISSING:
                raise
            return await self._sign_in(auth, await asyncio.to_thread(self.code))

    async def _sign_in(self, auth: "AuthServiceAsyncStub", code: str) -> Tokens:
        request = auth_pb2.LoginRequest(email=self.email, password=self.password, code=code)
        return Tokens.of(await auth.Login(request))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, which acts for the person who made it.

    Attributes:
        key: What CreateApiKey showed once.
        scope: The permissions to ask for, with a space between; empty asks for all that the key is good for.
    """

    key: str = field(repr=False)
    scope: str = ""

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        """Exchanges it for an access token."""
        request = auth_pb2.ExchangeTokenRequest(grant_type="api_key", api_key=self.key, scope=self.scope)
        return Tokens.of(await auth.ExchangeToken(request))


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A service account, which acts for its tenant and for no person.

    Attributes:
        client_id: The service account's id.
        client_secret: Its secret.
        scope: The permissions to ask for, with a space between; empty asks for all that the account has.
    """

    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        """Exchanges the secret for an access token."""
        request = auth_pb2.ExchangeTokenRequest(
            grant_type="client_credentials",
            client_id=self.client_id,
            client_secret=self.client_secret,
            scope=self.scope,
        )
        return Tokens.of(await auth.ExchangeToken(request))


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The newest refresh token of a session that was begun elsewhere. When it is spent, nothing can replace it."""

    token: str = field(repr=False)

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        """Exchanges it."""
        return Tokens.of(await auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=self.token)))


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token that someone else keeps fresh, of this mesh or of an issuer that it trusts."""

    token: str = field(repr=False)

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        """Takes it as it is."""
        del auth
        return Tokens(self.token)
