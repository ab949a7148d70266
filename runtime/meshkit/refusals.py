"""Refusals of known callers, on their way to the audit log of the caller's tenant.

The request path notes each here, in memory; a task hands them to a stream in Redis, from which the auth service enters
them. Refusals are counted together by caller and RPC: the first is handed over within a second, those that follow it once
in a while, so that a flood of them is a few entries with large counts. What is kept is bounded, by tenant and in all.

While Redis is away everything is kept and counted on. What a process holds when it is killed is lost: its log has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import prometheus_client
import structlog
from pydantic import TypeAdapter
from redis import asyncio as driver
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from meshkit.context import address_of
from meshkit.health import State

if TYPE_CHECKING:
    import grpc

    from meshkit.context import RequestContext
    from meshkit.errors import PermissionDenied
    from meshkit.settings import ServiceSettings

STREAM: Final = "geomesh:refusals"
"""Entries wait here for the auth service, each with one field, `FIELD`."""
FIELD: Final = b"refusal"
MOST_WAITING: Final = 50_000
"""Entries that the stream holds, roughly; beyond that the oldest are lost. They take some 20 MB."""
MOST_KEPT: Final = 2_000
"""Pairs of a caller and an RPC that a process counts at one time."""
MOST_OF_A_TENANT: Final = 100
"""How many of them may be of one tenant, so that none crowds out the others."""

_MOST_AT_ONCE: Final = 200
_MOST_CHARACTERS: Final = 256
_EVERY_SECONDS: Final = 1.0
_TIMEOUT_SECONDS: Final = 1.0
_FAILURES: Final = (RedisError, OSError, TimeoutError)
_UNCOUNTED = prometheus_client.Counter(
    "geomesh_refusals_uncounted",
    "Refusals of known callers that the audit log is not told of, because of too many tenants.",
)
_LOG: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Refusals of one caller by one RPC in a stretch of time.

    Attributes:
        refusal_id: A UUID of its own, by which it is known when it is read twice.
        tenant: The caller's.
        subject: The caller; empty where those beyond the bounds are counted together.
        client_id: What got the caller's token, of the first of them.
        service: Which service refused.
        method: The RPC's full name; empty with `subject`.
        reason: Why, of the first of them: a `meshkit.errors.Reason`.
        address: The client's address, of the first of them.
        request_id: The first of them.
        count: How many there were.
        first_time: When the first was, in Unix seconds.
        last_time: When the last was, in Unix seconds.
    """

    refusal_id: uuid.UUID
    tenant: str
    subject: str
    client_id: str
    service: str
    method: str
    reason: str
    address: str
    request_id: str
    count: int
    first_time: float
    last_time: float


_TRAVELLING: Final = TypeAdapter(Refusal)


def read_refusal(text: bytes) -> Refusal:
    """Reads what came through the stream.

    Raises:
        ValueError: It is something else.
    """
    return _TRAVELLING.validate_json(text)


@dataclass(slots=True)
class _Tally:
    """What is counted of one caller and RPC.

    Attributes:
        due: When it may next be handed over, on :func:`time.monotonic`'s clock.
        first: The first of those counted; None where there is none.
    """

    due: float = 0.0
    count: int = 0
    last_time: float = 0.0
    first: Refusal | None = None


_Key = tuple[str, str, str]


