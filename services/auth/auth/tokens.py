"""Everything about tokens but how sessions begin, put together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict

from auth import convert
from auth.access_tokens import AccessTokens
from auth.api_keys import ApiKeys
from auth.credential_repository import (
    ApiKeyRepository,
    CredentialRepository,
    RevocationRepository,
    ServiceAccountRepository,
)
from auth.exchange import TokenExchange
from auth.introspection import Introspection
from auth.publisher import RevocationPublisher
from auth.service_accounts import ServiceAccounts
from auth.servicer import AuthServicer
from auth.sessions import Sessions
from auth.settings import Settings
from auth.signing_in import SignIn
from auth.signing_keys import PublishedKeys
from meshkit.postgres import Postgres
from meshkit.redis import Redis
from meshkit.tokens import TokenVerifier


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the service serves, what it starts, and what it verifies its own callers with."""

    servicer: AuthServicer
    publisher: RevocationPublisher
    verifier: TokenVerifier


def make_tokens(
    settings: Settings,
    database: Postgres,
    keys: PublishedKeys,
    sign_in: SignIn,
    sessions: Sessions,
    access_tokens: AccessTokens,
) -> Tokens:
    """Wires the service of tokens: how sessions begin is given, what follows is made."""

    async def published() -> Mapping[str, Any]:
        return MessageToDict(convert.key_set(await keys.published()))

    revocations = RevocationRepository(database)
    verifier = TokenVerifier(settings, published)
    servicer = AuthServicer(
        settings,
        sign_in,
        sessions,
        keys,
        TokenExchange(CredentialRepository(database), access_tokens, keys, database),
        Introspection(verifier, revocations, sessions),
        ApiKeys(ApiKeyRepository(database), access_token_seconds=settings.access_token_seconds),
        ServiceAccounts(ServiceAccountRepository(database)),
    )
    publisher = RevocationPublisher(revocations, Redis(settings), every_seconds=settings.revocation_poll_seconds)
    return Tokens(servicer, publisher, verifier)
