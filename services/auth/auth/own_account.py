"""What people do with their own accounts: sign up, change or reset a password, set up a second factor."""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from auth.accounts import Account, Credentials, normalize_email
from auth.delivery import Kind, Message
from auth.guessing import refuse_guessable
from auth.outbox import Outbox
from auth.passwords import Passwords
from auth.refresh_tokens import digest
from auth.second_factor import SecondFactor, recovery_codes, recovery_digest
from auth.signing_in import Doorkeeper
from auth.throttle import Throttle
from meshkit.errors import FailedPrecondition, InvalidInput, NotFound, PermissionDenied, Reason

_TOKEN_BYTES: Final = 32
_TENANT_BYTES: Final = 6


class SignUpMode(StrEnum):
    """Who may get an account."""

    OPEN = "open"
    """Everyone who can read the mails of an address, in a tenant of their own; and whoever is invited."""
    INVITED = "invited"
    """Whom an administrator invites."""
    CLOSED = "closed"
    """Nobody, but for accounts that system administrators make."""


class Purpose(StrEnum):
    """What a one-time token is good for."""

    SIGN_UP = "sign_up"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a purpose


@dataclass(frozen=True, slots=True)
class Invitation:
    """Into which tenant and as what."""

    tenant: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """What a one-time token was sent for: `invitation` is None in an open sign-up and a password reset."""

    email: str
    invitation: Invitation | None


@dataclass(frozen=True, slots=True)
class Person:
    """An account as its owner's calls need it."""

    email: str
    credentials: Credentials
    totp_pending: bytes | None


class AccountStore(Protocol):
    """Where accounts are kept. What changes one also records it, and ends its sessions where that is due."""

    async def find(self, email: str) -> Credentials | None:
        """Returns the account with this address."""
        ...

    async def find_person(self, account_id: str) -> Person | None:
        """Returns an account that may sign in, by its id."""
        ...

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
        ...

    async def find_promise(self, token_digest: bytes, purpose: str) -> Promise | None:
        """Returns what a token was sent for, if it is still good."""
        ...

    async def redeem(self, token_digest: bytes, password_hash: str, new_tenant: str, address: str) -> Account | None:
        """Uses a token up and makes the account; returns None when the token or the address is taken."""
        ...

    async def reset_password(self, token_digest: bytes, password_hash: str, address: str) -> bool:
        """Uses a token up and sets the password; returns False when the token is used or the account may not sign in."""
        ...

    async def change_password(self, account: Account, old_hash: str, new_hash: str, address: str) -> bool:
        """Puts another password in the place of this one; returns False when that is not the password any more."""
        ...

    async def enrol(self, account: Account, sealed: bytes) -> None:
        """Keeps a secret that is not asked for yet."""
        ...

    async def confirm(self, account: Account, sealed: bytes, step: int, codes: Sequence[bytes], address: str) -> bool:
        """Asks for codes of this secret from now on; returns False when another one was enrolled meanwhile."""
        ...

    async def disable(self, account: Account, address: str) -> None:
        """Asks for codes no more."""
        ...


