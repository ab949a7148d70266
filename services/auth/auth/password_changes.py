"""How people replace their passwords: knowing the old one, or by what is sent to their address."""

import secrets

from auth.accounts import normalize_email
from auth.delivery import Kind, Message
from auth.guessing import refuse_guessable
from auth.outbox import Outbox
from auth.own_account import TOKEN_BYTES, AccountStore, Purpose, invalid_token, proved
from auth.passwords import Passwords
from auth.refresh_tokens import digest
from auth.signing_in import Doorkeeper
from auth.throttle import Throttle
from meshkit.errors import InvalidInput
from meshkit.identity import Identity


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

    async def change(self, caller: Identity, old: str, new: str, address: str) -> None:
        """Puts another password in the place of one that the caller knows.

        Raises:
            InvalidInput: The old password is wrong, or the new one too weak.
            ResourceExhausted: There were too many attempts.
        """
        person = await proved(self._store, self._doorkeeper, self._attempts, caller, "old_password", old, address)
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
            raise invalid_token()
        await self._passwords.run(lambda: refuse_guessable("new_password", new, (promise.email,)))
        if not await self._store.reset_password(digest(token), await self._passwords.hash(new), address):
            raise invalid_token()
        self._notify(promise.email, "")

    async def _send_reset(self, email: str, address: str) -> None:
        found = await self._store.find(email)
        if found is None or not found.is_active:
            return
        token = secrets.token_urlsafe(TOKEN_BYTES)
        expires_at = await self._store.promise(
            digest(token), Purpose.PASSWORD_RESET, email, None, seconds=self._seconds, address=address
        )
        message = Message(Kind.PASSWORD_RESET, email, found.account.tenant, token, expires_at)
        await self._outbox.delivery.deliver(message)

    def _notify(self, email: str, tenant: str) -> None:
        self._outbox.put(lambda: self._outbox.delivery.deliver(Message(Kind.PASSWORD_CHANGED, email, tenant)))
