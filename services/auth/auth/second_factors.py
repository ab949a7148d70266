"""How people set a second factor up and give it up."""

from auth.own_account import AccountStore, found, proved
from auth.second_factor import SecondFactor, recovery_codes, recovery_digest
from auth.signing_in import Doorkeeper
from auth.throttle import Throttle
from meshkit.errors import FailedPrecondition, InvalidInput, Reason
from meshkit.identity import Identity


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

    async def enrol(self, caller: Identity, password: str, address: str) -> tuple[str, str]:
        """Returns a new secret and its `otpauth:` address.

        Raises:
            InvalidInput: The password is wrong.
            FailedPrecondition: There is a second factor, which must be given up first.
            ResourceExhausted: There were too many attempts.
        """
        person = await proved(self._store, self._doorkeeper, self._attempts, caller, "password", password, address)
        if person.credentials.totp_sealed is not None:
            raise FailedPrecondition(Reason.STATE_FORBIDS, "there is a second factor already; disable it first")
        secret, uri, sealed = self._second_factor.enrol(person.email)
        await self._store.enrol(person.credentials.account, sealed)
        return secret, uri

    async def confirm(self, caller: Identity, code: str, address: str) -> list[str]:
        """Asks for codes from now on, and returns recovery codes.

        Raises:
            InvalidInput: The code is wrong.
            FailedPrecondition: Nothing was enrolled.
            ResourceExhausted: There were too many attempts.
        """
        attempt = await self._attempts.take(caller.subject, address)
        person = await found(self._store, caller)
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

    async def disable(self, caller: Identity, password: str, code: str, address: str) -> None:
        """Asks for codes no more.

        Raises:
            InvalidInput: The password or the code is wrong.
            FailedPrecondition: There is no second factor.
            ResourceExhausted: There were too many attempts.
        """
        person = await proved(self._store, self._doorkeeper, self._attempts, caller, "password", password, address)
        if person.credentials.totp_sealed is None:
            raise FailedPrecondition(Reason.STATE_FORBIDS, "there is no second factor")
        attempt = await self._attempts.take(caller.subject, address)
        if not await self._doorkeeper.accepts_code(person.credentials, code):
            raise InvalidInput("code", "is wrong")
        await self._attempts.succeeded(attempt)
        await self._store.disable(person.credentials.account, address)
