"""Accounts in Postgres, as signing in and their owners need them; `admin_repository` is the administrators' side."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from auth import audit, revocation
from auth.accounts import USUAL_PLAN, Account, Credentials
from auth.audit import Event
from auth.own_account import Invitation, Person, Promise, Purpose
from auth.queries import QUERIES
from meshkit.identity import USER_ROLE
from meshkit.postgres import Connection, Postgres


class AccountRepository:
    """Finds and changes accounts. What is done to one is bound to its tenant from the moment on that this is known."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def find(self, email: str) -> Credentials | None:
        """Returns the account with this address in small letters."""
        row = await self._database.fetchrow(QUERIES["find_account"], email)
        return _credentials(row, is_active=row["is_active"]) if row else None

    async def find_person(self, account_id: str, tenant: str) -> Person | None:
        """Returns an account of a tenant that may sign in, by its id."""
        row = await self._database.fetchrow(QUERIES["find_person"], uuid.UUID(account_id), tenant=tenant)
        return Person(row["email"], _credentials(row, is_active=True), row["totp_pending"]) if row else None

    async def record(
        self, event: str, found: Credentials | None, email: str, outcome: str, address: str, why: str
    ) -> None:
        """Appends to the audit log: the account's tenant's, or the operator's where there is no account."""
        subject = found.account.id if found else ""
        details = {"email": email} | ({"why": why} if why else {})
        await audit.record(
            self._database,
            event,
            tenant=found.account.tenant if found else "",
            subject=subject,
            actor=subject if outcome == audit.SUCCESS else "",
            outcome=outcome,
            address=address,
            details=details,
        )

    async def replace_hash(self, account: Account, old: str, new: str) -> None:
        """Puts a new hash of the same password in the place of the old one."""
        query = QUERIES["replace_password_hash"]
        await self._database.execute(query, uuid.UUID(account.id), old, new, tenant=account.tenant)

    async def use_step(self, account: Account, step: int) -> bool:
        """Uses a time step up, and every one before it; returns False if it was."""
        query = QUERIES["use_totp_step"]
        return await self._database.fetchval(query, uuid.UUID(account.id), step, tenant=account.tenant) is not None

    async def use_recovery_code(self, account: Account, digest: bytes) -> bool:
        """Uses a recovery code up; returns False if there is none such."""
        query = QUERIES["use_recovery_code"]
        return await self._database.fetchval(query, uuid.UUID(account.id), digest, tenant=account.tenant) is not None

    async def promise(
        self,
        token_digest: bytes,
        purpose: str,
        email: str,
        invitation: Invitation | None,
        *,
        seconds: int,
        address: str,
    ) -> datetime:
        """Keeps a one-time token by its hash, in the place of an older one, and returns until when it is good."""
        expires_at: datetime
        found = await self.find(email)
        async with self._database.transaction() as connection:
            expires_at = await connection.fetchval(
                QUERIES["add_one_time_token"],
                token_digest,
                purpose,
                email,
                invitation.tenant if invitation else None,
                list(invitation.roles) if invitation else None,
                timedelta(seconds=seconds),
            )
            if invitation is None:  # who invites has it recorded themselves
                await audit.record(
                    connection,
                    Event.SIGN_UP_REQUESTED if purpose == Purpose.SIGN_UP else Event.PASSWORD_RESET_REQUESTED,
                    tenant=found.account.tenant if found else "",
                    subject=found.account.id if found else "",
                    address=address,
                    details={"email": email},
                )
        return expires_at

    async def find_promise(self, token_digest: bytes, purpose: str) -> Promise | None:
        """Returns what a token was sent for, if it is still good."""
        row = await self._database.fetchrow(QUERIES["find_one_time_token"], token_digest, purpose)
        return _promise(row) if row else None

    async def redeem(self, token_digest: bytes, password_hash: str, new_tenant: str, address: str) -> Account | None:
        """Uses a token up and makes the account; returns None when the token or the address is taken."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(QUERIES["take_one_time_token"], token_digest, Purpose.SIGN_UP)
            if row is None:
                return None
            invitation = _promise(row).invitation or Invitation(new_tenant, (USER_ROLE,))
            await connection.execute(QUERIES["enter_tenant"], invitation.tenant)
            plan = USUAL_PLAN
            if row["tenant_id"] is not None:
                plan = await connection.fetchval(QUERIES["lock_tenant"], invitation.tenant)
                if plan is None:  # suspended meanwhile
                    return None
            tenant, roles = invitation.tenant, invitation.roles
            made = await connection.fetchval(
                QUERIES["add_account"], row["email"], password_hash, tenant, list(roles), plan
            )
            if made is None:
                return None
            account = Account(str(made), tenant, roles, plan)
            await _record_own(connection, Event.SIGN_UP_COMPLETED, account, address, {"roles": list(roles)})
            return account

    async def reset_password(self, token_digest: bytes, password_hash: str, address: str) -> bool:
        """Uses a token up and sets the password; returns False when the token is used or the account may not sign in."""
        async with self._database.transaction() as connection:
            promised = await connection.fetchrow(QUERIES["take_one_time_token"], token_digest, Purpose.PASSWORD_RESET)
            if promised is None:
                return False
            found = await connection.fetchrow(QUERIES["find_account"], promised["email"])
            if found is None:
                return False
            account = _account(found)
            await connection.execute(QUERIES["enter_tenant"], account.tenant)
            if await connection.fetchval(QUERIES["set_password"], uuid.UUID(account.id), password_hash) is None:
                return False
            await revocation.revoke_subject(connection, account.id)
            await _record_own(connection, Event.PASSWORD_RESET, account, address)
        return True

    async def change_password(self, account: Account, old_hash: str, new_hash: str, address: str) -> bool:
        """Puts another password in the place of this one; returns False when that is not the password any more."""
        async with self._database.transaction(tenant=account.tenant) as connection:
            key = uuid.UUID(account.id)
            if await connection.fetchval(QUERIES["change_password"], key, old_hash, new_hash) is None:
                return False
            await connection.execute(QUERIES["drop_one_time_tokens"], key)
            await revocation.revoke_sessions(connection, account.id)
            await _record_own(connection, Event.PASSWORD_CHANGED, account, address)
        return True

    async def enrol(self, account: Account, sealed: bytes) -> None:
        """Keeps a secret that is not asked for yet."""
        await self._database.execute(QUERIES["enrol_totp"], uuid.UUID(account.id), sealed, tenant=account.tenant)

    async def confirm(self, account: Account, sealed: bytes, step: int, codes: Sequence[bytes], address: str) -> bool:
        """Asks for codes of this secret from now on; returns False when another one was enrolled meanwhile."""
        key = uuid.UUID(account.id)
        async with self._database.transaction(tenant=account.tenant) as connection:
            if await connection.fetchval(QUERIES["confirm_totp"], key, sealed, step) is None:
                return False
            await connection.execute(QUERIES["add_recovery_codes"], key, list(codes))
            await _record_own(connection, Event.TOTP_ENABLED, account, address)
        return True

    async def disable(self, account: Account, address: str) -> None:
        """Asks for codes no more."""
        async with self._database.transaction(tenant=account.tenant) as connection:
            await connection.execute(QUERIES["disable_totp"], uuid.UUID(account.id))
            await _record_own(connection, Event.TOTP_DISABLED, account, address)


async def _record_own(
    connection: Connection, event: Event, account: Account, address: str, details: dict[str, Any] | None = None
) -> None:
    await audit.record(
        connection,
        event,
        tenant=account.tenant,
        subject=account.id,
        actor=account.id,
        address=address,
        details=details,
    )


def _account(row: asyncpg.Record) -> Account:
    return Account(str(row["account_id"]), row["tenant_id"], tuple(row["roles"]), row["plan"])


def _credentials(row: asyncpg.Record, *, is_active: bool) -> Credentials:
    return Credentials(_account(row), row["password_hash"], is_active, row["totp_sealed"])


def _promise(row: asyncpg.Record) -> Promise:
    invited = row["tenant_id"] is not None
    return Promise(row["email"], Invitation(row["tenant_id"], tuple(row["roles"])) if invited else None)
