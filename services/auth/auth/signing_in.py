"""Signing in: everything before a session begins."""

from typing import Final, Protocol

from auth import audit
from auth.accounts import Account, Credentials, normalize_email
from auth.audit import Event
from auth.passwords import Passwords
from auth.second_factor import SecondFactor, recovery_digest
from auth.sessions import Origin, Sessions, Tokens
from auth.throttle import Throttle
from meshkit.errors import Reason, Unauthenticated

_FAILED: Final = "the email address, the password or the code is wrong"


class Accounts(Protocol):
    """Where accounts are kept."""

    async def find(self, email: str) -> Credentials | None:
        """Returns the account with this address."""
        ...

    async def replace_hash(self, account: Account, old: str, new: str) -> None:
        """Puts a new hash of the same password in the place of the old one."""
        ...

    async def use_step(self, account: Account, step: int) -> bool:
        """Uses a time step up, and every one before it; returns False if it was."""
        ...

    async def use_recovery_code(self, account: Account, digest: bytes) -> bool:
        """Uses a recovery code up; returns False if there is none such."""
        ...

    async def record(
        self, event: str, found: Credentials | None, email: str, outcome: str, address: str, why: str
    ) -> None:
        """Appends to the audit log: the account's tenant's, or the operator's where there is no account."""
        ...


class Doorkeeper:
    """Tells whether a password and a code are an account's."""

    def __init__(self, accounts: Accounts, passwords: Passwords, second_factor: SecondFactor) -> None:
        """Takes what it works with."""
        self._accounts = accounts
        self._passwords = passwords
        self._second_factor = second_factor

    async def knows_password(self, found: Credentials | None, password: str) -> bool:
        """Tells whether the password is the account's, in the same time where there is none."""
        return await self._passwords.verify(found.password_hash if found else None, password)

    async def accepts_code(self, found: Credentials, code: str) -> bool:
        """Tells whether a code is the account's, and uses it up."""
        if found.totp_sealed is None:
            return False
        step = self._second_factor.step_of(found.totp_sealed, code)
        if step is not None:
            return await self._accounts.use_step(found.account, step)
        return await self._accounts.use_recovery_code(found.account, recovery_digest(code))

    async def renew_hash(self, found: Credentials, password: str) -> None:
        """Hashes a password anew that was hashed at another cost than is set now."""
        if self._passwords.is_outdated(found.password_hash):
            fresh = await self._passwords.hash(password)
            await self._accounts.replace_hash(found.account, found.password_hash, fresh)


class SignIn:
    """Begins sessions for those who prove who they are."""

    def __init__(self, accounts: Accounts, doorkeeper: Doorkeeper, throttle: Throttle, sessions: Sessions) -> None:
        """Takes what it works with."""
        self._accounts = accounts
        self._doorkeeper = doorkeeper
        self._throttle = throttle
        self._sessions = sessions

    async def sign_in(self, email: str, password: str, code: str, origin: Origin) -> Tokens:
        """Begins a session.

        Raises:
            Unauthenticated: LOGIN_FAILED, whatever is wrong, and after the same time; SECOND_FACTOR_REQUIRED where nothing
                is wrong but that a code is missing.
            ResourceExhausted: There were too many attempts, or too many sign in at once.
        """
        email, address = normalize_email(email), origin.address
        attempt = await self._throttle.take(email, address, first_refused=lambda: self._throttled(email, address))
        found = await self._accounts.find(email)
        knows_password = await self._doorkeeper.knows_password(found, password)
        if found is None or not knows_password or not found.is_active:
            why = "no account" if found is None else "password" if not knows_password else "suspended"
            raise await self._refusal(found, email, address, why)
        if found.totp_sealed is not None:
            if not code:
                raise Unauthenticated(Reason.SECOND_FACTOR_REQUIRED, "this account needs a code of its authenticator")
            if not await self._doorkeeper.accepts_code(found, code):
                raise await self._refusal(found, email, address, "second factor")
        await self._throttle.succeeded(attempt)
        await self._doorkeeper.renew_hash(found, password)
        tokens = await self._sessions.begin(found.account, origin)
        await self._accounts.record(Event.SIGN_IN, found, email, audit.SUCCESS, address, "")
        return tokens

    async def _throttled(self, email: str, address: str) -> None:
        found = await self._accounts.find(email)
        await self._accounts.record(Event.SIGN_IN_THROTTLED, found, email, audit.REFUSED, address, "")

    async def _refusal(self, found: Credentials | None, email: str, address: str, why: str) -> Unauthenticated:
        await self._accounts.record(Event.SIGN_IN, found, email, audit.REFUSED, address, why)
        return Unauthenticated(Reason.LOGIN_FAILED, _FAILED)
