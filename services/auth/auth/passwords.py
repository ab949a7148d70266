"""Passwords: hashed with Argon2id, on threads of their own and never more than the machine can bear."""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, TypeVar

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from meshkit.errors import Reason, ResourceExhausted

ResultT = TypeVar("ResultT")

_RETRY_SECONDS: Final = 1.0


def cost(memory_kib: int, passes: int, lanes: int) -> Parameters:
    """Returns the parameters of Argon2id that cost so much, with RFC 9106's lengths of salt and tag."""
    return replace(RFC_9106_LOW_MEMORY, memory_cost=memory_kib, time_cost=passes, parallelism=lanes)


class Passwords:
    """Makes and checks password hashes.

    The parameters are the second recommendation of RFC 9106, section 4: 3 passes over 64 MiB in 4 lanes, unless
    `python -m auth.calibrate` found others for the machine. Checking a password is meant to be costly, so what does not
    fit the threads and a short queue is refused.
    """

    def __init__(self, *, threads: int, waiting: int, parameters: Parameters = RFC_9106_LOW_MEMORY) -> None:
        """Starts no thread yet.

        Args:
            threads: How many passwords are hashed at one time.
            waiting: How many may wait beside them.
            parameters: The cost of a hash.
        """
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._most = threads + waiting
        self._in_work: set[Future[Any]] = set()
        # Nobody's: it is checked where there is no account, so that its absence takes as long as a wrong password.
        self._decoy = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """Returns the hash of a password with a salt of its own.

        Raises:
            ResourceExhausted: Too many passwords are in work.
        """
        return await self._run(lambda: self._hasher.hash(_normalize(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Tells whether the password is the one that was hashed; None takes as long and is never right.

        Raises:
            ResourceExhausted: Too many passwords are in work.
        """
        matches = await self._run(lambda: self._matches(password_hash or self._decoy, password))
        return matches and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Tells whether a hash was made at another cost than new ones are."""
        return self._hasher.check_needs_rehash(password_hash)

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Does other costly work on the same threads.

        Raises:
            ResourceExhausted: Too many passwords are in work.
        """
        return await self._run(work)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, _normalize(password))
        except VerifyMismatchError:
            return False

    async def _run(self, work: Callable[[], ResultT]) -> ResultT:
        # By the threads' own futures: a caller who gave up goes away, but the hash goes on and takes its core until it
        # ends. Counting callers would let anyone who hangs up at once fill every core.
        self._in_work = {future for future in self._in_work if not future.done()}
        if len(self._in_work) >= self._most:
            raise ResourceExhausted(
                Reason.OVERLOADED, "too many passwords are being checked", retry_after_seconds=_RETRY_SECONDS
            )
        future = self._threads.submit(work)
        self._in_work.add(future)
        return await asyncio.wrap_future(future)


def _normalize(password: str) -> str:
    """Returns the one spelling of what two keyboards may send in different code points (RFC 8265, section 4.2)."""
    return unicodedata.normalize("NFC", password)
