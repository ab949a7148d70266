"""Redis, as something that a service can do without: short timeouts, a breaker, and a watcher that finds it again."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from opentelemetry import trace
from redis import asyncio as driver
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from meshkit.breaker import Breaker
from meshkit.errors import Unavailable
from meshkit.health import State
from meshkit.settings import ServiceSettings
from meshkit.watch import Watch

ResultT = TypeVar("ResultT")

NAME: Final = "redis"
_LOG = structlog.get_logger(__name__)
_TRACER = trace.get_tracer("meshkit.redis")
_SPAN: Final = {"db.system.name": "redis"}
# What Redis holds can be computed again: waiting longer for it gains nothing.
_TIMEOUT_SECONDS: Final = 0.1
_MOST_CONNECTIONS: Final = 32
_WATCH_SECONDS: Final = 1.0
_FAILURES_IN_A_ROW: Final = 5
_RECOVERY_SECONDS: Final = 2.0
_FAILURES: Final = (RedisConnectionError, RedisTimeoutError, OSError)


class Redis:
    """The mesh's Redis as one service uses it."""

    name = NAME
    required = False

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        failures: int = _FAILURES_IN_A_ROW,
    ) -> None:
        """Connects nowhere yet: the first call does.

        Args:
            settings: Where it is.
            timeout_seconds: How long an answer may take.
            failures: Failed calls in a row after which it is left alone for a while.
        """
        self._breaker = Breaker(NAME, _is_failure, failures=failures, recovery_seconds=_RECOVERY_SECONDS)
        pool = driver.BlockingConnectionPool.from_url(
            settings.redis_url.get_secret_value(),
            max_connections=_MOST_CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            client_name=f"geomesh-{settings.service}",
        )
        self.client = driver.Redis.from_pool(pool)
        self._watch = Watch(NAME, self._ask, every_seconds=_WATCH_SECONDS, attempts=2, lost=self._breaker.trip)

    @property
    def state(self) -> State:
        """Whether it answered when it was last used or probed."""
        return self._watch.state

    @property
    def breaker(self) -> str:
        """The state of its circuit breaker."""
        return self._breaker.state.value

    async def start(self) -> None:
        """Asks once whether it answers; the rest goes on in the background."""
        await self._watch.start()

    async def close(self) -> None:
        """Closes every connection."""
        await self._watch.close()
        await self.client.aclose()

    async def call(self, work: Callable[..., Awaitable[ResultT]], *arguments: object) -> ResultT:
        """Returns what a command of `client` returns, e.g. ``await redis.call(redis.client.get, key)``.

        Raises:
            Unavailable: Redis does not answer, or has not answered lately.
            redis.RedisError: Redis refused the command.
        """
        try:
            if trace.get_current_span().is_recording():
                with _TRACER.start_as_current_span(NAME, kind=trace.SpanKind.CLIENT, attributes=_SPAN):
                    result = await self._breaker.call(work, *arguments)
            else:
                result = await self._breaker.call(work, *arguments)
        except _FAILURES as error:
            raise Unavailable(f"{NAME} does not answer", dependency=NAME) from error
        self._watch.answered_at = time.monotonic()
        return result

    async def _ask(self) -> None:
        await self._breaker.call(self.client.ping)


def _is_failure(error: BaseException) -> bool | None:
    """Tells the failures of Redis from its answers; None for an error that is neither."""
    if isinstance(error, _FAILURES):
        return True
    return False if isinstance(error, RedisError) else None
