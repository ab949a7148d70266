"""API keys, service accounts and revocations in Postgres."""

import uuid
from datetime import datetime, timedelta

import asyncpg

from auth.accounts import Account
from auth.api_keys import ApiKey, NewApiKey
from auth.exchange import Grant
from auth.queries import QUERIES
from auth.repository import account_of, as_uuid, position
from auth.revocation import MOST_TOKEN_LIFE
from auth.service_accounts import NewServiceAccount, ServiceAccount
from meshkit.identity import Identity
from meshkit.postgres import Postgres
from meshkit.revocations import Kind, Revocation


class ApiKeyRepository:
    """Keeps API keys by their hashes; it never sees a key."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def add(self, key: NewApiKey, *, at_most: int) -> ApiKey | None:
        """Adds a key; returns None when the account has `at_most` already."""
        row = await self._database.fetchrow(
            QUERIES["add_api_key"],
            key.id,
            uuid.UUID(key.account_id),
            key.tenant,
            key.display_name,
            key.digest,
            key.hint,
            list(key.scopes),
            key.expires_at,
            at_most,
            tenant=key.tenant,
        )
        return _api_key(row) if row else None

    async def page(self, owner: Identity, after: tuple[datetime, str] | None, size: int) -> list[ApiKey]:
        """Returns the keys of an account that are not revoked, the newest first, from behind a position on."""
        account_id = as_uuid(owner.subject)
        if account_id is None:
            return []
        rows = await self._database.fetch(
            QUERIES["list_api_keys"], account_id, *position(after), size, tenant=owner.tenant
        )
        return [_api_key(row) for row in rows]

    async def revoke(self, owner: Identity, key_id: str, *, token_seconds: int) -> bool:
        """Revokes a key, with its access tokens; returns False when the account has no such key."""
        account_id = as_uuid(owner.subject)
        if account_id is None:
            return False
        revoked = await self._database.fetchval(
            QUERIES["revoke_api_key"],
            uuid.UUID(key_id),
            account_id,
            timedelta(seconds=token_seconds) + MOST_TOKEN_LIFE,
            tenant=owner.tenant,
        )
        return revoked is not None


class ServiceAccountRepository:
    """Keeps service accounts, each under its tenant."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def add(self, account: NewServiceAccount, *, at_most: int) -> ServiceAccount | None:
        """Adds one; returns None when the tenant has `at_most` already."""
        row = await self._database.fetchrow(
            QUERIES["add_service_account"],
            account.id,
            account.tenant,
            account.display_name,
            account.secret_digest,
            list(account.roles),
            account.plan,
            list(account.scopes),
            at_most,
            tenant=account.tenant,
        )
        return _service_account(row) if row else None

    async def page(self, tenant: str, after: tuple[datetime, str] | None, size: int) -> list[ServiceAccount]:
        """Returns those of a tenant, the newest first, from behind a position on."""
        rows = await self._database.fetch(
            QUERIES["list_service_accounts"], tenant, *position(after), size, tenant=tenant
        )
        return [_service_account(row) for row in rows]

    async def reset(self, tenant: str, account_id: str, secret_digest: bytes) -> ServiceAccount | None:
        """Replaces the secret and refuses older tokens; returns None when the tenant has no such account."""
        row = await self._database.fetchrow(
            QUERIES["reset_service_account"],
            uuid.UUID(account_id),
            tenant,
            secret_digest,
            MOST_TOKEN_LIFE,
            tenant=tenant,
        )
        return _service_account(row) if row else None

    async def delete(self, tenant: str, account_id: str) -> bool:
        """Deletes one and refuses its tokens; returns False when the tenant has no such account."""
        gone = await self._database.fetchval(
            QUERIES["delete_service_account"], uuid.UUID(account_id), tenant, MOST_TOKEN_LIFE, tenant=tenant
        )
        return gone is not None


class CredentialRepository:
    """Finds what a credential is good for, whatever its tenant: nobody has one before they have proved themselves."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def use_api_key(self, key_digest: bytes) -> Grant | None:
        """Notes that a key is used; returns None when it or its account is not good."""
        row = await self._database.fetchrow(QUERIES["use_api_key"], key_digest, retries=False)
        if row is None:
            return None
        key_id = str(row["api_key_id"])
        return Grant(account_of(row), tuple(row["scopes"]), key_id, key_id)

    async def use_service_account(self, account_id: uuid.UUID, secret_digest: bytes) -> Grant | None:
        """Notes that a secret is used; returns None when it or its account is not good."""
        row = await self._database.fetchrow(QUERIES["use_service_account"], account_id, secret_digest, retries=False)
        if row is None:
            return None
        name = str(row["service_account_id"])
        return Grant(Account(name, row["tenant_id"], tuple(row["roles"]), row["plan"]), tuple(row["scopes"]), name, "")


class RevocationRepository:
    """Reads revocations; `auth.revocation` writes them."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def changed_within(self, interval: timedelta) -> list[Revocation]:
        """Returns what was revoked or restored within the last `interval`."""
        rows = await self._database.fetch(QUERIES["find_revocations"], interval)
        return [
            Revocation(Kind(row["kind"]), row["name"], row["issued_before"], row["until"], row["changed_at"])
            for row in rows
        ]

    async def covers(self, identity: Identity) -> bool:
        """Tells whether the token that proved `identity` is revoked."""
        covered: bool = await self._database.fetchval(
            QUERIES["is_revoked"],
            identity.token_id,
            identity.session_id,
            identity.subject,
            identity.tenant,
            identity.issued_at,
        )
        return covered

    async def forget_old(self) -> None:
        """Forgets what covers no token any more."""
        await self._database.execute(QUERIES["forget_revocations"])


def _api_key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        str(row["api_key_id"]),
        row["display_name"],
        tuple(row["scopes"]),
        row["created_at"],
        row["expires_at"],
        row["last_used_at"],
        row["hint"],
    )


def _service_account(row: asyncpg.Record) -> ServiceAccount:
    return ServiceAccount(
        str(row["service_account_id"]),
        row["display_name"],
        tuple(row["roles"]),
        tuple(row["scopes"]),
        row["created_at"],
        row["last_used_at"],
    )
