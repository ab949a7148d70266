"""Asks Redis about many requests at once: whatever came while it was away with the ones before."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redis.exceptions import ResponseError

from meshkit.redis import Redis
from meshkit.settings import ServiceSettings

_MOST: Final = 100
"""Questions in one run of the script: Redis does nothing else for a millisecond or two."""

Answer = list[int]


def patient_redis(settings: ServiceSettings) -> Redis:
    """Returns the Redis that counts.

    It is waited for longer than a cache would be, since what is not counted passes: a process that is too busy to read an
    answer would take it for late. It is left alone sooner, too: every call waits for it.
    """
    return Redis(settings, timeout_seconds=0.5, failures=2)


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

    The driver takes its time for a command, however much that asks; see docs/limits.md for the measurement.
    """

    def __init__(self, redis: Redis, script: str) -> None:
        """Takes where to run what."""
        self._redis = redis
        self._run = redis.client.register_script(script)
        self._waiting: deque[tuple[Question, asyncio.Future[Answer]]] = deque()
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """Returns the answer to a question.

        Raises:
            Unavailable: Redis does not answer.
            redis.RedisError: It refused the question.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await answer

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                asked = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST))]
                try:
                    replies = await self._answers([question for question, _ in asked])
                except Exception as error:  # noqa: BLE001 -- whatever it is, those who wait must be told
                    replies = [error] * len(asked)
                for (_, answer), reply in zip(asked, replies, strict=True):
                    _settle(answer, reply)
        finally:
            self._asking = None

    async def _answers(self, questions: Sequence[Question]) -> list[Answer | Exception]:
        keys = [key for each in questions for key in each.keys]
        arguments = [word for each in questions for word in (len(each.keys), *each.arguments)]
        replies = await self._redis.call(self._run, keys, arguments)
        return [each if isinstance(each, list) else ResponseError(_text(each)) for each in replies]


def _settle(answer: asyncio.Future[Answer], reply: Answer | Exception) -> None:
    if answer.done():  # its caller went away
        return
    if isinstance(reply, Exception):
        answer.set_exception(reply)
    else:
        answer.set_result(reply)


def _text(refusal: bytes) -> str:
    return refusal.decode(errors="replace")
