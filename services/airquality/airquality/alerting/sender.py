"""Brings alerts to webhooks: claims what is due, tries it, and notes what became of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

import structlog
from prometheus_client import Counter

from airquality.alerting.webhook import Outcome, Poster, Secrets, body_of, pause_seconds
from meshkit.errors import MeshError
from meshkit.health import State

_TRIES = Counter("geomesh_alert_webhook_tries", "Tries to post an alert, by what became of them.", ["outcome"])
_LOG = structlog.get_logger(__name__)
# Beyond the time of a try: for writing down what became of it.
_MARGIN_SECONDS: Final = 20.0


class Claimed(NamedTuple):
    """A delivery that this process alone may try until its claim lapses; `attempts` counts this try."""

    tenant: str
    alert_id: str
    claim: str
    attempts: int
    url: str
    sealed: bytes | None
    body: dict[str, Any]


class DeliveryStore(Protocol):
    """What a Sender needs of a repository."""

    async def claim_deliveries(self, most: int, per_tenant: int, lease_seconds: float) -> list[Claimed]:
        """Takes deliveries that are due."""

    async def note_delivery(
        self, claimed: Claimed, *, delivered: bool, retry_at: datetime | None, problem: str
    ) -> None:
        """Notes what became of one, unless its claim has lapsed; it is dead if neither delivered nor retried."""


class Sender:
    """Tries what is due, many at a time, in the background."""

    name = "alert-webhooks"
    required = False
    breaker = ""

    def __init__(
        self,
        store: DeliveryStore,
        poster: Poster,
        secrets: Secrets,
        *,
        most: int,
        per_tenant: int,
        timeout_seconds: float,
        poll_seconds: float,
        attempts: int,
        first_retry_seconds: float,
        longest_retry_seconds: float,
    ) -> None:
        """Starts nothing yet.

        Args:
            store: Where deliveries wait.
            poster: What posts them.
            secrets: What opens their secrets.
            most: Tries at one time.
            per_tenant: Of these for one tenant.
            timeout_seconds: How long a try may take.
            poll_seconds: Time after which the store is asked again.
            attempts: Tries after which a delivery is dead.
            first_retry_seconds: Pause after the first try.
            longest_retry_seconds: The longest pause.
        """
        self.state = State.OK
        self._store = store
        self._poster = poster
        self._secrets = secrets
        self._most = most
        self._per_tenant = per_tenant
        self._lease_seconds = timeout_seconds + _MARGIN_SECONDS
        self._poll_seconds = poll_seconds
        self._attempts = attempts
        self._first = first_retry_seconds
        self._longest = longest_retry_seconds
        self._running: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ends; a try that is cut off is made again when its claim lapses, with the same id."""
        for task in (self._task, *self._running):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(each for each in (self._task, *self._running) if each), return_exceptions=True)
        await self._poster.close()

    async def _run(self) -> None:
        while True:
            try:
                free = self._most - len(self._running)
                for claimed in await self._store.claim_deliveries(free, self._per_tenant, self._lease_seconds):
                    task = asyncio.create_task(self._send(claimed))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                self.state = State.OK
            except MeshError as error:
                if self.state is State.OK:
                    _LOG.warning("alert_deliveries_not_claimed", exc_info=error)
                self.state = State.DOWN
            await asyncio.sleep(self._poll_seconds)

    async def _send(self, claimed: Claimed) -> None:
        try:
            outcome = await self._try(claimed)
            retry_at = None
            if outcome.may_pass and claimed.attempts < self._attempts:
                pause = pause_seconds(claimed.attempts, first=self._first, most=self._longest)
                retry_at = datetime.now(UTC) + timedelta(seconds=pause)
            await self._store.note_delivery(
                claimed, delivered=outcome.taken, retry_at=retry_at, problem=outcome.problem
            )
            _TRIES.labels("taken" if outcome.taken else "retried" if retry_at else "dead").inc()
        except MeshError as error:  # the claim lapses, and it is tried again
            _LOG.warning("alert_delivery_not_noted", alert_id=claimed.alert_id, exc_info=error)

    async def _try(self, claimed: Claimed) -> Outcome:
        if not claimed.url or claimed.sealed is None:
            return Outcome(taken=False, problem="the rule has no webhook any more")
        secret = self._secrets.open(claimed.sealed)
        if secret is None:
            _LOG.error("webhook_secret_sealed", remedy="put the old key-encryption key back behind the new one")
            return Outcome(taken=False, may_pass=True, problem="the service cannot open the webhook's secret")
        return await self._poster.post(claimed.url, secret, claimed.alert_id, body_of(claimed.body))