class Refusals:
    """Counts refusals and hands them over. It is a :class:`meshkit.health.Dependency`, and not a required one."""

    name: Final = "refusals"
    required: Final = False
    breaker: Final = ""

    def __init__(self, settings: ServiceSettings) -> None:
        """Prepares without connecting.

        Args:
            settings: The service, the address of Redis, and how long refusals are counted together.
        """
        self._service = settings.service
        self._url = settings.redis_url.get_secret_value()
        self._together_seconds = settings.refusal_audit_seconds
        self._tallies: dict[_Key, _Tally] = {}
        self._of_tenant: Counter[str] = Counter()
        self._outgoing: list[Refusal] = []
        self._state = State.OK
        self._client: Any = None
        self._flushing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    @property
    def state(self) -> State:
        """DOWN while Redis does not take what there is, DEGRADED while nobody reads it and it is lost, else OK."""
        return self._state

    def note(self, call: RequestContext, error: PermissionDenied, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Counts the refusal of a call. That of a caller without a token is nobody's, and so in no tenant's log."""
        caller = call.identity
        if not caller.subject:
            return
        now = time.time()
        key = (caller.tenant, caller.subject, call.method)
        tally = self._tallies.get(key)
        if tally is None:
            key, tally = self._begin(key)
            if tally is None:
                _UNCOUNTED.inc()
                return
        if tally.first is None:
            tally.first = Refusal(
                refusal_id=uuid.uuid4(),
                tenant=_bounded(caller.tenant),
                subject=_bounded(key[1]),
                client_id=_bounded(caller.client_id) if key[1] else "",
                service=self._service,
                method=key[2],
                reason=error.reason.value,
                address=address_of(context),
                request_id=_bounded(call.request_id),
                count=1,
                first_time=now,
                last_time=now,
            )
        tally.count += 1
        tally.last_time = now

    async def start(self) -> None:
        """Begins to hand over, in the background."""
        self._client = driver.Redis.from_url(
            self._url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            client_name=f"geomesh-{self._service}-refusals",
        )
        self._flushing = asyncio.create_task(self._flush_for_ever(), name="hand refusals over")

    async def close(self) -> None:
        """Hands over what is left."""
        # Not cancelled: a command that is cut off leaves its connection behind.
        self._closing.set()
        if self._flushing is not None:
            await self._flushing
        if self._client is not None:
            while self._tallies or self._outgoing:
                await self.flush(until=math.inf)
                if self._outgoing:
                    _LOG.warning("refusals are lost to the audit log", entries=len(self._outgoing) + len(self._tallies))
                    break
            await self._client.aclose()

    async def flush(self, *, until: float | None = None) -> None:
        """Hands over what is due; that Redis does not answer is no failure.

        What Redis may have taken without saying so is handed over again as it is: whoever reads it twice knows it again.

        Args:
            until: When it is due at the latest, on :func:`time.monotonic`'s clock; None for now.
        """
        if not self._outgoing:
            self._outgoing = self._take_due(time.monotonic() if until is None else until)
        if not self._outgoing:
            self._enter(State.OK)
            return
        try:
            async with asyncio.timeout(2 * _TIMEOUT_SECONDS):
                pipeline = self._client.pipeline(transaction=False)
                for each in self._outgoing:
                    pipeline.xadd(STREAM, {FIELD: _TRAVELLING.dump_json(each)}, maxlen=MOST_WAITING)
                pipeline.xlen(STREAM)
                *_, waiting = await pipeline.execute()
        except _FAILURES as error:
            self._enter(State.DOWN, cause=repr(error))
        else:
            self._outgoing = []
            self._enter(State.OK if waiting < MOST_WAITING else State.DEGRADED, waiting=waiting)

    def _begin(self, key: _Key) -> tuple[_Key, _Tally | None]:
        """Returns the tally of a caller and RPC that were not there before: that of their tenant where there are many."""
        tenant = key[0]
        if len(self._tallies) >= MOST_KEPT or self._of_tenant[tenant] >= MOST_OF_A_TENANT:
            key = (tenant, "", "")
            if (kept := self._tallies.get(key)) is not None:
                return key, kept
            if len(self._tallies) >= 2 * MOST_KEPT:
                return key, None
        tally = self._tallies[key] = _Tally()
        self._of_tenant[tenant] += 1
        return key, tally

    def _take_due(self, now: float) -> list[Refusal]:
        """Returns what there is to hand over, and forgets callers who were refused nothing for a while."""
        taken: list[Refusal] = []
        for key, tally in tuple(self._tallies.items()):
            if tally.due > now:
                continue
            if (first := tally.first) is None:
                del self._tallies[key]
                self._of_tenant[key[0]] -= 1
                if not self._of_tenant[key[0]]:
                    del self._of_tenant[key[0]]
                continue
            taken.append(replace(first, count=tally.count, last_time=tally.last_time))
            self._tallies[key] = _Tally(due=now + self._together_seconds)
            if len(taken) == _MOST_AT_ONCE:
                break
        return taken

    async def _flush_for_ever(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._closing.wait()
                    return
            try:
                await self.flush()
            except Exception:  # noqa: BLE001 -- no defect may end it
                _LOG.exception("refusals were not handed over")

    def _enter(self, state: State, **details: object) -> None:
        if state is not self._state:
            tell = _LOG.info if state is State.OK else _LOG.warning
            tell("handing refusals over to the audit log", state=state.name, **details)
        self._state = state


def _bounded(text: str) -> str:
    """Returns what of a text may be kept and sent; what another issuer's token says may be long, and no UTF-8."""
    return text[:_MOST_CHARACTERS].encode(errors="replace").decode()
