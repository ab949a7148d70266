"""Tenants and users as administrators see them, and how far an administrator reaches."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from auth.audit import Event
from auth.caller import Caller
from meshkit.errors import FailedPrecondition, NotFound, Reason
from meshkit.identity import SYSTEM_ADMIN_ROLE


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a tenant's own; None for the plan's."""

    requests_per_hour: int | None = None
    streams_per_minute: int | None = None
    batch_calls_per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose users and data belong together."""

    id: str
    display_name: str
    plan: str
    limits: Limits
    created_at: datetime
    is_suspended: bool


@dataclass(frozen=True, slots=True)
class User:
    """An account as administrators see it."""

    id: str
    email: str
    tenant: str
    roles: tuple[str, ...]
    plan: str
    created_at: datetime
    is_suspended: bool
    has_totp: bool


class Change(Protocol):
    """A transaction in which administrators change things; `reach` of the caller binds it to their tenant."""

    async def tenant(self, tenant: str) -> Tenant | None:
        """Returns a tenant."""
        ...

    async def add_tenant(self, tenant: str, display_name: str, plan: str, limits: Limits) -> bool:
        """Adds a tenant; returns False if there is one."""
        ...

    async def update_tenant(
        self, tenant: str, display_name: str | None, plan: str | None, limits: Limits | None
    ) -> None:
        """Changes what is not None, the plan also of the tenant's users."""
        ...

    async def suspend_tenant(self, tenant: str, *, suspended: bool) -> bool:
        """Suspends or resumes a tenant; returns False if it is so already."""
        ...

    async def user(self, user_id: str) -> User | None:
        """Returns a user, who stays as they are."""
        ...

    async def add_user(
        self, email: str, password_hash: str, tenant: str, roles: Sequence[str], plan: str
    ) -> str | None:
        """Adds a user and returns their id; None if the address is taken."""
        ...

    async def set_roles(self, user: User, roles: Sequence[str]) -> None:
        """Gives a user other roles."""
        ...

    async def suspend_user(self, user: User, *, suspended: bool) -> None:
        """Suspends or resumes a user."""
        ...

    async def delete_user(self, user: User) -> None:
        """Deletes a user."""
        ...

    async def reset_totp(self, user: User) -> None:
        """Takes a user's second factor away."""
        ...

    async def end_sessions(self, user: User) -> None:
        """Ends a user's sessions."""
        ...

    async def has_administrator_without(self, user_id: str | None, tenant: str | None) -> bool:
        """Tells whether the mesh has an administrator without this account or tenant; whoever asks too has to wait."""
        ...

    async def record(self, event: Event, tenant: str, subject: str, details: Mapping[str, object]) -> None:
        """Appends to the tenant's audit log what the caller did."""
        ...


class Store(Protocol):
    """Where tenants and users are kept."""

    def change(self, caller: Caller) -> AbstractAsyncContextManager[Change]:
        """Opens a transaction."""
        ...

    async def find_tenant(self, tenant: str) -> Tenant | None:
        """Returns a tenant."""
        ...

    async def list_tenants(self, reach: str | None, after: str | None, most: int) -> list[Tenant]:
        """Returns tenants in the order of their ids."""
        ...

    async def find_user(self, user_id: str, reach: str | None) -> User | None:
        """Returns a user."""
        ...

    async def list_users(
        self, reach: str | None, tenant: str | None, email: str | None, after: str | None, most: int
    ) -> list[User]:
        """Returns users in the order of their addresses."""
        ...


def within_reach(caller: Caller, tenant: str) -> str:
    """Returns the tenant that a request is about: the caller's own if it names none.

    Raises:
        NotFound: The caller may not manage that tenant.
    """
    named = tenant or caller.identity.tenant
    if caller.reach not in {None, named}:
        raise no_tenant(named)
    return named


async def existing_tenant(change: Change, tenant: str) -> Tenant:
    """Returns a tenant.

    Raises:
        NotFound: There is none that the caller may manage.
    """
    found = await change.tenant(tenant)
    if found is None:
        raise no_tenant(tenant)
    return found


def no_tenant(tenant: str) -> NotFound:
    """Returns what a caller is told of a tenant that they may not manage, or that is not there."""
    return NotFound(Reason.TENANT_NOT_FOUND, f"no tenant that you may manage has id {tenant}")


def last_administrator() -> FailedPrecondition:
    """Returns what a caller is told who would take the mesh's last administrator away."""
    return FailedPrecondition(Reason.STATE_FORBIDS, f"nobody with {SYSTEM_ADMIN_ROLE} would be left")
