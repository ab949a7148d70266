"""Copies revocations from Postgres to Redis, each second, where every service looks for them.

Every replica does so, and one is enough: what is newer stays, whoever writes last. A Redis that has lost its data is
filled again, whole.
"""

import asyncio
import contextlib
import time
import uuid
from datetime import timedelta
from typing import Any, Final, Protocol

import structlog
from redis.exceptions import RedisError

from meshkit.errors import MeshError
from meshkit.health import State
from meshkit.redis import Redis
from meshkit.revocations import KEYS, PUBLISH, Revocation, publication

# A change that was decided in a transaction is seen only after its end, which may be this much later.
_LOOK_BACK: Final = timedelta(seconds=90)
_EVER: Final = timedelta(days=36_500)
_FORGET_EVERY_SECONDS: Final = 600.0
_LOG: Final = structlog.get_logger(__name__)


class RevocationStore(Protocol):
    """Where revocations are kept."""

    async def changed_within(self, interval: timedelta) -> list[Revocation]:
        """Returns what was revoked or restored within the last `interval`."""
        ...

    async def forget_old(self) -> None:
        """Forgets what covers no token any more, and sessions that ended by themselves."""
        ...


class RevocationPublisher:
    """Keeps Redis's copy true. It is a :class:`meshkit.health.Dependency`, and not a required one."""

    name: Final = "revocation-publisher"
    required: Final = False
    breaker: Final = ""

    def __init__(self, store: RevocationStore, redis: Redis, *, every_seconds: float) -> None:
        """Prepares without asking anyone.

        Args:
            store: Where revocations are kept.
            redis: Where they are published; started and closed with this.
            every_seconds: Time between two looks at the store.
        """
        self._store = store
        self._redis = redis
        self._every_seconds = every_seconds
        self._epoch = ""
        self._sent: dict[str, float] = {}
        self._forgets_at = time.monotonic() + _FORGET_EVERY_SECONDS
        self._state = State.DOWN
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    @property
    def state(self) -> State:
        """Whether the last copy succeeded."""
        return self._state

    async def start(self) -> None:
        """Copies once, and from then on in the background."""
        await self._redis.start()
        await self._try()
        self._task = asyncio.create_task(self._publish_for_ever(), name="publish revocations")

    async def close(self) -> None:
        """Copies no more."""
        # Not cancelled: a command that is cut off leaves its connection behind.
        self._closing.set()
        if self._task is not None:
            await self._task
        await self._redis.close()

    async def publish(self) -> None:
        """Copies what has changed.

        Raises:
            MeshError: The database or Redis does not answer.
        """
        if not self._epoch:
            await self._publish_all()
            return
        changed = await self._store.changed_within(_LOOK_BACK)
        news = [each for each in changed if self._sent.get(each.key) != each.changed_at]
        if not await self._send(news, whole=False):
            await self._publish_all()  # Redis has lost it all, or another replica has begun anew
            return
        self._sent = {each.key: each.changed_at for each in changed}

    async def _publish_all(self) -> None:
        everything = await self._store.changed_within(_EVER)
        look_up: Any = self._redis.client.hget
        known: bytes | None = await self._redis.call(look_up, KEYS[0], "epoch")
        self._epoch = known.decode() if known else ""
        if not (self._epoch and await self._send(everything, whole=False)):
            self._epoch = uuid.uuid4().hex
            await self._send(everything, whole=True)
        self._sent = {each.key: each.changed_at for each in everything}

    async def _send(self, revocations: list[Revocation], *, whole: bool) -> bool:
        arguments = publication(revocations, now=time.time(), epoch=self._epoch, whole=whole)
        evaluate: Any = self._redis.client.eval
        return bool(await self._redis.call(evaluate, PUBLISH, len(KEYS), *KEYS, *arguments))

    async def _publish_for_ever(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_seconds):
                    await self._closing.wait()
                    return
            await self._try()

    async def _try(self) -> None:
        try:
            await self.publish()
            if time.monotonic() > self._forgets_at:
                self._forgets_at = time.monotonic() + _FORGET_EVERY_SECONDS
                await self._store.forget_old()
        except (MeshError, RedisError) as error:
            self._epoch = ""  # nobody knows what arrived: all of it again
            self._enter(State.DOWN, repr(error))
        except Exception:  # noqa: BLE001 - no defect may end the copying
            _LOG.exception("revocations were not published")
            self._epoch = ""
            self._state = State.DOWN
        else:
            self._enter(State.OK, "")

    def _enter(self, state: State, cause: str) -> None:
        if state is not self._state:
            tell = _LOG.warning if state is State.DOWN else _LOG.info
            tell("publishing revocations", state=state.name, cause=cause)
        self._state = state
