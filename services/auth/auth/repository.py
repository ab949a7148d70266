"""Sessions and keys in Postgres, and what set-up makes."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from auth import audit
from auth.accounts import Account, NewAccount
from auth.queries import QUERIES
from auth.sessions import Origin, Owned, Rotated, Session
from auth.signing_keys import ListedKey, PublicKey, StoredKey
from meshkit.identity import Identity
from meshkit.postgres import Connection, Postgres

_CLOCKS_DIFFER_SECONDS: Final = 310
"""The greatest leeway that a service may give, and a little."""


class SessionRepository:
    """Keeps sessions by the hashes of their tokens; it never sees a token."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def begin(
        self, session_id: uuid.UUID, account: Account, token_digest: bytes, origin: Origin, *, seconds: int
    ) -> None:
        """Begins a session whose first token is good for `seconds`, and forgets the account's expired ones."""
        await self._database.execute(
            QUERIES["begin_session"],
            session_id,
            uuid.UUID(account.id),
            token_digest,
            timedelta(seconds=seconds),
            origin.address,
            origin.user_agent,
            tenant=account.tenant,
        )

    async def rotate(
        self, token_digest: bytes, successors: list[bytes], *, seconds: int, grace_seconds: float
    ) -> Rotated | None:
        """Puts the first successor in the token's place; returns None when the token is not good."""
        row = await self._database.fetchrow(
            QUERIES["rotate_token"],
            token_digest,
            successors,
            timedelta(seconds=seconds),
            timedelta(seconds=grace_seconds),
            retries=False,
        )
        if row is None:
            return None
        return Rotated(account_of(row), row["token_digest"], row["refresh_seconds"], str(row["session_id"]))

    async def end_reused(self, token_digest: bytes, *, grace_seconds: float, token_seconds: int) -> str | None:
        """Ends the session that the token was spent in more than `grace_seconds` ago, with its access tokens."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(
                QUERIES["end_reused"], token_digest, timedelta(seconds=grace_seconds), _life(token_seconds)
            )
            if row is None:
                return None
            session_id = str(row["session_id"])
            await connection.execute(QUERIES["enter_tenant"], row["tenant_id"])
            await audit.record(
                connection,
                "session.reused",
                tenant=row["tenant_id"],
                subject=str(row["account_id"]),
                outcome=audit.REFUSED,
                details={"session_id": session_id},
            )
        return session_id

    async def find(self, token_digest: bytes) -> Owned | None:
        """Returns the session, over or not, that a token is or was of."""
        row = await self._database.fetchrow(QUERIES["find_session_of_token"], token_digest)
        if row is None:
            return None
        issued_at = row["rotated_at"] or row["created_at"]
        return Owned(str(row["session_id"]), account_of(row), issued_at, row["expires_at"], row["is_good"])

    async def page(self, owner: Identity, after: tuple[datetime, str] | None, size: int) -> list[Session]:
        """Returns the sessions of an account, the newest first, from behind a position on."""
        account_id = as_uuid(owner.subject)
        if account_id is None:  # an account of another issuer has no session here
            return []
        rows = await self._database.fetch(
            QUERIES["list_sessions"], account_id, *position(after), size, tenant=owner.tenant
        )
        return [
            Session(
                str(row["session_id"]),
                row["created_at"],
                row["rotated_at"],
                row["expires_at"],
                Origin(row["address"], row["user_agent"]),
            )
            for row in rows
        ]

    async def end(self, session_id: str, account_id: str, tenant: str, *, token_seconds: int) -> bool:
        """Ends a session of an account, with its access tokens, and records it; returns False when it has no such session."""
        owner = as_uuid(account_id)
        if owner is None:
            return False
        async with self._database.transaction(tenant=tenant) as connection:
            ended = await connection.fetchval(
                QUERIES["end_session"], uuid.UUID(session_id), owner, _life(token_seconds)
            )
            if ended is None:
                return False
            await audit.record(
                connection,
                "session.ended",
                tenant=tenant,
                subject=account_id,
                actor=account_id,
                details={"session_id": session_id},
            )
        return True


class SigningKeyRepository:
    """Reads keys; only set-up makes them."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def find_published(self) -> list[StoredKey]:
        """Returns every key that is published, the one to sign with before older ones."""
        return [_stored_key(row) for row in await self._database.fetch(QUERIES["find_published_keys"])]


