"""API keys, service accounts and revocations in Postgres."""

import uuid
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from auth import audit
from auth.accounts import Account
from auth.api_keys import ApiKey, NewApiKey
from auth.exchange import Grant
from auth.queries import QUERIES
from auth.repository import account_of, as_uuid, position
from auth.revocation import MOST_TOKEN_LIFE
from auth.service_accounts import NewServiceAccount, ServiceAccount
from meshkit.identity import Identity
from meshkit.postgres import Connection, Postgres
from meshkit.revocations import Kind, Revocation

_MOST_FORGOTTEN: Final = 5_000
"""Sessions that are forgotten at one time: the statement must not take long."""


class ApiKeyRepository:
    """Keeps API keys by their hashes; it never sees a key."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def add(self, key: NewApiKey, *, at_most: int) -> ApiKey | None:
        """Adds a key; returns None when the account has `at_most` already."""
        async with self._database.transaction(tenant=key.tenant) as connection:
            await connection.execute(QUERIES["take_turn"], f"api keys of {key.account_id}")
            row = await connection.fetchrow(
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
            )
            if row is None:
                return None
            await _record_key(connection, "api_key.created", key.account_id, key.tenant, str(key.id))
        return _api_key(row)

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
        async with self._database.transaction(tenant=owner.tenant) as connection:
            life = timedelta(seconds=token_seconds) + MOST_TOKEN_LIFE
            revoked = await connection.fetchval(QUERIES["revoke_api_key"], uuid.UUID(key_id), account_id, life)
            if revoked is None:
                return False
            await _record_key(connection, "api_key.revoked", owner.subject, owner.tenant, key_id)
        return True


class ServiceAccountRepository:
    """Keeps service accounts, each under its tenant."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def add(self, account: NewServiceAccount, *, by: Identity, at_most: int) -> ServiceAccount | None:
        """Adds one; returns None when the tenant has `at_most` already."""
        async with self._database.transaction(tenant=account.tenant) as connection:
            await connection.execute(QUERIES["take_turn"], f"service accounts of {account.tenant}")
            row = await connection.fetchrow(
                QUERIES["add_service_account"],
                account.id,
                account.tenant,
                account.display_name,
                account.secret_digest,
                list(account.roles),
                account.plan,
                list(account.scopes),
                at_most,
            )
            if row is None:
                return None
            await _record_account(connection, "service_account.created", by, str(account.id), role=account.roles[0])
        return _service_account(row)

    async def page(self, tenant: str, after: tuple[datetime, str] | None, size: int) -> list[ServiceAccount]:
        """Returns those of a tenant, the newest first, from behind a position on."""
        rows = await self._database.fetch(
            QUERIES["list_service_accounts"], tenant, *position(after), size, tenant=tenant
        )
        return [_service_account(row) for row in rows]

    async def reset(self, by: Identity, account_id: str, secret_digest: bytes) -> ServiceAccount | None:
        """Replaces the secret and refuses older tokens; returns None when the caller's tenant has no such account."""
        async with self._database.transaction(tenant=by.tenant) as connection:
            row = await connection.fetchrow(
                QUERIES["reset_service_account"], uuid.UUID(account_id), by.tenant, secret_digest, MOST_TOKEN_LIFE
            )
            if row is None:
                return None
            await _record_account(connection, "service_account.reset", by, account_id)
        return _service_account(row)

    async def delete(self, by: Identity, account_id: str) -> bool:
        """Deletes one and refuses its tokens; returns False when the caller's tenant has no such account."""
        async with self._database.transaction(tenant=by.tenant) as connection:
            gone = await connection.fetchval(
                QUERIES["delete_service_account"], uuid.UUID(account_id), by.tenant, MOST_TOKEN_LIFE
            )
            if gone is None:
                return False
            await _record_account(connection, "service_account.deleted", by, account_id)
        return True


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
        """Forgets what covers no token any more, and sessions that ended by themselves."""
        await self._database.execute(QUERIES["forget_revocations"])
        await self._database.execute(QUERIES["forget_sessions"], _MOST_FORGOTTEN)


async def _record_key(connection: Connection, event: str, account_id: str, tenant: str, key_id: str) -> None:
    details = {"api_key_id": key_id}
    await audit.record(connection, event, tenant=tenant, subject=account_id, actor=account_id, details=details)


async def _record_account(connection: Connection, event: str, by: Identity, account_id: str, **details: str) -> None:
    await audit.record(connection, event, tenant=by.tenant, subject=account_id, actor=by.subject, details=details)


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
