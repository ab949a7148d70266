"""What administrators do with users, and what they may not."""

from collections.abc import Sequence

from auth.accounts import normalize_email
from auth.audit import Event
from auth.caller import Caller
from auth.directory import Change, Store, User, existing_tenant, last_administrator, within_reach
from auth.guessing import refuse_guessable
from auth.own_account import Invitation
from auth.passwords import Passwords
from auth.sign_ups import SignUps
from meshkit.errors import AlreadyExists, InvalidInput, NotFound, PermissionDenied, Reason
from meshkit.identity import PUBLIC_TENANT, SYSTEM_ADMIN_ROLE, USER_ROLE, permissions_of


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
            plan = (await existing_tenant(change, tenant)).plan
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
            await existing_tenant(change, tenant)
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


async def _refuse_last(change: Change, user: User) -> None:
    if SYSTEM_ADMIN_ROLE in user.roles and not await change.has_administrator_without(user.id, None):
        raise last_administrator()


def _no_user(user_id: str) -> NotFound:
    return NotFound(Reason.USER_NOT_FOUND, f"no user that you may manage has id {user_id}")