class SignUps:
    """Makes accounts for those who can read the mails of an address."""

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        outbox: Outbox,
        throttle: Throttle,
        *,
        mode: SignUpMode,
        token_seconds: int,
    ) -> None:
        """Takes what it works with, who may sign up, and how long a token is good."""
        self._store = store
        self._passwords = passwords
        self._outbox = outbox
        self._throttle = throttle
        self._mode = mode
        self._seconds = token_seconds

    async def sign_up(self, email: str, address: str) -> None:
        """Sends a token, or a note that there is an account.

        Raises:
            PermissionDenied: SIGN_UP_CLOSED: sign-up is not open to everyone.
            ResourceExhausted: Too many ask, for this address or from there.
        """
        if self._mode is not SignUpMode.OPEN:
            raise PermissionDenied(Reason.SIGN_UP_CLOSED, f"sign-up is {self._mode}; ask an administrator")
        email = normalize_email(email)
        await self._throttle.take(email, address)
        self._outbox.put(lambda: self._send(email, None, address))

    def invite(self, email: str, invitation: Invitation, address: str) -> None:
        """Sends a token that leads into a tenant, or a note that there is an account.

        Raises:
            PermissionDenied: SIGN_UP_CLOSED.
            ResourceExhausted: Too many messages wait.
        """
        self.refuse_invitations()
        self._outbox.put(lambda: self._send(normalize_email(email), invitation, address))

    def refuse_invitations(self) -> None:
        """Returns where people may be invited.

        Raises:
            PermissionDenied: SIGN_UP_CLOSED.
        """
        if self._mode is SignUpMode.CLOSED:
            raise PermissionDenied(Reason.SIGN_UP_CLOSED, "sign-up is closed; a system administrator can make the user")

    async def complete(self, token: str, password: str, address: str) -> Account:
        """Makes the account.

        Raises:
            NotFound: ONE_TIME_TOKEN_INVALID.
            InvalidInput: PASSWORD_TOO_WEAK; the token stays good.
            PermissionDenied: SIGN_UP_CLOSED, meanwhile.
        """
        promise = await self._store.find_promise(digest(token), Purpose.SIGN_UP)
        if promise is None:
            raise _invalid_token()
        if self._mode is SignUpMode.CLOSED or (promise.invitation is None and self._mode is not SignUpMode.OPEN):
            raise PermissionDenied(Reason.SIGN_UP_CLOSED, f"sign-up is {self._mode}")
        tenant = promise.invitation.tenant if promise.invitation else f"t-{secrets.token_hex(_TENANT_BYTES)}"
        about = (promise.email, tenant)
        await self._passwords.run(lambda: refuse_guessable("password", password, about))
        made = await self._store.redeem(digest(token), await self._passwords.hash(password), tenant, address)
        if made is None:
            raise _invalid_token()
        return made

    async def _send(self, email: str, invitation: Invitation | None, address: str) -> None:
        tenant = invitation.tenant if invitation else ""
        if await self._store.find(email) is not None:
            await self._outbox.delivery.deliver(Message(Kind.ACCOUNT_EXISTS, email))
            return
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        expires_at = await self._store.promise(
            digest(token), Purpose.SIGN_UP, email, invitation, seconds=self._seconds, address=address
        )
        kind = Kind.INVITATION if invitation else Kind.SIGN_UP
        await self._outbox.delivery.deliver(Message(kind, email, tenant, token, expires_at))


class PasswordChanges:
    """Replaces passwords."""

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        doorkeeper: Doorkeeper,
        outbox: Outbox,
        *,
        attempts: Throttle,
        requests: Throttle,
        token_seconds: int,
    ) -> None:
        """Takes what it works with; `attempts` counts guesses, `requests` counts messages."""
        self._store = store
        self._passwords = passwords
        self._doorkeeper = doorkeeper
        self._outbox = outbox
        self._attempts = attempts
        self._requests = requests
        self._seconds = token_seconds

    async def change(self, account_id: str, old: str, new: str, address: str) -> None:
        """Puts another password in the place of one that the caller knows.

        Raises:
            InvalidInput: The old password is wrong, or the new one too weak.
            ResourceExhausted: There were too many attempts.
        """
        person = await proved(self._store, self._doorkeeper, self._attempts, account_id, "old_password", old, address)
        about = (person.email, person.credentials.account.tenant)
        await self._passwords.run(lambda: refuse_guessable("new_password", new, about))
        fresh = await self._passwords.hash(new)
        account = person.credentials.account
        if not await self._store.change_password(account, person.credentials.password_hash, fresh, address):
            raise InvalidInput("old_password", "is wrong")
        self._notify(person.email, account.tenant)

    async def request_reset(self, email: str, address: str) -> None:
        """Sends a token if there is an account with this address that may sign in.

        Raises:
            ResourceExhausted: Too many ask, for this address or from there.
        """
        email = normalize_email(email)
        await self._requests.take(email, address)
        self._outbox.put(lambda: self._send_reset(email, address))

    async def reset(self, token: str, new: str, address: str) -> None:
        """Sets a password by a one-time token.

        Raises:
            NotFound: ONE_TIME_TOKEN_INVALID.
            InvalidInput: PASSWORD_TOO_WEAK; the token stays good.
        """
        promise = await self._store.find_promise(digest(token), Purpose.PASSWORD_RESET)
        if promise is None:
            raise _invalid_token()
        await self._passwords.run(lambda: refuse_guessable("new_password", new, (promise.email,)))
        if not await self._store.reset_password(digest(token), await self._passwords.hash(new), address):
            raise _invalid_token()
        self._notify(promise.email, "")

    async def _send_reset(self, email: str, address: str) -> None:
        found = await self._store.find(email)
        if found is None or not found.is_active:
            return
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        expires_at = await self._store.promise(
            digest(token), Purpose.PASSWORD_RESET, email, None, seconds=self._seconds, address=address
        )
        message = Message(Kind.PASSWORD_RESET, email, found.account.tenant, token, expires_at)
        await self._outbox.delivery.deliver(message)

    def _notify(self, email: str, tenant: str) -> None:
        self._outbox.put(lambda: self._outbox.delivery.deliver(Message(Kind.PASSWORD_CHANGED, email, tenant)))


