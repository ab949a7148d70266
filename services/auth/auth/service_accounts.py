"""Service accounts: accounts of programs, which prove themselves by a secret."""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from auth.refresh_tokens import digest
from auth.scopes import check_held
from meshkit.errors import InvalidInput, NotFound, Reason, ResourceExhausted
from meshkit.identity import ROLES, SYSTEM_ADMIN_ROLE, USER_ROLE, Identity, permission_name, permissions_of

PREFIX: Final = "geomesh_secret_"
"""What every secret begins with, so that those who search for leaked secrets find it."""

MOST_ACCOUNTS: Final = 100
"""Service accounts that a tenant may have."""

_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What is kept of a service account, and may be shown."""

    id: str
    display_name: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewServiceAccount:
    """A service account to make."""

    id: uuid.UUID
    tenant: str
    display_name: str
    secret_digest: bytes
    roles: tuple[str, ...]
    plan: str
    scopes: tuple[str, ...]


class ServiceAccountStore(Protocol):
    """Where service accounts are kept. What changes one also records who did it, in the same transaction."""

    async def add(self, account: NewServiceAccount, *, by: Identity, at_most: int) -> ServiceAccount | None:
        """Adds one; returns None when the tenant has `at_most` already."""
        ...

    async def page(self, tenant: str, after: tuple[datetime, str] | None, size: int) -> list[ServiceAccount]:
        """Returns those of a tenant, the newest first, from behind a position on."""
        ...

    async def reset(self, by: Identity, account_id: str, secret_digest: bytes) -> ServiceAccount | None:
        """Replaces the secret and refuses older tokens; returns None when the caller's tenant has no such account."""
        ...

    async def delete(self, by: Identity, account_id: str) -> bool:
        """Deletes one and refuses its tokens; returns False when the caller's tenant has no such account."""
        ...


class ServiceAccounts:
    """Keeps the service accounts of the caller's tenant."""

    def __init__(self, store: ServiceAccountStore) -> None:
        """Takes where they are kept."""
        self._store = store

    async def create(
        self, caller: Identity, display_name: str, role: str, scopes: Sequence[str]
    ) -> tuple[ServiceAccount, str]:
        """Returns a new service account and its secret.

        Raises:
            InvalidInput: The role or a scope is unknown, or more than the caller holds.
            ResourceExhausted: The tenant has as many as it may.
        """
        chosen = role or USER_ROLE
        if chosen not in ROLES or chosen == SYSTEM_ADMIN_ROLE:
            raise InvalidInput(
                "role", f"must be one of {', '.join(each for each in ROLES if each != SYSTEM_ADMIN_ROLE)}"
            )
        if not permissions_of((chosen,)) <= caller.permissions:
            raise InvalidInput("role", "holds a permission that you do not")
        check_held(scopes, map(permission_name, permissions_of((chosen,))), "scopes")
        secret = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        made = await self._store.add(
            NewServiceAccount(
                uuid.uuid4(), caller.tenant, display_name, digest(secret), (chosen,), caller.plan, tuple(scopes)
            ),
            by=caller,
            at_most=MOST_ACCOUNTS,
        )
        if made is None:
            raise ResourceExhausted(
                Reason.RATE_LIMITED,
                f"a tenant has at most {MOST_ACCOUNTS} service accounts; delete one",
                retry_after_seconds=60.0,
            )
        return made, secret

    async def page(self, caller: Identity, after: tuple[datetime, str] | None, size: int) -> list[ServiceAccount]:
        """Returns those of the caller's tenant, the newest first, from behind a position on."""
        return await self._store.page(caller.tenant, after, size)

    async def reset(self, caller: Identity, account_id: str) -> tuple[ServiceAccount, str]:
        """Returns a service account with a new secret.

        Raises:
            NotFound: The caller's tenant has no such account.
        """
        secret = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        changed = await self._store.reset(caller, account_id, digest(secret))
        if changed is None:
            raise _not_found(account_id)
        return changed, secret

    async def delete(self, caller: Identity, account_id: str) -> None:
        """Deletes a service account.

        Raises:
            NotFound: The caller's tenant has no such account.
        """
        if not await self._store.delete(caller, account_id):
            raise _not_found(account_id)


def _not_found(account_id: str) -> NotFound:
    return NotFound(Reason.SERVICE_ACCOUNT_NOT_FOUND, f"your tenant has no service account {account_id}")
