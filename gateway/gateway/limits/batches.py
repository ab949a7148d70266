"""Asks Redis about many requests at once: whatever came while it was away with the ones before."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import hiredis
import structlog
from redis.exceptions import NoScriptError, ResponseError

from meshkit.redis import Redis
from meshkit.settings import ServiceSettings

_MOST: Final = 100
"""Questions in one run of the script: Redis does nothing else for a millisecond or two."""
_APART_SECONDS: Final = 0.001
"""Of a run and the one before that was for several: calls that come in larger groups cost everyone on their way less, and who
comes alone waits for nobody."""

_LOG: Final = structlog.get_logger(__name__)

Answer = list[int]
Tell = Callable[[Answer | Exception], None]
"""Is told the answer to a question, or why there is none: `Unavailable` when Redis does not answer, its own error when it
refused the question."""


def patient_redis(settings: ServiceSettings, *, patience_seconds: float) -> Redis:
    """Returns the Redis that counts.

    It is waited for longer than a cache would be, since what is not counted passes: a process that is too busy to read an
    answer would take it for late. It is left alone sooner, too: every call waits for it.
    """
    return Redis(settings, timeout_seconds=patience_seconds, failures=2)


@dataclass(frozen=True, slots=True)
class Question:
    """What the script is asked about one request, in the form that it takes.

    Attributes:
        keys: Its keys.
        arguments: Its arguments.
    """

    keys: tuple[str, ...]
    arguments: tuple[str | int, ...]


class Batches:
    """Runs one script, which answers any number of questions, so that few runs serve many callers.

    It has a connection of the driver's to itself: taking one from the pool and giving it back for each run was measured to
    cost more than the run; see docs/limits.md.
    """

    def __init__(self, redis: Redis, script: str, *, patience_seconds: float) -> None:
        """Takes where to run what, and how long a run may take."""
        self._patience_seconds = patience_seconds
        self._redis = redis
        self._script = script
        self._sha = hashlib.sha1(script.encode()).hexdigest()  # noqa: S324 -- Redis's name for a script
        self._connection = redis.client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # the package types it so
        # One time limit for a whole run, instead of the driver's for each write and read, which cost as much as they do.
        self._connection.socket_timeout = None
        self._waiting: deque[tuple[Question, Tell]] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self._many = False

    def ask(self, question: Question, tell: Tell) -> None:
        """Asks a question. Whoever no longer wants the answer is told all the same: it is counted."""
        self._waiting.append((question, tell))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())

    async def close(self) -> None:
        """Closes the connection."""
        await self._connection.disconnect()

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                asked = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST))]
                answers: Sequence[Answer | Exception]
                try:
                    answers = await self._redis.call(self._answers, [question for question, _ in asked])
                except Exception as error:  # noqa: BLE001 -- whatever it is, those who wait must be told
                    answers = [error] * len(asked)
                for (_, tell), answer in zip(asked, answers, strict=True):
                    try:
                        tell(answer)
                    except Exception:  # noqa: BLE001 -- the others wait for theirs
                        _LOG.exception("an answer of Redis's could not be told")
        finally:
            self._asking = None

    async def _gather(self) -> None:
        """Waits for more questions, unless the last run was long ago or for one alone."""
        clock = asyncio.get_running_loop().time
        if self._many and (left_seconds := self._asked_at + _APART_SECONDS - clock()) > 0:
            await asyncio.sleep(left_seconds)
        self._many, self._asked_at = len(self._waiting) > 1, clock()

    async def _answers(self, questions: Sequence[Question]) -> list[Answer | Exception]:
        keys = [key for each in questions for key in each.keys]
        arguments = [word for each in questions for word in (len(each.keys), *each.arguments)]
        words = (len(keys), *keys, *arguments)
        async with asyncio.timeout(self._patience_seconds):
            try:
                replies = await self._run("EVALSHA", self._sha, *words)
            except NoScriptError:
                # Learnt and run in one step: between two, another could make Redis forget it again.
                replies = await self._run("EVAL", self._script, *words)
        return [each if isinstance(each, list) else ResponseError(_text(each)) for each in replies]

    async def _run(self, *command: str | int) -> Any:
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # any number of words, not just one
        await self._connection.send_packed_command(packed)
        return await self._connection.read_response()


def _text(refusal: bytes) -> str:
    return refusal.decode(errors="replace")
