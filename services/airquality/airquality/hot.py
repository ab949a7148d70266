"""Which questions are asked often, learned from those that come, and their answers renewed before they expire."""

import asyncio
import heapq
import math
import time
from collections.abc import Awaitable
from typing import Final, NamedTuple

import structlog
from prometheus_client import Counter, Gauge

from meshkit.cache import AtOnce, Cache, Compute
from meshkit.health import State

_ASKED = Counter("geomesh_airquality_replies", "Questions that a cached reply may answer, by kind.", ["kind"])
_COMPUTED = Counter("geomesh_airquality_replies_computed", "Replies that had to be computed, by kind.", ["kind"])
_RENEWED = Counter("geomesh_airquality_replies_renewed", "Replies renewed before they expired, by kind.", ["kind"])
_HOT = Gauge("geomesh_airquality_hot_questions", "Questions that are kept warm.")
_LOG = structlog.get_logger(__name__)

_MOST_KNOWN: Final = 10_000


class _Question:
    __slots__ = ("compute", "key", "kind", "last", "score", "ttl_seconds")

    def __init__(self, kind: str, key: str, compute: Compute, ttl_seconds: float) -> None:
        self.kind = kind
        self.key = key
        self.compute = compute
        self.ttl_seconds = ttl_seconds
        self.score = 0.0
        self.last = time.monotonic()


class Warmth(NamedTuple):
    """How many questions are kept warm, and when.

    Attributes:
        most: Questions kept warm at most.
        least_score: How often one must have been asked lately; a question counts half after `half_life_seconds`.
        half_life_seconds: See there.
        every_seconds: Time between two looks.
        lead_seconds: How long before it expires a reply is renewed.
    """

    most: int
    least_score: float
    half_life_seconds: float
    every_seconds: float
    lead_seconds: float


class Replies:
    """Cached replies of which the hot ones never grow old while anyone asks; a dependency of the service."""

    name = "hot-replies"
    required = False
    breaker = ""
    state = State.OK

    def __init__(self, cache: Cache, warmth: Warmth) -> None:
        """Makes it.

        Args:
            cache: Where replies are kept.
            warmth: What is kept warm.
        """
        self._cache = cache
        self._warmth = warmth
        self._questions: dict[str, _Question] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to keep what is hot warm."""
        self._task = asyncio.create_task(self._keep_warm())

    async def close(self) -> None:
        """Stops."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def get(
        self, kind: str, key: str, compute: Compute, ttl_seconds: float, at_once: AtOnce | None = None
    ) -> Awaitable[bytes]:
        """Returns the reply to a question.

        Args:
            kind: Of the question, for the metrics.
            key: What the reply depends on, all of it, the tenant too.
            compute: Makes it. It may be called later without a caller, and must not depend on who calls.
            ttl_seconds: How long the reply is fresh.
            at_once: Makes it without waiting, or None where it cannot.
        """
        _ASKED.labels(kind).inc()
        question = self._questions.get(key)
        if question is None:
            question = self._learn(kind, key, compute, ttl_seconds)
        now = time.monotonic()
        question.score = question.score * math.exp2((question.last - now) / self._warmth.half_life_seconds) + 1.0
        question.last = now
        if at_once is None:
            return self._cache.get_or_compute(key, question.compute, ttl_seconds)

        def counted() -> bytes | None:
            value = at_once()
            if value is not None:
                _COMPUTED.labels(kind).inc()
            return value

        return self._cache.get_or_compute(key, question.compute, ttl_seconds, at_once=counted)

    def hot(self) -> list[str]:
        """Returns the keys that are kept warm, the hottest first."""
        return [question.key for question in self._hottest()]

    async def renew(self) -> int:
        """Renews the hot replies that expire soon, and returns how many."""
        renewed = 0
        hottest = self._hottest()
        _HOT.set(len(hottest))
        for question in hottest:
            try:
                if await self._cache.renew(
                    question.key, question.compute, question.ttl_seconds, lead_seconds=self._warmth.lead_seconds
                ):
                    _RENEWED.labels(question.kind).inc()
                    renewed += 1
            except Exception as error:  # noqa: BLE001 -- the reply that is there goes on to be given
                _LOG.warning("a hot reply was not renewed", key=question.key, exc_info=error)
        return renewed

    def _learn(self, kind: str, key: str, compute: Compute, ttl_seconds: float) -> _Question:
        computed = _COMPUTED.labels(kind)

        async def counted() -> bytes:
            computed.inc()
            return await compute()

        if len(self._questions) >= _MOST_KNOWN:
            self._forget()
        question = self._questions[key] = _Question(kind, key, counted, ttl_seconds)
        return question

    def _forget(self) -> None:
        """Forgets the colder half, so that each question costs a constant on average."""
        kept = heapq.nlargest(_MOST_KNOWN // 2, self._questions.values(), key=self._score)
        self._questions = {question.key: question for question in kept}

    def _hottest(self) -> list[_Question]:
        found = heapq.nlargest(self._warmth.most, self._questions.values(), key=self._score)
        return [question for question in found if self._score(question) >= self._warmth.least_score]

    def _score(self, question: _Question) -> float:
        return question.score * math.exp2((question.last - time.monotonic()) / self._warmth.half_life_seconds)

    async def _keep_warm(self) -> None:
        while True:
            await asyncio.sleep(self._warmth.every_seconds)
            await self.renew()
