"""Tenants, users and the audit log in Postgres, as administrators need them.

What is done to a tenant and its users runs on connections that are bound to the tenant: row-level security hides all
others, whatever a statement forgets. Only lists of the whole mesh are not.
"""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg

from auth import audit, revocation
from auth.audit import AuditEvent, Event, Head
from auth.caller import Caller
from auth.directory import Change, Limits, Tenant, User
from auth.queries import QUERIES
from meshkit.identity import SYSTEM_ADMIN_ROLE
from meshkit.postgres import Connection, Postgres


class AdminRepository:
    """Reads tenants and users, and opens transactions that change them."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    @asynccontextmanager
    async def change(self, caller: Caller) -> AsyncIterator[Change]:
        """Opens a transaction."""
        async with self._database.transaction(tenant=caller.reach) as connection:
            yield _Change(connection, caller)

    async def find_tenant(self, tenant: str) -> Tenant | None:
        """Returns a tenant."""
        row = await self._database.fetchrow(QUERIES["find_tenant"], tenant, tenant=tenant)
        return _tenant(row) if row else None

    async def list_tenants(self, reach: str | None, after: str | None, most: int) -> list[Tenant]:
        """Returns tenants in the order of their ids."""
        if reach is None:
            rows = await self._database.fetch(QUERIES["list_all_tenants"], after, most)
        else:
            rows = await self._database.fetch(QUERIES["list_tenants"], reach, after, most, tenant=reach)
        return [_tenant(row) for row in rows]

    async def find_user(self, user_id: str, reach: str | None) -> User | None:
        """Returns a user."""
        key = uuid.UUID(user_id)
        tenant = reach or await self._database.fetchval(QUERIES["find_tenant_of_account"], key)
        row = await self._database.fetchrow(QUERIES["find_user"], key, tenant, tenant=tenant) if tenant else None
        return _user(row) if row else None

    async def list_users(
        self, reach: str | None, tenant: str | None, email: str | None, after: str | None, most: int
    ) -> list[User]:
        """Returns users in the order of their addresses."""
        if only := reach or tenant:
            rows = await self._database.fetch(QUERIES["list_users"], email, only, after, most, tenant=only)
        else:
            rows = await self._database.fetch(QUERIES["list_all_users"], email, after, most)
        return [_user(row) for row in rows]

    async def list_limits(self) -> dict[str, Limits]:
        """Returns the tenants that have limits of their own."""
        rows = await self._database.fetch(QUERIES["list_tenant_limits"])
        return {row["tenant_id"]: _limits(row) for row in rows}


class AuditRepository:
    """Reads the audit log."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def newest(
        self,
        tenant: str,
        event: str | None,
        subject: str | None,
        between: tuple[datetime | None, datetime | None],
        before: tuple[datetime, int] | None,
        most: int,
    ) -> list[AuditEvent]:
        """Returns events of a tenant, the newest first, before the one at a time and with a number."""
        position = before or (None, None)
        rows = await self._database.fetch(
            QUERIES["list_audit_events"], tenant, event, subject, *between, *position, most, tenant=tenant
        )
        return [AuditEvent(*row) for row in rows]

    async def following(self, tenant: str, sequence: int, most: int) -> list[AuditEvent]:
        """Returns events of a tenant after one, the oldest first."""
        rows = await self._database.fetch(QUERIES["read_audit_chain"], tenant, sequence, most, tenant=tenant)
        return [AuditEvent(*row) for row in rows]

    async def hash_of(self, tenant: str, sequence: int) -> bytes | None:
        """Returns the hash of an event."""
        found: bytes | None = await self._database.fetchval(QUERIES["find_audit_hash"], tenant, sequence, tenant=tenant)
        return found

    async def head(self, tenant: str) -> Head | None:
        """Returns the end of a chain."""
        row = await self._database.fetchrow(QUERIES["find_audit_head"], tenant, tenant=tenant)
        return Head(*row) if row else None


