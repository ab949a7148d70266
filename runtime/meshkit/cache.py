"""A cache of computed answers: in the process, then in Redis, then computed once however many ask.

A value is fresh for its time to live, then stale for a while: it is still handed out, and one caller's asking makes it
be computed anew in the background. Without Redis everything works as before, each process for itself.
"""

import asyncio
import contextvars
import copy
import random
import struct
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from meshkit.context import CURRENT
from meshkit.errors import DeadlineExceeded, MeshError
from meshkit.health import State
from meshkit.redis import Redis
from meshkit.settings import ServiceSettings

_OPERATIONS = Counter("geomesh_cache_operations", "Lookups in the cache, by how they were answered.", ["result"])
_HIT_LOCAL = _OPERATIONS.labels("hit_local")
_HIT_REDIS = _OPERATIONS.labels("hit_redis")
_STALE = _OPERATIONS.labels("stale")
_SHARED = _OPERATIONS.labels("shared")
_COMPUTED = _OPERATIONS.labels("computed")
_FAILED = _OPERATIONS.labels("failed")
_WITHOUT_REDIS = Counter("geomesh_cache_redis_failures", "Cache operations that went on without Redis.")
_ENTRIES = Gauge("geomesh_cache_entries", "Values held in the process.")
_LOG = structlog.get_logger(__name__)

_LARGEST_LOCAL_BYTES: Final = 65_536
# Values that were computed together do not all expire together.
_JITTER: Final = 0.1
# How long one process may take before another computes the same, since it may have died.
_LOCK_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.025
_RETRY_SECONDS: Final = 1.0
# Keys remembered as asked for once, as a multiple of the values held.
_MOST_REMEMBERED: Final = 8
# One round trip: the value, and for one asker of those who find none that is fresh, the right to compute it.
_LOOK_UP: Final = """
local value = redis.call('GET', KEYS[1])
if value and struct.unpack('>d', value) > tonumber(ARGV[1]) then return {value, 0} end
local mine = redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[2])
return {value, mine and 1 or 0}
"""
# Before each value in Redis: until when it is fresh, in seconds since 1970.
_HEADER: Final = struct.Struct(">d")

Compute = Callable[[], Awaitable[bytes]]
AtOnce = Callable[[], bytes | None]


class _Entry:
    __slots__ = ("fresh_until", "stale_until", "value")

    def __init__(self, value: bytes, fresh_until: float, stale_until: float) -> None:
        self.value = value
        self.fresh_until = fresh_until
        self.stale_until = stale_until