class SecondFactors:
    """Sets second factors up and gives them up."""

    def __init__(
        self, store: AccountStore, second_factor: SecondFactor, doorkeeper: Doorkeeper, attempts: Throttle
    ) -> None:
        """Takes what it works with; `attempts` counts guesses."""
        self._store = store
        self._second_factor = second_factor
        self._doorkeeper = doorkeeper
        self._attempts = attempts

    async def enrol(self, account_id: str, password: str, address: str) -> tuple[str, str]:
        """Returns a new secret and its `otpauth:` address.

        Raises:
            InvalidInput: The password is wrong.
            FailedPrecondition: There is a second factor, which must be given up first.
            ResourceExhausted: There were too many attempts.
        """
        person = await proved(self._store, self._doorkeeper, self._attempts, account_id, "password", password, address)
        if person.credentials.totp_sealed is not None:
            raise FailedPrecondition(Reason.STATE_FORBIDS, "there is a second factor already; disable it first")
        secret, uri, sealed = self._second_factor.enrol(person.email)
        await self._store.enrol(person.credentials.account, sealed)
        return secret, uri

    async def confirm(self, account_id: str, code: str, address: str) -> list[str]:
        """Asks for codes from now on, and returns recovery codes.

        Raises:
            InvalidInput: The code is wrong.
            FailedPrecondition: Nothing was enrolled.
            ResourceExhausted: There were too many attempts.
        """
        attempt = await self._attempts.take(account_id, address)
        person = await found(self._store, account_id)
        if person.totp_pending is None:
            raise FailedPrecondition(Reason.STATE_FORBIDS, "no second factor waits for its confirmation")
        step = self._second_factor.step_of(person.totp_pending, code)
        codes = recovery_codes()
        digests = [recovery_digest(each) for each in codes]
        account = person.credentials.account
        if step is None or not await self._store.confirm(account, person.totp_pending, step, digests, address):
            raise InvalidInput("totp_code", "is wrong")
        await self._attempts.succeeded(attempt)
        return codes

    async def disable(self, account_id: str, password: str, code: str, address: str) -> None:
        """Asks for codes no more.

        Raises:
            InvalidInput: The password or the code is wrong.
            FailedPrecondition: There is no second factor.
            ResourceExhausted: There were too many attempts.
        """
        person = await proved(self._store, self._doorkeeper, self._attempts, account_id, "password", password, address)
        if person.credentials.totp_sealed is None:
            raise FailedPrecondition(Reason.STATE_FORBIDS, "there is no second factor")
        attempt = await self._attempts.take(account_id, address)
        if not await self._doorkeeper.accepts_code(person.credentials, code):
            raise InvalidInput("code", "is wrong")
        await self._attempts.succeeded(attempt)
        await self._store.disable(person.credentials.account, address)


async def found(store: AccountStore, account_id: str) -> Person:
    """Returns the caller's account.

    Raises:
        FailedPrecondition: Nobody signs in to it: the caller is a service account, of a foreign issuer, or gone.
    """
    try:
        person = await store.find_person(str(uuid.UUID(account_id)))
    except ValueError:
        person = None
    if person is None:
        raise FailedPrecondition(Reason.STATE_FORBIDS, "the caller has no account with a password here")
    return person


async def proved(
    store: AccountStore,
    doorkeeper: Doorkeeper,
    attempts: Throttle,
    account_id: str,
    field: str,
    password: str,
    address: str,
) -> Person:
    """Returns the caller's account once they have proved that they know its password.

    Raises:
        InvalidInput: They do not.
        FailedPrecondition: There is no password to know.
        ResourceExhausted: There were too many attempts.
    """
    attempt = await attempts.take(account_id, address)
    person = await found(store, account_id)
    if not await doorkeeper.knows_password(person.credentials, password):
        raise InvalidInput(field, "is wrong")
    await attempts.succeeded(attempt)
    return person


def _invalid_token() -> NotFound:
    return NotFound(Reason.ONE_TIME_TOKEN_INVALID, "the token is unknown, expired or used; ask for another one")