class _Change:
    """One transaction; see `auth.directory.Change`."""

    def __init__(self, connection: Connection, caller: Caller) -> None:
        self._connection = connection
        self._caller = caller
        self._bound = caller.reach

    async def _enter(self, tenant: str) -> None:
        """Binds the rest of the transaction to a tenant, for a caller who may manage every one."""
        if self._caller.reach is None and self._bound != tenant:
            await self._connection.execute(QUERIES["enter_tenant"], tenant)
            self._bound = tenant

    async def tenant(self, tenant: str) -> Tenant | None:
        await self._enter(tenant)
        row = await self._connection.fetchrow(QUERIES["find_tenant"], tenant)
        return _tenant(row) if row else None

    async def add_tenant(self, tenant: str, display_name: str, plan: str, limits: Limits) -> bool:
        await self._enter(tenant)
        added = await self._connection.fetchval(QUERIES["add_tenant"], tenant, display_name, plan, *_numbers(limits))
        return added is not None

    async def update_tenant(
        self, tenant: str, display_name: str | None, plan: str | None, limits: Limits | None
    ) -> None:
        numbers = _numbers(limits or Limits())
        await self._connection.execute(
            QUERIES["update_tenant"], tenant, display_name, plan, limits is not None, *numbers
        )
        if plan is not None:
            await self._connection.execute(QUERIES["set_plan_of_users"], tenant, plan)

    async def suspend_tenant(self, tenant: str, *, suspended: bool) -> bool:
        changed = await self._connection.fetchval(QUERIES["suspend_tenant"], tenant, suspended)
        if changed is None:
            return False
        if suspended:
            await revocation.revoke_tenant(self._connection, tenant, lasting=True)
        else:
            await revocation.restore_tenant(self._connection, tenant)
        return True

    async def user(self, user_id: str) -> User | None:
        key = uuid.UUID(user_id)
        if self._caller.reach is None:
            tenant = await self._connection.fetchval(QUERIES["find_tenant_of_account"], key)
            if tenant is None:
                return None
            await self._enter(tenant)
        row = await self._connection.fetchrow(QUERIES["lock_user"], key, self._bound)
        return _user(row) if row else None

    async def add_user(
        self, email: str, password_hash: str, tenant: str, roles: Sequence[str], plan: str
    ) -> str | None:
        made = await self._connection.fetchval(QUERIES["add_account"], email, password_hash, tenant, list(roles), plan)
        return str(made) if made else None

    async def set_roles(self, user: User, roles: Sequence[str]) -> None:
        await self._connection.execute(QUERIES["set_roles"], uuid.UUID(user.id), list(roles))

    async def suspend_user(self, user: User, *, suspended: bool) -> None:
        await self._connection.execute(QUERIES["suspend_user"], uuid.UUID(user.id), suspended)
        if suspended:
            await revocation.revoke_subject(self._connection, user.id, lasting=True)
        else:
            await revocation.restore_subject(self._connection, user.id)

    async def delete_user(self, user: User) -> None:
        await revocation.revoke_subject(self._connection, user.id, lasting=True)
        await self._connection.execute(QUERIES["drop_one_time_tokens"], uuid.UUID(user.id))
        await self._connection.execute(QUERIES["delete_user"], uuid.UUID(user.id))

    async def reset_totp(self, user: User) -> None:
        await self._connection.execute(QUERIES["disable_totp"], uuid.UUID(user.id))

    async def end_sessions(self, user: User) -> None:
        await revocation.revoke_subject(self._connection, user.id)

    async def has_administrator_without(self, user_id: str | None, tenant: str | None) -> bool:
        await self._connection.execute(QUERIES["lock_administrators"])
        without = uuid.UUID(user_id) if user_id else None
        found: bool = await self._connection.fetchval(QUERIES["has_administrator"], SYSTEM_ADMIN_ROLE, without, tenant)
        return found

    async def record(self, event: Event, tenant: str, subject: str, details: Mapping[str, Any]) -> None:
        await audit.record(
            self._connection,
            event,
            tenant=tenant,
            subject=subject,
            actor=self._caller.identity.subject,
            address=self._caller.address,
            details=details,
        )


def _limits(row: asyncpg.Record) -> Limits:
    return Limits(row["requests_per_hour"], row["streams_per_minute"], row["batch_calls_per_hour"])


def _numbers(limits: Limits) -> tuple[int | None, int | None, int | None]:
    return limits.requests_per_hour, limits.streams_per_minute, limits.batch_calls_per_hour


def _tenant(row: asyncpg.Record) -> Tenant:
    suspended = row["suspended_at"] is not None
    return Tenant(row["tenant_id"], row["display_name"], row["plan"], _limits(row), row["created_at"], suspended)


def _user(row: asyncpg.Record) -> User:
    return User(
        str(row["account_id"]),
        row["email"],
        row["tenant_id"],
        tuple(row["roles"]),
        row["plan"],
        row["created_at"],
        row["disabled_at"] is not None,
        row["totp_confirmed_at"] is not None,
    )
