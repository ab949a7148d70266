"""The auth service over gRPC."""

from typing import Any, Final

import grpc

from auth import convert
from auth.caller import address_of
from auth.sessions import Sessions
from auth.signing_in import SignIn
from auth.signing_keys import PublishedKeys
from geomesh.auth.v1 import auth_pb2 as pb
from geomesh.auth.v1.auth_pb2_grpc import AuthServiceServicer
from meshkit.context import current

# RFC 6749, section 5.1: no cache on the way may keep tokens.
_NEVER_KEPT: Final = (("cache-control", "no-store"),)
# A new key is published for longer than this before it signs.
_KEPT_A_MINUTE: Final = (("cache-control", "public, max-age=60"),)

Context = grpc.aio.ServicerContext[Any, Any]


class AuthServicer(AuthServiceServicer):
    """Translates; what is to be known is known by `sign_in`, `sessions` and `keys`."""

    def __init__(self, sign_in: SignIn, sessions: Sessions, keys: PublishedKeys) -> None:
        """Takes the domain."""
        self._sign_in = sign_in
        self._sessions = sessions
        self._keys = keys

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.TokenPair:
        """Begins a session."""
        tokens = await self._sign_in.sign_in(request.email, request.password, request.code, address_of(context))
        await context.send_initial_metadata(_NEVER_KEPT)
        return convert.token_pair(tokens)

    async def RefreshToken(self, request: pb.RefreshTokenRequest, context: Context) -> pb.TokenPair:
        """Exchanges a refresh token."""
        tokens = await self._sessions.refresh(request.refresh_token)
        await context.send_initial_metadata(_NEVER_KEPT)
        return convert.token_pair(tokens)

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Context) -> pb.WhoAmIResponse:
        """Says what the token says."""
        return convert.who(current().identity)

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.JsonWebKeySet:
        """Publishes the keys."""
        keys = await self._keys.published()
        await context.send_initial_metadata(_KEPT_A_MINUTE)
        return convert.key_set(keys)
