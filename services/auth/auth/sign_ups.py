"""How accounts come into being: by sign-up and by invitation."""

import secrets
from enum import StrEnum
from typing import Final

from auth.accounts import Account, normalize_email
from auth.delivery import Kind, Message
from auth.guessing import refuse_guessable
from auth.outbox import Outbox
from auth.own_account import TOKEN_BYTES, AccountStore, Invitation, Purpose, invalid_token
from auth.passwords import Passwords
from auth.refresh_tokens import digest
from auth.throttle import Throttle
from meshkit.errors import PermissionDenied, Reason

_TENANT_BYTES: Final = 6


class SignUpMode(StrEnum):
    """Who may get an account."""

    OPEN = "open"
    """Everyone who can read the mails of an address, in a tenant of their own; and whoever is invited."""
    INVITED = "invited"
    """Whom an administrator invites."""
    CLOSED = "closed"
    """Nobody, but for accounts that system administrators make."""


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
            raise invalid_token()
        if self._mode is SignUpMode.CLOSED or (promise.invitation is None and self._mode is not SignUpMode.OPEN):
            raise PermissionDenied(Reason.SIGN_UP_CLOSED, f"sign-up is {self._mode}")
        tenant = promise.invitation.tenant if promise.invitation else f"t-{secrets.token_hex(_TENANT_BYTES)}"
        about = (promise.email, tenant)
        await self._passwords.run(lambda: refuse_guessable("password", password, about))
        made = await self._store.redeem(digest(token), await self._passwords.hash(password), tenant, address)
        if made is None:
            raise invalid_token()
        return made

    async def _send(self, email: str, invitation: Invitation | None, address: str) -> None:
        tenant = invitation.tenant if invitation else ""
        if await self._store.find(email) is not None:
            await self._outbox.delivery.deliver(Message(Kind.ACCOUNT_EXISTS, email))
            return
        token = secrets.token_urlsafe(TOKEN_BYTES)
        expires_at = await self._store.promise(
            digest(token), Purpose.SIGN_UP, email, invitation, seconds=self._seconds, address=address
        )
        kind = Kind.INVITATION if invitation else Kind.SIGN_UP
        await self._outbox.delivery.deliver(Message(kind, email, tenant, token, expires_at))