class SetUpRepository:
    """Makes what the service needs, as the schema's owner."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock(self) -> None:
        """Waits until no other set-up is at work, and keeps others waiting until the transaction ends."""
        await self._connection.execute(QUERIES["lock_setup"])

    async def find_published_keys(self) -> list[StoredKey]:
        """Returns every key that is published, the one to sign with before older ones."""
        return [_stored_key(row) for row in await self._connection.fetch(QUERIES["find_published_keys"])]

    async def add_key(self, key: PublicKey, sealed: bytes, *, signs_after: timedelta = timedelta(0)) -> None:
        """Adds a key that is published from now on, and signs a while later."""
        await self._connection.execute(QUERIES["add_key"], key.key_id, key.x, key.y, sealed, signs_after)

    async def retire_keys(self, but: str, *, signs_after: timedelta, tokens_live: timedelta) -> None:
        """Has every other key published until the last token that it signs has expired."""
        await self._connection.execute(QUERIES["retire_keys"], but, signs_after, tokens_live)

    async def withdraw_key(self, key_id: str) -> bool:
        """Withdraws a key at once; returns False when no such key is published."""
        return await self._connection.fetchval(QUERIES["withdraw_key"], key_id) is not None

    async def forget_keys(self) -> int:
        """Deletes the keys that nobody needs, and returns how many they were."""
        gone: int = await self._connection.fetchval(QUERIES["forget_keys"])
        return gone

    async def list_keys(self) -> list[ListedKey]:
        """Returns the keys that are published, the newest first."""
        return [
            ListedKey(row["key_id"], row["created_at"], row["signs_from"], row["published_until"], row["signs"])
            for row in await self._connection.fetch(QUERIES["list_keys"])
        ]

    async def seal_key(self, key_id: str, sealed: bytes) -> None:
        """Replaces the sealed private half of a key."""
        await self._connection.execute(QUERIES["seal_key"], key_id, sealed)

    async def has_account(self, email: str) -> bool:
        """Tells whether there is an account with this address in small letters."""
        return await self._connection.fetchrow(QUERIES["find_account"], email) is not None

    async def add_account(self, account: NewAccount, password_hash: str) -> str | None:
        """Adds an account and returns its id; None when there is one with this address."""
        added = await self._connection.fetchval(
            QUERIES["add_account"], account.email, password_hash, account.tenant, [account.role], account.plan
        )
        return str(added) if added else None

    async def record(self, event: str, tenant: str, subject: str, details: dict[str, Any]) -> None:
        """Appends to a tenant's audit log what whoever sets up did; they have no account."""
        await audit.record(self._connection, event, tenant=tenant, subject=subject, details=details)


def account_of(row: asyncpg.Record) -> Account:
    """Returns the account of a row that holds one."""
    return Account(str(row["account_id"]), row["tenant_id"], tuple(row["roles"]), row["plan"])


def as_uuid(text: str) -> uuid.UUID | None:
    """Returns an id of ours, or None for a text that is none."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def position(after: tuple[datetime, str] | None) -> tuple[datetime, uuid.UUID]:
    """Returns the position behind which a page begins; the first page begins at the end of time."""
    if after is None:
        return datetime.max.replace(tzinfo=UTC), uuid.UUID(int=0)
    return after[0], as_uuid(after[1]) or uuid.UUID(int=0)  # a forged one leads to a page of the forger's own rows


def _life(seconds: int) -> timedelta:
    """Returns how long access tokens must be remembered as revoked: as long as they live, by any clock."""
    return timedelta(seconds=seconds + _CLOCKS_DIFFER_SECONDS)


def _stored_key(row: asyncpg.Record) -> StoredKey:
    return StoredKey(PublicKey(row["key_id"], row["x"], row["y"]), row["sealed"], row["signs"])