class Cache:
    """The cache of one service. It shows as its Redis among the service's dependencies."""

    def __init__(
        self, settings: ServiceSettings, *, entries: int = 1000, version: int = 1, share_once_asked: bool = True
    ) -> None:
        """Makes an empty cache.

        Args:
            settings: The service's settings; its name keeps its keys apart from those of other services.
            entries: Values held in the process; the one used longest ago makes room.
            version: Of what the values look like; a service that changes that raises it and leaves the old behind.
            share_once_asked: Whether Redis is asked for a key, and given its value, from the first time on. False where
                computing costs little more than asking, and most keys are never asked for again: then a key comes to
                Redis when the process misses it for the second time.
        """
        self._redis = Redis(settings)
        self._look_up = self._redis.client.register_script(_LOOK_UP)
        self._values = f"geomesh:{settings.service}:{version}:value:"
        self._locks = f"geomesh:{settings.service}:{version}:lock:"
        self._flight_seconds = settings.request_timeout_seconds
        self._most = entries
        self._local: OrderedDict[str, _Entry] = OrderedDict()
        self._flights: dict[str, asyncio.Task[bytes]] = {}
        self._writes: set[asyncio.Task[None]] = set()
        self._share_once_asked = share_once_asked
        self._asked: OrderedDict[str, None] = OrderedDict()

    @property
    def name(self) -> str:
        """Redis's."""
        return self._redis.name

    @property
    def required(self) -> bool:
        """False: without Redis the cache is slower, and still right."""
        return self._redis.required

    @property
    def state(self) -> State:
        """Redis's."""
        return self._redis.state

    @property
    def breaker(self) -> str:
        """The state of the circuit breaker before Redis."""
        return self._redis.breaker

    async def start(self) -> None:
        """Connects to Redis in the background."""
        _ENTRIES.set_function(lambda: len(self._local))
        await self._redis.start()

    async def close(self) -> None:
        """Drops what is under way, and disconnects."""
        tasks = [*self._flights.values(), *self._writes]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._redis.close()

    async def get_or_compute(
        self,
        key: str,
        compute: Compute,
        ttl_seconds: float,
        *,
        stale_seconds: float = 30.0,
        at_once: AtOnce | None = None,
    ) -> bytes:
        """Returns the value of `key`, computing it if nobody has or is about to.

        Args:
            key: What the value depends on, all of it: the tenant too, where the value is a tenant's.
            compute: Makes the value. It runs apart from the call that asked first, so that it goes on when that call is
                cancelled, and has the service's whole request timeout. An error goes to all who wait, and is not kept.
            ttl_seconds: How long the value is fresh at most.
            stale_seconds: How long after that it is handed out while it is computed anew.
            at_once: Makes the same value without waiting for anything, or None where it cannot. It is tried first where a
                key is not worth sharing: nobody can ask meanwhile, so that no task of its own is needed.
        """
        entry = self._local.get(key)
        if entry is not None:
            now = time.time()
            if now < entry.fresh_until:
                self._local.move_to_end(key)
                _HIT_LOCAL.inc()
                return entry.value
            if now < entry.stale_until:
                self._local.move_to_end(key)
                if key not in self._flights:
                    self._take_off(key, self._refresh(entry, key, compute, ttl_seconds, stale_seconds))
                _STALE.inc()
                return entry.value
        flight = self._flights.get(key)
        if flight is None:
            shared = self._is_worth_sharing(key)
            if not shared and at_once is not None and (value := at_once()) is not None:
                _COMPUTED.inc()
                self._keep_new(key, value, ttl_seconds, stale_seconds)
                return value
            find = self._find if shared else self._compute_alone
            flight = self._take_off(key, find(key, compute, ttl_seconds, stale_seconds))
        else:
            _SHARED.inc()
        return await asyncio.shield(flight)

    async def renew(
        self, key: str, compute: Compute, ttl_seconds: float, *, lead_seconds: float, stale_seconds: float = 30.0
    ) -> bool:
        """Computes the value of `key` anew if it would not be fresh in `lead_seconds`; returns whether it did.

        Of several processes that renew the same key one computes it, and the others take what it left in Redis.
        """
        due = time.time() + lead_seconds
        entry = self._local.get(key)
        if key in self._flights or (entry is not None and entry.fresh_until > due):
            return False
        _, mine = await self._ask_redis(key, stale_seconds, fresh_at=due)
        if not mine or key in self._flights:
            return False
        await asyncio.shield(self._take_off(key, self._compute(key, compute, ttl_seconds, stale_seconds)))
        return True

    def _take_off(self, key: str, work: Coroutine[Any, Any, bytes]) -> "asyncio.Task[bytes]":
        """Begins what everybody who asks for `key` will wait for, with more time than the first of them has."""
        context = contextvars.copy_context()
        call = CURRENT.get()
        if call is not None:
            patient = copy.copy(call)
            patient.deadline = time.monotonic() + self._flight_seconds
            context.run(CURRENT.set, patient)
        flight = asyncio.create_task(work, context=context)
        self._flights[key] = flight
        flight.add_done_callback(partial(self._land, key))
        return flight

    def _land(self, key: str, flight: "asyncio.Task[bytes]") -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # its waiters may all be gone, and asyncio would complain

    async def _find(self, key: str, compute: Compute, ttl_seconds: float, stale_seconds: float) -> bytes:
        """Returns what Redis has, or what another process is about to put there, or computes it."""
        patient_until = time.monotonic() + _LOCK_SECONDS
        while True:
            entry, mine = await self._ask_redis(key, stale_seconds)
            if entry is not None:
                fresh = entry.fresh_until > time.time()
                (_HIT_REDIS if fresh else _STALE).inc()
                if mine:
                    self._take_off(key, self._compute_behind(entry, key, compute, ttl_seconds, stale_seconds))
                return entry.value
            if mine or time.monotonic() > patient_until:
                return await self._compute(key, compute, ttl_seconds, stale_seconds)
            await asyncio.sleep(_POLL_SECONDS)

    async def _refresh(
        self, stale: _Entry, key: str, compute: Compute, ttl_seconds: float, stale_seconds: float
    ) -> bytes:
        """Replaces a stale value by what Redis has by now or by a new one, unless another process is at it."""
        entry, mine = await self._ask_redis(key, stale_seconds)
        if mine:
            return await self._compute_behind(stale, key, compute, ttl_seconds, stale_seconds)
        if entry is None or entry.fresh_until <= time.time():
            self._rest(key)
            return stale.value
        return entry.value

    async def _compute_behind(
        self, stale: _Entry, key: str, compute: Compute, ttl_seconds: float, stale_seconds: float
    ) -> bytes:
        """Computes a new value while the stale one is handed out, which stays when that fails."""
        try:
            return await self._compute(key, compute, ttl_seconds, stale_seconds)
        except Exception as error:  # noqa: BLE001 -- whatever it is, there is a value to hand out
            _LOG.warning("a stale value could not be computed anew", key=key, exc_info=error)
            self._rest(key)
            return stale.value

    def _is_worth_sharing(self, key: str) -> bool:
        if self._share_once_asked or key in self._asked:
            return True
        self._asked[key] = None
        if len(self._asked) > _MOST_REMEMBERED * self._most:
            self._asked.popitem(last=False)
        return False

    async def _compute(self, key: str, compute: Compute, ttl_seconds: float, stale_seconds: float) -> bytes:
        try:
            value = await self._run(compute)
        except BaseException:
            self._write_behind(self._unlock, key)
            raise
        fresh_until = self._keep_new(key, value, ttl_seconds, stale_seconds)
        seconds = fresh_until - time.time() + stale_seconds
        self._write_behind(self._store, key, _HEADER.pack(fresh_until) + value, seconds)
        return value

    async def _compute_alone(self, key: str, compute: Compute, ttl_seconds: float, stale_seconds: float) -> bytes:
        value = await self._run(compute)
        self._keep_new(key, value, ttl_seconds, stale_seconds)
        return value

    async def _run(self, compute: Compute) -> bytes:
        try:
            async with asyncio.timeout(self._flight_seconds):
                value = await compute()
        except BaseException as error:
            _FAILED.inc()
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded("a value was not computed in time") from error
            raise
        _COMPUTED.inc()
        return value

    def _keep_new(self, key: str, value: bytes, ttl_seconds: float, stale_seconds: float) -> float:
        """Holds a value that was computed just now, and returns until when it is fresh."""
        fresh_seconds = ttl_seconds * (1 - random.uniform(0, _JITTER))  # noqa: S311 -- nothing secret hangs on it
        fresh_until = time.time() + fresh_seconds
        self._keep(key, _Entry(value, fresh_until, fresh_until + stale_seconds))
        return fresh_until

    def _keep(self, key: str, entry: _Entry) -> None:
        if len(entry.value) > _LARGEST_LOCAL_BYTES:
            self._local.pop(key, None)  # an older, smaller one
            return
        self._local[key] = entry
        self._local.move_to_end(key)
        if len(self._local) > self._most:
            self._local.popitem(last=False)

    def _rest(self, key: str) -> None:
        """Lets a stale value be as good as fresh for a moment, so that not every call asks for its replacement."""
        entry = self._local.get(key)
        if entry is not None:
            entry.fresh_until = min(time.time() + _RETRY_SECONDS, entry.stale_until)

    async def _ask_redis(
        self, key: str, stale_seconds: float, *, fresh_at: float | None = None
    ) -> tuple[_Entry | None, bool]:
        """Returns what Redis has, kept here too, and whether it is for this process to compute.

        Args:
            key: Which value.
            stale_seconds: How long it is handed out after its time.
            fresh_at: When it must still be fresh, in seconds since 1970; now by default.
        """
        names = (self._values + key, self._locks + key)
        try:
            raw, mine = await self._redis.call(
                self._look_up, names, (fresh_at or time.time(), int(_LOCK_SECONDS * 1000))
            )
        except (MeshError, RedisError) as error:
            _miss_redis(error)
            return None, True
        if raw is None:
            return None, bool(mine)
        (fresh_until,) = _HEADER.unpack_from(raw)
        entry = _Entry(raw[_HEADER.size :], fresh_until, fresh_until + stale_seconds)
        self._keep(key, entry)
        return entry, bool(mine)

    def _write_behind(self, work: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Writes to Redis without making anyone wait for it."""

        async def write() -> None:
            try:
                await self._redis.call(work, *arguments)
            except (MeshError, RedisError) as error:
                _miss_redis(error)

        task = asyncio.create_task(write())
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _store(self, key: str, raw: bytes, seconds: float) -> None:
        async with self._redis.client.pipeline(transaction=False) as pipeline:
            pipeline.set(self._values + key, raw, px=max(1, int(seconds * 1000)))
            pipeline.delete(self._locks + key)
            await pipeline.execute()

    async def _unlock(self, key: str) -> None:
        await self._redis.client.delete(self._locks + key)


def _miss_redis(error: Exception) -> None:
    _WITHOUT_REDIS.inc()
    if isinstance(error, RedisError):
        _LOG.warning("redis refused a command of the cache", exc_info=error)
