"""Whether a request may pass, and what its caller is told."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from typing import Final, NamedTuple

import structlog
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.limits.batches import Answer, Batches, Question
from gateway.limits.plans import Charge, Limit, Plans
from meshkit.errors import DOMAIN, Reason, Unavailable

SCRIPT: Final = resources.files("gateway.limits").joinpath("window.lua").read_text()
_REMEMBERED: Final = 16_384
_COMPLAIN_SECONDS: Final = 10.0
_LOG: Final = structlog.get_logger(__name__)


class Decision(NamedTuple):
    """The answer to one request.

    Attributes:
        allowed: Whether it may pass.
        limit: The limit that is nearest to its end.
        most: How many that limit allows this caller.
        remaining: How many of them are left.
        reset_seconds: Time until more are left.
    """

    allowed: bool
    limit: Limit
    most: int
    remaining: int
    reset_seconds: int

    def message(self) -> str:
        """Returns what a person is told who was refused."""
        return f"the limit of {self.most} {self.limit.name} is reached; try again in {self.reset_seconds} s"

    def status(self) -> bytes:
        """Returns the refusal as gRPC's details hold it."""
        status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message=self.message())
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=Reason.RATE_LIMITED, domain=DOMAIN))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=self.reset_seconds)))
        serialized: bytes = status.SerializeToString(deterministic=True)
        return serialized


class Limiter:
    """Counts requests in Redis; several of them count together."""

    def __init__(self, plans: Plans, batches: Batches) -> None:
        """Takes the limits and what asks where they are counted."""
        self._plans = plans
        self._batches = batches
        self._complain_again_at = 0.0
        # Nearly every request is of someone who called a moment ago.
        self._prepared = lru_cache(maxsize=_REMEMBERED)(self._prepare)

    def decide(self, facts: tuple[tuple[str, str], ...], tell: Callable[[Decision | None], None]) -> None:
        """Counts a request and tells whether it may pass; None when that cannot be said.

        Args:
            facts: What the edge says of it; see :meth:`Plans.charge`.
            tell: Is told, later.

        Raises:
            ValueError: The facts name nobody.
        """
        charge, question = self._prepared(facts)
        self._batches.ask(question, lambda answer: tell(self._decision(charge, answer)))

    def _decision(self, charge: Charge, answer: Answer | Exception) -> Decision | None:
        if isinstance(answer, Exception):
            if not isinstance(answer, Unavailable):  # which meshkit tells aloud
                self._complain(answer)
            return None
        allowed, place, most, remaining, reset_ms = answer
        return Decision(bool(allowed), charge.limits[place - 1], most, remaining, math.ceil(reset_ms / 1000))

    def _complain(self, error: Exception) -> None:
        """Says that Redis answers and does not count, such as one that is full or read-only; not at each call."""
        if time.monotonic() >= self._complain_again_at:
            self._complain_again_at = time.monotonic() + _COMPLAIN_SECONDS
            _LOG.error("Redis refuses to count, calls pass", cause=str(error))

    def _prepare(self, facts: tuple[tuple[str, str], ...]) -> tuple[Charge, Question]:
        charge = self._plans.charge(dict(facts))
        arguments = (word for each in charge.limits for word in (each.most, each.window_ms, each.field))
        return charge, Question((charge.own_limits, *charge.counters), tuple(arguments))
