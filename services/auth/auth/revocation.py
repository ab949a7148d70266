"""Ending tokens before their time. What is decided here is written to Postgres and known to every service within 5 s.

Each function takes a connection, so that what it does stands or falls with the transaction that it is part of. Sessions
are found only by a connection that is bound to the account's tenant. `auth.publisher` copies the result to Redis; nobody
needs to call it.
"""

import uuid
from datetime import timedelta
from typing import Any, Final, Protocol

from auth.queries import QUERIES
from meshkit.claims import MOST_FOREIGN_SECONDS
from meshkit.revocations import Kind

# Longer than any access token lives, of ours or of an issuer that we trust, with any difference between clocks.
MOST_TOKEN_LIFE: Final = timedelta(seconds=MOST_FOREIGN_SECONDS + 600)


class Executor(Protocol):
    """A connection inside a transaction, or the database itself where only tokens are refused."""

    async def execute(self, query: str, /, *args: Any) -> str:
        """Carries a statement out."""
        ...

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        """Returns the first value of a statement's result."""
        ...


async def revoke_subject(connection_or_database: Executor, subject: str, *, lasting: bool = False) -> None:
    """Ends the sessions of an account, and refuses every token that it got until now.

    Args:
        connection_or_database: Where it is written, bound to the account's tenant.
        subject: The account's id.
        lasting: Whether it gets no new tokens either, by session, API key or another issuer, until `restore_subject`: for
            an account that is suspended or deleted.
    """
    await connection_or_database.execute(QUERIES["revoke"], Kind.SUBJECT.value, subject, lasting, MOST_TOKEN_LIFE)
    if (account := _as_uuid(subject)) is not None:  # accounts of another issuer have no sessions here
        await connection_or_database.execute(QUERIES["end_sessions"], account, None, MOST_TOKEN_LIFE)


async def restore_subject(connection_or_database: Executor, subject: str) -> None:
    """Takes a lasting `revoke_subject` back: the account may get new tokens. The old ones and its sessions stay over."""
    await connection_or_database.execute(QUERIES["restore"], Kind.SUBJECT.value, subject, MOST_TOKEN_LIFE)


async def revoke_tenant(connection_or_database: Executor, tenant: str, *, lasting: bool = False) -> None:
    """Refuses every token that was issued for a tenant until now; its sessions go on.

    Args:
        connection_or_database: Where it is written.
        tenant: The tenant.
        lasting: Whether nobody of it gets a new token either, until `restore_tenant`: for a tenant that is suspended. Its
            sessions rest meanwhile.
    """
    await connection_or_database.execute(QUERIES["revoke"], Kind.TENANT.value, tenant, lasting, MOST_TOKEN_LIFE)


async def restore_tenant(connection_or_database: Executor, tenant: str) -> None:
    """Takes a lasting `revoke_tenant` back: sessions go on, and access tokens from before stay refused."""
    await connection_or_database.execute(QUERIES["restore"], Kind.TENANT.value, tenant, MOST_TOKEN_LIFE)


async def revoke_sessions(connection_or_database: Executor, account_id: str, *, keep: str = "") -> int:
    """Ends the sessions of an account with their access tokens, and returns how many there were.

    API keys and their tokens go on, so this is what a change of password asks for.

    Args:
        connection_or_database: Where it is written, bound to the account's tenant.
        account_id: The account.
        keep: The id of a session that goes on, such as that of whoever changes the password; empty keeps none.
    """
    ended: int = await connection_or_database.fetchval(
        QUERIES["end_sessions"], uuid.UUID(account_id), _as_uuid(keep), MOST_TOKEN_LIFE
    )
    return ended


async def revoke_token(connection_or_database: Executor, token_id: str) -> None:
    """Refuses one access token, by its `jti`."""
    await connection_or_database.execute(QUERIES["revoke"], Kind.TOKEN.value, token_id, True, MOST_TOKEN_LIFE)


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
