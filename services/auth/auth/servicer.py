"""The auth service over gRPC."""

from typing import Any, Final

import grpc

from auth import convert, session_cookie
from auth.api_keys import ApiKeys
from auth.exchange import TokenExchange
from auth.introspection import Introspection
from auth.service_accounts import ServiceAccounts
from auth.sessions import Sessions, Tokens
from auth.settings import Settings
from auth.signing_in import SignIn
from auth.signing_keys import PublishedKeys
from geomesh.auth.v1 import auth_pb2 as pb
from geomesh.auth.v1.auth_pb2_grpc import AuthServiceServicer
from meshkit.context import AUTHORIZATION, address_of, current
from meshkit.errors import InvalidInput

# RFC 6749, section 5.1: no cache on the way may keep tokens.
_NEVER_KEPT: Final[tuple[tuple[str, str], ...]] = (("cache-control", "no-store"),)
# A new key is published for longer than this before it signs.
_KEPT_A_MINUTE: Final = (("cache-control", "public, max-age=60"),)

Context = grpc.aio.ServicerContext[Any, Any]


class AuthServicer(AuthServiceServicer):
    """Translates; what is to be known is known by the domain."""

    def __init__(
        self,
        settings: Settings,
        sign_in: SignIn,
        sessions: Sessions,
        keys: PublishedKeys,
        exchange: TokenExchange,
        introspection: Introspection,
        api_keys: ApiKeys,
        service_accounts: ServiceAccounts,
    ) -> None:
        """Takes the domain."""
        self._settings = settings
        self._sign_in = sign_in
        self._sessions = sessions
        self._keys = keys
        self._exchange = exchange
        self._introspection = introspection
        self._api_keys = api_keys
        self._service_accounts = service_accounts

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.TokenPair:
        """Begins a session."""
        origin = convert.origin(current(), address_of(context))
        tokens = await self._sign_in.sign_in(request.email, request.password, request.code, origin)
        await _send_headers(context, tokens, cookie=request.session_cookie)
        return convert.token_pair(tokens)

    async def RefreshToken(self, request: pb.RefreshTokenRequest, context: Context) -> pb.TokenPair:
        """Exchanges a refresh token."""
        tokens = await self._sessions.refresh(request.refresh_token)
        await _send_headers(context, tokens, cookie=request.session_cookie)
        return convert.token_pair(tokens)

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Context) -> pb.WhoAmIResponse:
        """Says what the token says."""
        return convert.who(current().identity)

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.JsonWebKeySet:
        """Publishes the keys."""
        keys = await self._keys.published()
        await context.send_initial_metadata(_KEPT_A_MINUTE)
        return convert.key_set(keys)

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> pb.LogoutResponse:
        """Ends the session of a refresh token, or of the access token of the call."""
        if request.refresh_token:
            await self._sessions.end_by_token(request.refresh_token)
        else:
            scheme, _, token = current().text(AUTHORIZATION).partition(" ")
            if scheme.lower() != "bearer":
                raise InvalidInput("refresh_token", "must be set where the call carries no access token")
            await self._sessions.end_own(await self._introspection.identify(token))
        secure = session_cookie.came_over_tls(context.invocation_metadata() or ())
        await context.send_initial_metadata((*_NEVER_KEPT, session_cookie.forgotten(secure=secure)))
        return pb.LogoutResponse()

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        """Lists the caller's sessions."""
        caller = current().identity
        found = await self._sessions.page(caller, convert.after(request), convert.page_size(request) + 1)
        page, following = convert.paged(found, request)
        return pb.ListSessionsResponse(
            sessions=[convert.session(each, caller.session_id) for each in page], next_page_token=following
        )

    async def RevokeSession(self, request: pb.RevokeSessionRequest, context: Context) -> pb.RevokeSessionResponse:
        """Ends one of the caller's sessions."""
        await self._sessions.end(current().identity, request.session_id)
        return pb.RevokeSessionResponse()

    async def ExchangeToken(self, request: pb.ExchangeTokenRequest, context: Context) -> pb.AccessToken:
        """Exchanges a credential."""
        if request.grant_type == "api_key":
            issued = await self._exchange.by_api_key(request.api_key, request.scope)
        else:
            issued = await self._exchange.by_client_credentials(request.client_id, request.client_secret, request.scope)
        await context.send_initial_metadata(_NEVER_KEPT)
        return convert.access_token(issued)

    async def IntrospectToken(self, request: pb.IntrospectTokenRequest, context: Context) -> pb.IntrospectTokenResponse:
        """Looks at a token."""
        facts = await self._introspection.look_at(current().identity, request.token)
        await context.send_initial_metadata(_NEVER_KEPT)
        return convert.introspected(facts, self._settings)

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Context) -> pb.CreateApiKeyResponse:
        """Makes an API key."""
        made, key = await self._api_keys.create(
            current().identity, request.display_name, request.scopes, convert.expiry(request)
        )
        await context.send_initial_metadata(_NEVER_KEPT)
        return pb.CreateApiKeyResponse(api_key=convert.api_key(made), key=key)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        """Lists the caller's API keys."""
        found = await self._api_keys.page(current().identity, convert.after(request), convert.page_size(request) + 1)
        page, following = convert.paged(found, request)
        return pb.ListApiKeysResponse(api_keys=map(convert.api_key, page), next_page_token=following)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Context) -> pb.RevokeApiKeyResponse:
        """Revokes one of the caller's API keys."""
        await self._api_keys.revoke(current().identity, request.api_key_id)
        return pb.RevokeApiKeyResponse()

    async def CreateServiceAccount(
        self, request: pb.CreateServiceAccountRequest, context: Context
    ) -> pb.ServiceAccountSecret:
        """Makes a service account."""
        made, secret = await self._service_accounts.create(
            current().identity, request.display_name, request.role, request.scopes
        )
        await context.send_initial_metadata(_NEVER_KEPT)
        return pb.ServiceAccountSecret(service_account=convert.service_account(made), client_secret=secret)

    async def ListServiceAccounts(
        self, request: pb.ListServiceAccountsRequest, context: Context
    ) -> pb.ListServiceAccountsResponse:
        """Lists the service accounts of the caller's tenant."""
        found = await self._service_accounts.page(
            current().identity, convert.after(request), convert.page_size(request) + 1
        )
        page, following = convert.paged(found, request)
        return pb.ListServiceAccountsResponse(
            service_accounts=map(convert.service_account, page), next_page_token=following
        )

    async def ResetServiceAccountSecret(
        self, request: pb.ResetServiceAccountSecretRequest, context: Context
    ) -> pb.ServiceAccountSecret:
        """Gives a service account a new secret."""
        changed, secret = await self._service_accounts.reset(current().identity, request.service_account_id)
        await context.send_initial_metadata(_NEVER_KEPT)
        return pb.ServiceAccountSecret(service_account=convert.service_account(changed), client_secret=secret)

    async def DeleteServiceAccount(
        self, request: pb.DeleteServiceAccountRequest, context: Context
    ) -> pb.DeleteServiceAccountResponse:
        """Deletes a service account."""
        await self._service_accounts.delete(current().identity, request.service_account_id)
        return pb.DeleteServiceAccountResponse()

    async def GetOpenIdConfiguration(
        self, request: pb.GetOpenIdConfigurationRequest, context: Context
    ) -> pb.OpenIdConfiguration:
        """Tells libraries where what is."""
        await context.send_initial_metadata(_KEPT_A_MINUTE)
        settings = self._settings
        return convert.discovery(settings.token_issuer, settings.public_url or settings.token_issuer)


async def _send_headers(context: Context, tokens: Tokens, *, cookie: bool) -> None:
    """Says that nobody may keep the answer but the browser its cookie, if that was asked for."""
    headers = _NEVER_KEPT
    if cookie:
        secure = session_cookie.came_over_tls(context.invocation_metadata() or ())
        headers = (*headers, session_cookie.kept(tokens.access_token, tokens.access_seconds, secure=secure))
    await context.send_initial_metadata(headers)
