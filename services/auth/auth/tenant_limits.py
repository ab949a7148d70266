"""Brings the limits of tenants to Redis, where the rate-limit service reads them.

A tenant with limits of its own has a hash `geomesh:limits:<tenant>` with those of the fields requests_per_hour,
streams_per_minute and batch_calls_per_hour that differ from the plan's. The truth is in Postgres: all of it is written
again every half minute, after Redis lost it or did not answer.
"""

import asyncio
from typing import Final, Protocol

import structlog
from redis.exceptions import RedisError

from auth.directory import Limits
from meshkit.errors import MeshError
from meshkit.health import State
from meshkit.redis import Redis

_PREFIX: Final = "geomesh:limits:"
_PUBLISHED: Final = "geomesh:auth:tenants-with-limits"
_LOG = structlog.get_logger(__name__)

# KEYS: the hashes of tenants, and last the set of those that have one. ARGV: for each of them its name and three numbers,
# empty where the plan's holds.
_WRITE: Final = """
local names = {'requests_per_hour', 'streams_per_minute', 'batch_calls_per_hour'}
local published = KEYS[#KEYS]
for i = 1, #KEYS - 1 do
  local at, fields = (i - 1) * 4 + 1, {}
  for j, name in ipairs(names) do
    if ARGV[at + j] ~= '' then fields[#fields + 1] = name; fields[#fields + 1] = ARGV[at + j] end
  end
  redis.call('DEL', KEYS[i])
  if #fields > 0 then
    redis.call('HSET', KEYS[i], unpack(fields))
    redis.call('SADD', published, ARGV[at])
  else
    redis.call('SREM', published, ARGV[at])
  end
end
return 0
"""


class LimitStore(Protocol):
    """Where limits are kept."""

    async def list_limits(self) -> dict[str, Limits]:
        """Returns the tenants that have limits of their own."""
        ...


class TenantLimits:
    """Keeps Redis at what Postgres says."""

    name = "tenant-limits"
    required = False
    breaker = ""

    def __init__(self, redis: Redis, store: LimitStore, *, every_seconds: float) -> None:
        """Writes nothing yet.

        Args:
            redis: Where to.
            store: Where from.
            every_seconds: Time after which all is written again.
        """
        self.state = State.OK
        self._redis = redis
        self._store = store
        self._every_seconds = every_seconds
        self._write = redis.client.register_script(_WRITE)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to write, in the background."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Writes no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def publish(self, tenant: str, limits: Limits) -> None:
        """Writes the limits of one tenant now; where Redis does not answer, they follow with all the others."""
        try:
            await self._set({tenant: limits})
        except (MeshError, RedisError):
            _LOG.warning("tenant_limits_late", tenant=tenant)

    async def publish_all(self) -> None:
        """Writes the limits of every tenant, and takes away those that are no more.

        Raises:
            Unavailable: Postgres or Redis does not answer.
        """
        limits = await self._store.list_limits()
        published = await self._redis.call(self._redis.client.smembers, _PUBLISHED)
        gone = {name.decode() if isinstance(name, bytes) else name for name in published} - limits.keys()
        await self._set(limits | dict.fromkeys(gone, Limits()))

    async def _set(self, limits: dict[str, Limits]) -> None:
        keys = [f"{_PREFIX}{tenant}" for tenant in limits]
        numbers = [
            "" if number is None else number
            for tenant, each in limits.items()
            for number in (tenant, each.requests_per_hour, each.streams_per_minute, each.batch_calls_per_hour)
        ]
        if keys:
            await self._redis.call(self._write, [*keys, _PUBLISHED], numbers)

    async def _run(self) -> None:
        while True:
            try:
                await self.publish_all()
                self.state = State.OK
            except (MeshError, RedisError) as error:
                if self.state is State.OK:
                    _LOG.warning("tenant_limits_not_published", exc_info=error)
                self.state = State.DOWN
            await asyncio.sleep(self._every_seconds)
