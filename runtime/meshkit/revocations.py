"""Tokens that ended before their time: a copy of what the auth service publishes in Redis, renewed in the background.

The truth is a table of the auth service, which copies it to Redis each second with `PUBLISH`; every process asks Redis
each second with `POLL` for what has changed since it last asked. So a revocation is known everywhere after about two
seconds, and no request waits for it: verified tokens that are remembered are looked through when the copy changes, not
when they are used.

When Redis is away, the last copy goes on counting and new revocations are not learned, so that an access token lives on
until it expires by itself; sessions cannot be renewed even then, because that is decided by the database.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import structlog
from prometheus_client import Gauge
from redis import asyncio as driver
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from meshkit.health import State
from meshkit.identity import Identity
from meshkit.settings import ServiceSettings

KEYS: Final = tuple(f"geomesh:revocations:{part}" for part in ("state", "entries", "log", "ends"))
"""What the auth service publishes: a hash with the epoch and revision, one of the entries, and sorted sets of their names
by revision and by end. Apart from `PUBLISH` and `POLL` nothing touches them."""

PUBLISH: Final = """
local state, entries, log, ends = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, epoch, first = ARGV[1], ARGV[2], ARGV[3]
if first == '1' then
  redis.call('DEL', state, entries, log, ends)
  redis.call('HSET', state, 'epoch', epoch, 'revision', 0, 'dropped', 0)
elseif redis.call('HGET', state, 'epoch') ~= epoch then
  return 0
end
for at = 4, #ARGV, 4 do
  local name, changed, from, to = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local known = redis.call('HGET', entries, name)
  if not known or tonumber(string.match(known, '^%S+')) < tonumber(changed) then
    local revision = redis.call('HINCRBY', state, 'revision', 1)
    redis.call('HSET', entries, name, changed .. ' ' .. from .. ' ' .. to)
    redis.call('ZADD', log, revision, name)
    redis.call('ZADD', ends, to, name)
  end
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now)) do
  local revision = tonumber(redis.call('ZSCORE', log, name))
  if revision > tonumber(redis.call('HGET', state, 'dropped')) then
    redis.call('HSET', state, 'dropped', revision)
  end
  redis.call('HDEL', entries, name)
  redis.call('ZREM', log, name)
  redis.call('ZREM', ends, name)
