"""Access tokens for programs, in exchange for the secret of a service account or for an API key."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from auth import audit
from auth.access_tokens import AccessTokens
from auth.accounts import Account
from auth.refresh_tokens import digest
from auth.scopes import check_known, scopes_of
from auth.signing_keys import PublishedKeys
from meshkit.errors import InvalidInput, Reason, Unauthenticated


@dataclass(frozen=True, slots=True)
class Grant:
    """What a credential is good for.

    Attributes:
        account: Who the token is for.
        scopes: The permissions that the credential is bounded to; empty bounds it to those of the account.
        client_id: What gets the token.
        session_id: What the token may be revoked by; empty for the account alone.
    """

    account: Account
    scopes: tuple[str, ...]
    client_id: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Issued:
    """An access token, with the seconds for which it is good and the permissions that it carries."""

    access_token: str
    seconds: int
    scopes: tuple[str, ...]


class CredentialStore(Protocol):
    """Where credentials are kept, by their hashes."""

    async def use_api_key(self, key_digest: bytes) -> Grant | None:
        """Notes that a key is used; returns None when it or its account is not good."""
        ...

    async def use_service_account(self, account_id: uuid.UUID, secret_digest: bytes) -> Grant | None:
        """Notes that a secret is used; returns None when it or its account is not good."""
        ...


class TokenExchange:
    """Exchanges credentials for access tokens."""

    def __init__(
        self, store: CredentialStore, access_tokens: AccessTokens, keys: PublishedKeys, log: audit.Executor
    ) -> None:
        """Takes what it works with."""
        self._store = store
        self._access_tokens = access_tokens
        self._keys = keys
        self._log = log

    async def by_api_key(self, key: str, scope: str) -> Issued:
        """Returns a token for an API key.

        Raises:
            InvalidInput: There is no key, or the scope names no permissions, or none that the key is good for.
            Unauthenticated: CREDENTIAL_INVALID.
        """
        if not key:
            raise InvalidInput("api_key", "must be set with the grant type api_key")
        wanted = _scopes(scope)
        return await self._issue(await self._store.use_api_key(digest(key)), wanted)

    async def by_client_credentials(self, client_id: str, client_secret: str, scope: str) -> Issued:
        """Returns a token for a service account's secret; raises as `by_api_key`."""
        for field, value in (("client_id", client_id), ("client_secret", client_secret)):
            if not value:
                raise InvalidInput(field, "must be set with the grant type client_credentials")
        wanted = _scopes(scope)
        try:
            account_id = uuid.UUID(client_id)
        except ValueError:
            raise _refused() from None
        return await self._issue(
            await self._store.use_service_account(account_id, digest(client_secret)), wanted, claimed=client_id
        )

    async def _issue(self, grant: Grant | None, wanted: Sequence[str], *, claimed: str = "") -> Issued:
        if grant is None:
            await audit.record(self._log, "token.exchanged", tenant="", subject=claimed, outcome=audit.REFUSED)
            raise _refused()
        held = scopes_of(grant.account.roles, grant.scopes)
        if wanted and not set(wanted) <= set(held):
            raise InvalidInput("scope", f"may hold {' '.join(held)} for this credential")
        scopes = tuple(each for each in held if each in wanted) if wanted else held
        token = self._access_tokens.issue(
            grant.account,
            await self._keys.signing(),
            session_id=grant.session_id,
            client_id=grant.client_id,
            scopes=scopes,
        )
        await audit.record(
            self._log,
            "token.exchanged",
            tenant=grant.account.tenant,
            subject=grant.account.id,
            details={"client_id": grant.client_id},
        )
        return Issued(token, self._access_tokens.lifetime_seconds, scopes)


def _scopes(scope: str) -> list[str]:
    named = scope.split()
    check_known(named, "scope")
    return named


def _refused() -> Unauthenticated:
    return Unauthenticated(
        Reason.CREDENTIAL_INVALID, "the API key or the client's secret is unknown, expired or revoked"
    )
