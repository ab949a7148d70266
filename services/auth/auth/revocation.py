"""Ending sessions before their time. Each function takes a connection, so that it stands or falls with its transaction."""

import uuid
from typing import Any, Protocol

from auth.queries import QUERIES


class Executor(Protocol):
    """A connection, or the database."""

    async def execute(self, query: str, /, *args: Any) -> str:
        """Carries a statement out."""
        ...


async def revoke_subject(connection_or_database: Executor, subject: str, *, lasting: bool = False) -> None:
    """Ends the sessions of an account. `lasting` says that it gets no new ones, which its suspension sees to."""
    del lasting
    await connection_or_database.execute(QUERIES["end_account_sessions"], uuid.UUID(subject))


async def restore_subject(connection_or_database: Executor, subject: str) -> None:
    """Takes a lasting `revoke_subject` back."""


async def revoke_tenant(connection_or_database: Executor, tenant: str, *, lasting: bool = False) -> None:
    """Ends the sessions of a tenant. `lasting` says that it gets no new ones, which its suspension sees to."""
    del lasting
    await connection_or_database.execute(QUERIES["end_tenant_sessions"], tenant)


async def restore_tenant(connection_or_database: Executor, tenant: str) -> None:
    """Takes a lasting `revoke_tenant` back."""