end
return 1
"""
"""Takes the time, the publisher's epoch, 1 for all that there is or 0 for changes, and for each entry its name, when it
changed, before when issued tokens are refused, and when it may be forgotten, in Unix seconds. Returns 0 when Redis does
not hold this epoch, because it lost its data: then all must be published again. An older state never replaces a newer."""

POLL: Final = """
local state, entries, log = KEYS[1], KEYS[2], KEYS[3]
local known = redis.call('HMGET', state, 'epoch', 'revision', 'dropped')
if not known[1] then return {'', '0', '0'} end
local after, whole = ARGV[2], '0'
if known[1] ~= ARGV[1] or tonumber(after) < tonumber(known[3]) then after, whole = '0', '1' end
local reply = {known[1], known[2], whole}
if after == known[2] and whole == '0' then return reply end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', log, '(' .. after, '+inf')) do
  reply[#reply + 1] = name
  reply[#reply + 1] = redis.call('HGET', entries, name)
end
return reply
"""
"""Takes the epoch and revision that the caller has, and returns the present ones, whether what follows is everything, and
the names and values of the entries that have changed."""

_TIMEOUT_SECONDS: Final = 1.0
_AGE = Gauge("geomesh_revocations_age_seconds", "Time since this process last heard which tokens were revoked.")
_HELD = Gauge("geomesh_revocations_held", "Revocations that this process holds.")
_LOG: Final = structlog.get_logger(__name__)


class Kind(StrEnum):
    """What is revoked."""

    TOKEN = "token"  # noqa: S105 -- the name of a kind
    SESSION = "session"
    SUBJECT = "subject"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Revocation:
    """Tokens that are refused although they have not expired.

    Attributes:
        kind: What they have in common.
        name: Its value: the `jti`, the `sid`, the `sub` or the `tenant` of the tokens.
        issued_before: Those issued earlier are refused, in Unix seconds; infinite for all, until it changes.
        until: When the last of them has expired, so that the entry may be forgotten; infinite for never.
        changed_at: When it was decided, in Unix seconds; of two entries with one name the later one counts.
    """

    kind: Kind
    name: str
    issued_before: float
    until: float
    changed_at: float = 0.0

    @property
    def key(self) -> str:
        """The entry's name in Redis."""
        return f"{self.kind} {self.name}"


class RevokedTokens:
    """Knows which tokens are revoked. It is a :class:`meshkit.health.Dependency`, and not a required one."""

    name: Final = "revocations"
    required: Final = False
    breaker: Final = ""

    def __init__(self, settings: ServiceSettings, *, clock: Callable[[], float] = time.time) -> None:
        """Prepares without connecting.

        Args:
            settings: The address of Redis, and how often it is asked.
            clock: The time in Unix seconds.
        """
        self._url = settings.redis_url.get_secret_value()
        self._client_name = f"geomesh-{settings.service}-revocations"
        self._every_seconds = settings.revocation_poll_seconds
        self._clock = clock
        self._issued_before: dict[Kind, dict[str, tuple[float, float]]] = {kind: {} for kind in Kind}
        self._listeners: list[Callable[[], object]] = []
        self._epoch, self._revision = "", 0
        self._heard_at = time.monotonic()
        self._state = State.DEGRADED
        self._client: Any = None
        self._polling: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    @property
    def state(self) -> State:
        """OK when Redis told what it knows, DOWN while it does not answer, DEGRADED until it was first asked."""
        return self._state

    def listen(self, listener: Callable[[], object]) -> None:
        """Has `listener` called after something was revoked."""
        self._listeners.append(listener)

    def covers(self, identity: Identity) -> bool:
        """Tells whether the token that proved `identity` is revoked."""
        kinds = self._issued_before
        return (
            _is_covered(kinds[Kind.TOKEN], identity.token_id, identity.issued_at)
            or _is_covered(kinds[Kind.SESSION], identity.session_id, identity.issued_at)
            or _is_covered(kinds[Kind.SUBJECT], identity.subject, identity.issued_at)
            or _is_covered(kinds[Kind.TENANT], identity.tenant, identity.issued_at)
        )

    def adopt(self, revocations: Iterable[Revocation], *, whole: bool = False) -> None:
        """Takes entries over; `whole` says that there are no others."""
        changed = list(revocations)
        if whole:
            for kind in Kind:
                self._issued_before[kind].clear()
        for each in changed:
            self._issued_before[each.kind][each.name] = (each.issued_before, each.until)
        now = self._clock()
        for entries in self._issued_before.values():
            for name in [name for name, (_, until) in entries.items() if until <= now]:
                del entries[name]
        _HELD.set(sum(map(len, self._issued_before.values())))
        if changed:
            for listener in self._listeners:
                listener()

    async def start(self) -> None:
        """Asks once, so that a process that was just started does not take what was revoked; then in the background."""
        self._client = driver.Redis.from_url(
            self._url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            client_name=self._client_name,
            decode_responses=True,
        )
        _AGE.set_function(lambda: time.monotonic() - self._heard_at)
        await self.poll()
        self._polling = asyncio.create_task(self._poll_for_ever(), name="poll revocations")

    async def close(self) -> None:
        """Asks no more."""
        # Not cancelled: a command that is cut off leaves its connection behind.
        self._closing.set()
        if self._polling is not None:
            await self._polling
        if self._client is not None:
            await self._client.aclose()

    async def poll(self) -> None:
        """Asks Redis for what has changed; that it does not answer is no failure."""
        try:
            async with asyncio.timeout(2 * _TIMEOUT_SECONDS):
                reply = await self._client.eval(POLL, len(KEYS), *KEYS, self._epoch, self._revision)
            epoch, revision, whole, *pairs = reply
            self.adopt(map(_read, pairs[::2], pairs[1::2]), whole=whole == "1")
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            self._enter(State.DOWN, repr(error))
        else:
            # A Redis that has just lost everything says nothing: what we know stays true until it is filled again.
            if epoch:
                self._epoch, self._revision = epoch, int(revision)
            self._heard_at = time.monotonic()
            self._enter(State.OK)

    async def _poll_for_ever(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_seconds):
                    await self._closing.wait()
                    return
            try:
                await self.poll()
            except Exception:  # noqa: BLE001 -- no defect of a listener may end the watch
                _LOG.exception("revocations were not taken over")

    def _enter(self, state: State, cause: str = "") -> None:
        if state is State.DOWN and self._state is not State.DOWN:
            _LOG.warning("new revocations are not learned, because Redis does not answer", cause=cause)
        elif state is State.OK and self._state is State.DOWN:
            _LOG.info("new revocations are learned again")
        self._state = state


def publication(revocations: Sequence[Revocation], *, now: float, epoch: str, whole: bool) -> list[str]:
    """Returns the arguments of `PUBLISH`."""
    arguments = [repr(now), epoch, "1" if whole else "0"]
    for each in revocations:
        arguments += [each.key, repr(each.changed_at), repr(each.issued_before), repr(each.until)]
    return arguments


def _is_covered(entries: Mapping[str, tuple[float, float]], name: str, issued_at: float) -> bool:
    found = entries.get(name)
    return found is not None and issued_at < found[0]


def _read(key: str, value: str) -> Revocation:
    kind, _, name = key.partition(" ")
    changed_at, issued_before, until = map(float, value.split(" "))
    return Revocation(Kind(kind), name, issued_before, until, changed_at)
