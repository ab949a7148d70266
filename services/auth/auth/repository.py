"""Sessions and keys in Postgres, and what set-up makes."""

import uuid
from datetime import timedelta

import asyncpg

from auth.accounts import Account, NewAccount
from auth.queries import QUERIES
from auth.sessions import Rotated
from auth.signing_keys import PublicKey, StoredKey
from meshkit.postgres import Connection, Postgres


class SessionRepository:
    """Keeps sessions by the hashes of their tokens; it never sees a token."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def begin(self, session_id: uuid.UUID, account_id: str, token_digest: bytes, *, seconds: int) -> None:
        """Begins a session whose first token is good for `seconds`, and forgets the account's expired ones."""
        await self._database.execute(
            QUERIES["begin_session"], session_id, uuid.UUID(account_id), token_digest, timedelta(seconds=seconds)
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
        )
        return Rotated(_account(row), row["token_digest"], row["refresh_seconds"]) if row else None

    async def end_reused(self, token_digest: bytes, *, grace_seconds: float) -> uuid.UUID | None:
        """Ends the session that the token was spent in more than `grace_seconds` ago, and returns its id."""
        ended: uuid.UUID | None = await self._database.fetchval(
            QUERIES["end_reused"], token_digest, timedelta(seconds=grace_seconds)
        )
        return ended


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

    async def add_key(self, key: PublicKey, sealed: bytes) -> None:
        """Adds a key that signs from now on."""
        await self._connection.execute(QUERIES["add_key"], key.key_id, key.x, key.y, sealed)

    async def seal_key(self, key_id: str, sealed: bytes) -> None:
        """Replaces the sealed private half of a key."""
        await self._connection.execute(QUERIES["seal_key"], key_id, sealed)

    async def has_account(self, email: str) -> bool:
        """Tells whether there is an account with this address in small letters."""
        return await self._connection.fetchrow(QUERIES["find_account"], email) is not None

    async def add_account(self, account: NewAccount, password_hash: str) -> bool:
        """Adds an account; returns False when there is one with this address."""
        added = await self._connection.fetchval(
            QUERIES["add_account"], account.email, password_hash, account.tenant, [account.role], account.plan
        )
        return added is not None


def _account(row: asyncpg.Record) -> Account:
    return Account(str(row["account_id"]), row["tenant_id"], tuple(row["roles"]), row["plan"])


def _stored_key(row: asyncpg.Record) -> StoredKey:
    return StoredKey(PublicKey(row["key_id"], row["x"], row["y"]), row["sealed"], row["signs"])
