"""An account as its owner's calls need it, and how they prove that it is theirs."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from auth.accounts import Account, Credentials
from auth.signing_in import Doorkeeper
from auth.throttle import Throttle
from meshkit.errors import FailedPrecondition, InvalidInput, NotFound, Reason
from meshkit.identity import Identity

TOKEN_BYTES: Final = 32
"""Random bytes of a one-time token."""


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

    async def find_person(self, account_id: str, tenant: str) -> Person | None:
        """Returns an account of a tenant that may sign in, by its id."""
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


async def found(store: AccountStore, caller: Identity) -> Person:
    """Returns the caller's account.

    Raises:
        FailedPrecondition: Nobody signs in to it: the caller is a service account, of a foreign issuer, or gone.
    """
    try:
        person = await store.find_person(str(uuid.UUID(caller.subject)), caller.tenant)
    except ValueError:
        person = None
    if person is None:
        raise FailedPrecondition(Reason.STATE_FORBIDS, "the caller has no account with a password here")
    return person


async def proved(
    store: AccountStore,
    doorkeeper: Doorkeeper,
    attempts: Throttle,
    caller: Identity,
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
    attempt = await attempts.take(caller.subject, address)
    person = await found(store, caller)
    if not await doorkeeper.knows_password(person.credentials, password):
        raise InvalidInput(field, "is wrong")
    await attempts.succeeded(attempt)
    return person


def invalid_token() -> NotFound:
    """Returns what a caller is told of a one-time token that is no good, whatever the reason."""
    return NotFound(Reason.ONE_TIME_TOKEN_INVALID, "the token is unknown, expired or used; ask for another one")
