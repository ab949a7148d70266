"""Slows down who guesses: so many attempts at once on an account and from an address, then one at a time.

An account is throttled by the address that was typed, whether or not there is an account, so that both look the same. An
attacker can use an account's attempts up, and so keep its owner waiting; whoever has signed in to it from the same network
lately is counted apart, and is not held up. Attempts that succeed are given back. One that is refused counts for nothing,
so it makes nobody wait longer.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter
from redis.exceptions import RedisError

from auth.caller import network_of
from meshkit.errors import Reason, ResourceExhausted, Unavailable
from meshkit.redis import Redis

_PREFIX: Final = "geomesh:auth:throttle"
_KNOWN_SECONDS: Final = 30 * 86_400
_MOST_LOCAL: Final = 20_000
_MICROSECONDS: Final = 1_000_000
_REFUSED = Counter("geomesh_auth_throttled", "Attempts that were refused because there were too many.", ["action"])
_WITHOUT_REDIS = Counter("geomesh_auth_throttle_local", "Attempts counted in this process, for Redis did not answer.")

# A bucket is the time at which it will be full again (GCRA), in microseconds of Redis's own clock. KEYS: the account's
# bucket, its bucket for this network, the mark of a network that is known, the network's bucket. ARGV: interval and burst
# of an account and of a network. Returns how long to wait, whether the network is known, and whether a refusal is the
# first within a minute.
_TAKE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local known = redis.call('EXISTS', KEYS[3])
local buckets = {{known == 1 and KEYS[2] or KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])},
                 {KEYS[4], tonumber(ARGV[3]), tonumber(ARGV[4])}}
local wait, full = 0, nil
for _, bucket in ipairs(buckets) do
  bucket[4] = math.max(tonumber(redis.call('GET', bucket[1]) or 0), now) + bucket[2]
  local longer = bucket[4] - bucket[2] * bucket[3] - now
  if longer > wait then wait, full = longer, bucket[1] end
end
if wait > 0 then
  local first = redis.call('SET', full .. ':refused', 1, 'NX', 'EX', 60)
  return {wait, known, first and 1 or 0}
end
for _, bucket in ipairs(buckets) do
  redis.call('SET', bucket[1], string.format('%.0f', bucket[4]), 'PX', math.ceil((bucket[4] - now) / 1000))
end
return {0, known, 0}
"""

# KEYS: the buckets that were taken from, and the mark to set. ARGV: their intervals, and how long the mark holds.
_GIVE_BACK: Final = """
for i = 1, 2 do
  local full = tonumber(redis.call('GET', KEYS[i]) or 0) - tonumber(ARGV[i])
  local left = redis.call('PTTL', KEYS[i]) - math.floor(tonumber(ARGV[i]) / 1000)
  if left > 0 then redis.call('SET', KEYS[i], string.format('%.0f', full), 'PX', left) else redis.call('DEL', KEYS[i]) end
end
redis.call('SET', KEYS[3], 1, 'EX', ARGV[3])
return 0
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many attempts at once, and then one in each interval."""

    burst: int
    interval_seconds: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that is under way."""

    account_bucket: str
    address_bucket: str
    mark: str


class Throttle:
    """Counts one kind of attempts, in Redis; while that is away, each process counts its own."""

    def __init__(self, redis: Redis, action: str, *, account: Rate, address: Rate) -> None:
        """Counts nothing yet.

        Args:
            redis: Where all replicas count.
            action: What is attempted; a name of its own for each kind.
            account: How often on one account.
            address: How often from one network.
        """
        self._redis = redis
        self._action = action
        self._account = account
        self._address = address
        self._take = redis.client.register_script(_TAKE)
        self._give_back = redis.client.register_script(_GIVE_BACK)
        self._local = _Local()

    async def take(
        self, account: str, address: str, *, first_refused: Callable[[], Awaitable[None]] | None = None
    ) -> Attempt:
        """Counts an attempt.

        Args:
            account: What names the account, as it was typed.
            address: Where the attempt comes from.
            first_refused: What to do when one is refused and none was within the minute before.

        Raises:
            ResourceExhausted: There were too many on the account, or too many from there.
        """
        # Hashed: what people type into a form need not lie about in Redis.
        digest = hashlib.sha256(account.encode()).hexdigest()[:32]
        network = network_of(address)
        base = f"{_PREFIX}:{self._action}"
        own, mark = f"{base}:own:{digest}:{network}", f"{base}:known:{digest}:{network}"
        anyone, from_network = f"{base}:account:{digest}", f"{base}:address:{network}"
        rates = (
            int(self._account.interval_seconds * _MICROSECONDS),
            self._account.burst,
            int(self._address.interval_seconds * _MICROSECONDS),
            self._address.burst,
        )
        try:
            wait, known, first = await self._redis.call(self._take, [anyone, own, mark, from_network], rates)
        except (Unavailable, RedisError):
            _WITHOUT_REDIS.inc()
            wait, known, first = self._local.take((anyone, self._account), (from_network, self._address)), 0, 0
        else:
            if not wait:  # so that nobody gains by what Redis is too busy to answer
                self._local.count((own if known else anyone, self._account), (from_network, self._address))
        if wait:
            _REFUSED.labels(self._action).inc()
            if first and first_refused is not None:
                await first_refused()
            raise ResourceExhausted(Reason.RATE_LIMITED, "too many attempts", retry_after_seconds=wait / _MICROSECONDS)
        return Attempt(own if known else anyone, from_network, mark)

    async def succeeded(self, attempt: Attempt) -> None:
        """Gives an attempt back, and counts its network apart from now on."""
        intervals = [int(rate.interval_seconds * _MICROSECONDS) for rate in (self._account, self._address)]
        keys = [attempt.account_bucket, attempt.address_bucket, attempt.mark]
        try:
            await self._redis.call(self._give_back, keys, [*intervals, _KNOWN_SECONDS])
        except (Unavailable, RedisError):
            _WITHOUT_REDIS.inc()
        self._local.give_back((keys[0], self._account), (keys[1], self._address))


class _Local:
    """The same buckets in memory. A flood of names pushes the oldest out, which the network's bucket makes slow."""

    def __init__(self) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, *buckets: tuple[str, Rate]) -> int:
        """Returns how many microseconds to wait; 0 if the attempt is counted."""
        now = time.monotonic()
        full_at = self._full_with(now, buckets)
        wait = max(full_at[name] - rate.interval_seconds * rate.burst - now for name, rate in buckets)
        if wait > 0:
            return max(1, int(wait * _MICROSECONDS))
        self._keep(full_at)
        return 0

    def count(self, *buckets: tuple[str, Rate]) -> None:
        """Counts an attempt that is let through in any case."""
        self._keep(self._full_with(time.monotonic(), buckets))

    def give_back(self, *buckets: tuple[str, Rate]) -> None:
        """Takes one attempt off each count."""
        for name, rate in buckets:
            if name in self._full_at:
                self._full_at[name] -= rate.interval_seconds

    def _full_with(self, now: float, buckets: Sequence[tuple[str, Rate]]) -> dict[str, float]:
        return {name: max(self._full_at.get(name, 0.0), now) + rate.interval_seconds for name, rate in buckets}

    def _keep(self, full_at: Mapping[str, float]) -> None:
        for name, moment in full_at.items():
            self._full_at[name] = moment
            self._full_at.move_to_end(name)
        while len(self._full_at) > _MOST_LOCAL:
            self._full_at.popitem(last=False)
