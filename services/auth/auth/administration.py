"""What administrators do with tenants and users, and what they may not."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from auth.accounts import USUAL_PLAN, normalize_email
from auth.audit import Event
from auth.caller import Caller
from auth.guessing import refuse_guessable
from auth.own_account import Invitation, SignUps
from auth.passwords import Passwords
from meshkit.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, PermissionDenied, Reason
from meshkit.identity import PUBLIC_TENANT, SYSTEM_ADMIN_ROLE, USER_ROLE, permissions_of

MOST_IN_PAGE: Final = 500
USUAL_IN_PAGE: Final = 100


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


class Tenants:
    """Manages tenants."""

    def __init__(self, store: Store) -> None:
        """Takes where they are kept."""
        self._store = store

    async def create(self, caller: Caller, tenant: str, display_name: str, plan: str, limits: Limits) -> Tenant:
        """Makes a tenant.

        Raises:
            AlreadyExists: There is one with this id.
        """
        async with self._store.change(caller) as change:
            if not await change.add_tenant(tenant, display_name or tenant, plan or USUAL_PLAN, limits):
                raise AlreadyExists(Reason.ALREADY_EXISTS, f"there is a tenant {tenant} already")
            await change.record(Event.TENANT_CREATED, tenant, "", {"plan": plan or USUAL_PLAN} | _limits(limits))
            return await _tenant(change, tenant)

    async def get(self, caller: Caller, tenant: str) -> Tenant:
        """Returns a tenant.

        Raises:
            NotFound: There is none that the caller may manage.
        """
        found = await self._store.find_tenant(within_reach(caller, tenant))
        if found is None:
            raise _no_tenant(tenant)
        return found

    async def list(self, caller: Caller, after: str | None, page_size: int) -> list[Tenant]:
        """Returns one more tenant than fits a page, if there are so many."""
        return await self._store.list_tenants(caller.reach, after, page_size + 1)

    async def update(
        self, caller: Caller, tenant: str, display_name: str | None, plan: str | None, limits: Limits | None
    ) -> Tenant:
        """Changes what is not None.

        Raises:
            NotFound: There is no such tenant.
        """
        async with self._store.change(caller) as change:
            before = await _tenant(change, tenant)
            await change.update_tenant(tenant, display_name, plan, limits)
            after = await _tenant(change, tenant)
            details: dict[str, object] = {"plan": f"{before.plan} -> {after.plan}"} if before.plan != after.plan else {}
            if before.limits != after.limits:
                details |= _limits(after.limits) or {"limits": "of the plan"}
            await change.record(Event.TENANT_UPDATED, tenant, "", details)
            return after

    async def suspend(self, caller: Caller, tenant: str, *, suspended: bool) -> Tenant:
        """Keeps everyone in the tenant out, or lets them in again.

        Raises:
            NotFound: There is no such tenant.
            FailedPrecondition: Nobody could administer the mesh any more.
        """
        async with self._store.change(caller) as change:
            await _tenant(change, tenant)
            if suspended and not await change.has_administrator_without(None, tenant):
                raise _last_administrator()
            if await change.suspend_tenant(tenant, suspended=suspended):
                event = Event.TENANT_SUSPENDED if suspended else Event.TENANT_RESUMED
                await change.record(event, tenant, "", {})
            return await _tenant(change, tenant)


class Users:
    """Manages users."""

    def __init__(self, store: Store, passwords: Passwords, sign_ups: SignUps) -> None:
        """Takes what it works with."""
        self._store = store
        self._passwords = passwords
        self._sign_ups = sign_ups

    async def create(self, caller: Caller, email: str, password: str, tenant: str, roles: Sequence[str]) -> User:
        """Makes a user with a password.

        Raises:
            AlreadyExists: The address is taken.
            NotFound: There is no such tenant.
            InvalidInput: PASSWORD_TOO_WEAK, or nobody of that tenant may have these roles.
            PermissionDenied: The roles allow more than the caller may.
        """
        email, tenant = normalize_email(email), within_reach(caller, tenant)
        chosen = _grantable(caller, tenant, roles or (USER_ROLE,))
        await self._passwords.run(lambda: refuse_guessable("password", password, (email, tenant)))
        password_hash = await self._passwords.hash(password)
        async with self._store.change(caller) as change:
            plan = (await _tenant(change, tenant)).plan
            user_id = await change.add_user(email, password_hash, tenant, chosen, plan)
            if user_id is None:
                raise AlreadyExists(Reason.ALREADY_EXISTS, f"there is a user {email} already")
            await change.record(Event.USER_CREATED, tenant, user_id, {"email": email, "roles": list(chosen)})
            return await _user(change, user_id)

    async def invite(self, caller: Caller, email: str, tenant: str, roles: Sequence[str]) -> None:
        """Sends someone a token by which they make a user of their own.

        Raises:
            NotFound: There is no such tenant.
            InvalidInput: Nobody of that tenant may have these roles.
            PermissionDenied: The roles allow more than the caller may, or sign-up is closed.
        """
        tenant = within_reach(caller, tenant)
        chosen = _grantable(caller, tenant, roles or (USER_ROLE,))
        async with self._store.change(caller) as change:
            await _tenant(change, tenant)
            details = {"email": normalize_email(email), "roles": list(chosen)}
            self._sign_ups.refuse_invitations()
            await change.record(Event.USER_INVITED, tenant, "", details)
        self._sign_ups.invite(email, Invitation(tenant, chosen), caller.address)

    async def get(self, caller: Caller, user_id: str) -> User:
        """Returns a user.

        Raises:
            NotFound: There is none that the caller may manage.
        """
        found = await self._store.find_user(user_id, caller.reach)
        if found is None:
            raise _no_user(user_id)
        return found

    async def list(self, caller: Caller, tenant: str, email: str, after: str | None, page_size: int) -> list[User]:
        """Returns one more user than fits a page, if there are so many.

        Raises:
            NotFound: The caller may not manage that tenant.
        """
        only = within_reach(caller, tenant) if tenant else None
        return await self._store.list_users(caller.reach, only, normalize_email(email) or None, after, page_size + 1)

    async def set_roles(self, caller: Caller, user_id: str, roles: Sequence[str]) -> User:
        """Gives a user other roles, and ends their sessions if that takes anything away.

        Raises:
            NotFound: There is no such user that the caller may manage.
            InvalidInput: Nobody of that tenant may have these roles.
            PermissionDenied: The roles, old or new, allow more than the caller may.
            FailedPrecondition: Nobody could administer the mesh any more.
        """
        async with self._store.change(caller) as change:
            user = await _managed(change, caller, user_id)
            chosen = _grantable(caller, user.tenant, roles)
            if user.roles == chosen:
                return user
            if SYSTEM_ADMIN_ROLE not in chosen:
                await _refuse_last(change, user)
            await change.set_roles(user, chosen)
            if permissions_of(user.roles) - permissions_of(chosen):
                await change.end_sessions(user)
            details = {"before": list(user.roles), "after": list(chosen)}
            await change.record(Event.USER_ROLES_CHANGED, user.tenant, user.id, details)
            return await _user(change, user_id)

    async def suspend(self, caller: Caller, user_id: str, *, suspended: bool) -> User:
        """Keeps a user out, or lets them in again.

        Raises:
            NotFound: There is no such user that the caller may manage.
            PermissionDenied: The user's roles allow more than the caller may.
            FailedPrecondition: Nobody could administer the mesh any more.
        """
        async with self._store.change(caller) as change:
            user = await _managed(change, caller, user_id)
            if user.is_suspended == suspended:
                return user
            if suspended:
                await _refuse_last(change, user)
            await change.suspend_user(user, suspended=suspended)
            event = Event.USER_SUSPENDED if suspended else Event.USER_RESUMED
            await change.record(event, user.tenant, user.id, {})
            return await _user(change, user_id)

    async def reset_totp(self, caller: Caller, user_id: str) -> User:
        """Takes a user's second factor away and ends their sessions.

        Raises:
            NotFound: There is no such user that the caller may manage.
            PermissionDenied: The user's roles allow more than the caller may.
        """
        async with self._store.change(caller) as change:
            user = await _managed(change, caller, user_id)
            await change.reset_totp(user)
            await change.end_sessions(user)
            await change.record(Event.TOTP_DISABLED, user.tenant, user.id, {})
            return await _user(change, user_id)

    async def delete(self, caller: Caller, user_id: str) -> None:
        """Deletes a user.

        Raises:
            NotFound: There is no such user that the caller may manage.
            PermissionDenied: The user's roles allow more than the caller may.
            FailedPrecondition: Nobody could administer the mesh any more.
        """
        async with self._store.change(caller) as change:
            user = await _managed(change, caller, user_id)
            await _refuse_last(change, user)
            await change.delete_user(user)
            await change.record(Event.USER_DELETED, user.tenant, user.id, {"email": user.email})


def within_reach(caller: Caller, tenant: str) -> str:
    """Returns the tenant that a request is about: the caller's own if it names none.

    Raises:
        NotFound: The caller may not manage that tenant.
    """
    named = tenant or caller.identity.tenant
    if caller.reach not in {None, named}:
        raise _no_tenant(named)
    return named


def _grantable(caller: Caller, tenant: str, roles: Sequence[str]) -> tuple[str, ...]:
    if not permissions_of(roles) <= caller.identity.permissions:
        raise PermissionDenied(Reason.PERMISSION_MISSING, "nobody can grant a role that allows more than their own")
    if tenant == PUBLIC_TENANT and SYSTEM_ADMIN_ROLE not in roles:
        raise InvalidInput("roles", f"must include {SYSTEM_ADMIN_ROLE} in the operator's tenant, {PUBLIC_TENANT}")
    return tuple(roles)


async def _managed(change: Change, caller: Caller, user_id: str) -> User:
    user = await _user(change, user_id)
    if not permissions_of(user.roles) <= caller.identity.permissions:
        raise PermissionDenied(Reason.PERMISSION_MISSING, "the user's roles allow more than yours")
    return user


async def _user(change: Change, user_id: str) -> User:
    user = await change.user(user_id)
    if user is None:
        raise _no_user(user_id)
    return user


async def _tenant(change: Change, tenant: str) -> Tenant:
    found = await change.tenant(tenant)
    if found is None:
        raise _no_tenant(tenant)
    return found


async def _refuse_last(change: Change, user: User) -> None:
    if SYSTEM_ADMIN_ROLE in user.roles and not await change.has_administrator_without(user.id, None):
        raise _last_administrator()


def _limits(limits: Limits) -> dict[str, object]:
    fields = {name: getattr(limits, name) for name in Limits.__dataclass_fields__}
    return {name: value for name, value in fields.items() if value is not None}


def _no_tenant(tenant: str) -> NotFound:
    return NotFound(Reason.TENANT_NOT_FOUND, f"no tenant that you may manage has id {tenant}")


def _no_user(user_id: str) -> NotFound:
    return NotFound(Reason.USER_NOT_FOUND, f"no user that you may manage has id {user_id}")


def _last_administrator() -> FailedPrecondition:
    return FailedPrecondition(Reason.STATE_FORBIDS, f"nobody with {SYSTEM_ADMIN_ROLE} would be left")
