"""Hands every event to the subscriptions of this process that want it."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import structlog
from prometheus_client import Counter, Gauge, Histogram

from airquality.events import EventExpired, StoredReading
from airquality.live.eventformat import Event
from airquality.live.subscription import Subscription, Update, Wanted
from airquality.live.subscriptions import Subscriptions
from meshkit.errors import Reason, ResourceExhausted, Unavailable
from meshkit.health import State

Render = Callable[[Sequence[StoredReading]], bytes]
"""Returns readings of one station as what subscribers get. What it returns for several stations can be joined."""

_REMEMBERED_READINGS: Final = 20_000
_PAGE: Final = 64
_MOST_MISSED: Final = 1024
_TICK_SECONDS: Final = 0.02
_ROUND_SECONDS: Final = 1.0
_KNOWN_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 0.5
_OPEN = Gauge("geomesh_airquality_watch_subscriptions", "Open subscriptions of this process.")
_UPDATES = Counter("geomesh_airquality_watch_updates", "Updates put before subscribers.")
_STALLED = Counter("geomesh_airquality_watch_stalled", "Subscribers whose stream was ended because they took nothing.")
_DELAY = Histogram(
    "geomesh_airquality_watch_delay_seconds",
    "Time from storing readings to having put them before every subscriber of this process.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)
_LOG: Final = structlog.get_logger(__name__)


class Followed(Protocol):
    """What is needed of the events."""

    async def last(self) -> int:
        """Returns the position of the last event."""

    def events(self, position: int) -> AsyncIterator[Event]:
        """Yields every event after a position."""

    def close(self) -> None:
        """Ends what `events` yields."""


class Kept(Protocol):
    """What is needed of the outbox."""

    async def after(self, position: int, limit: int) -> list[Event]:
        """Returns the first events after a position, in order."""


class _Grouped(NamedTuple):
    """An event by stations, without readings that do not count for the air."""

    event: Event
    stations: list[list[StoredReading]]


class Hub:
    """The one follower of events in a process. It is a meshkit.health.Dependency, and not a required one."""

    name: Final = "event-hub"
    required: Final = False
    breaker: Final = ""

    def __init__(
        self,
        events: Followed,
        outbox: Kept,
        render: Render,
        *,
        most: int,
        waiting_updates: int,
        heartbeat_seconds: float,
        stall_seconds: float,
    ) -> None:
        """Follows nothing yet.

        Args:
            events: What happens.
            outbox: What happened lately.
            render: Makes what subscribers get.
            most: Subscriptions open at one time.
            waiting_updates: Updates that wait for one subscriber at most.
            heartbeat_seconds: After how long without a message a subscriber gets a sign of life.
            stall_seconds: After how long a subscriber that takes nothing is ended.
        """
        self._events = events
        self._outbox = outbox
        self._render = render
        self._most = most
        self._waiting_updates = waiting_updates
        self._heartbeat_seconds = heartbeat_seconds
        self._stall_seconds = stall_seconds
        self._round_seconds = min(_ROUND_SECONDS, heartbeat_seconds / 4)
        self._subscriptions = Subscriptions()
        self._recent: deque[_Grouped] = deque()
        self._recent_readings = 0
        self._known = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self.position = 0
        self.state = State.DEGRADED

    async def start(self) -> None:
        """Begins to follow."""
        _OPEN.set_function(lambda: len(self._subscriptions))
        self._tasks = [
            asyncio.create_task(self._follow_for_ever(), name="follow events"),
            asyncio.create_task(self._tick_for_ever(), name="watch subscribers"),
        ]

    async def close(self) -> None:
        """Follows no more, and nobody else in this process does."""
        self._closing = True
        self._events.close()
        for task in self._tasks[1:]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def subscribe(self, wanted: Wanted) -> Subscription:
        """Returns a subscription that gets everything from now on.

        Raises:
            ResourceExhausted: There are as many as may be.
            Unavailable: Nobody knows yet what the last event was.
        """
        if len(self._subscriptions) >= self._most:
            raise ResourceExhausted(
                Reason.OVERLOADED, f"this server has {self._most} subscribers, its limit", retry_after_seconds=5.0
            )
        try:
            async with asyncio.timeout(_KNOWN_SECONDS):
                await self._known.wait()
        except TimeoutError:
            raise Unavailable("events cannot be followed yet", dependency=self.name) from None
        return self.admit(wanted)

    def admit(self, wanted: Wanted) -> Subscription:
        """Returns a subscription that gets every event that is dispatched from now on."""
        subscription = Subscription(wanted, self.position, limit=self._waiting_updates)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends one."""
        self._subscriptions.remove(subscription)

    async def missed(self, subscription: Subscription, after: int) -> list[Update]:
        """Returns the updates after a position up to where a new subscription began, and lets it go on from there.

        Raises:
            EventExpired: They are not kept any more, are too many, or the position never was.
        """
        begun = subscription.floor
        if after > begun and after > await self._events.last():
            raise EventExpired(f"there was no event {after} yet")
        if begun - after > _MOST_MISSED:
            raise EventExpired(f"{begun - after} events were missed")
        subscription.floor = max(after, begun)
        updates, position = [], after
        while position < begun:
            page = await self._page(position)
            if not page or page[0].event.position != position + 1:
                raise EventExpired(f"of the events after {position} the first is not kept")
            for grouped in page[: begun - position]:
                position = grouped.event.position
                if stations := self._stations_for(subscription, grouped):
                    updates.append(Update(position, stations))
        return updates

    async def _page(self, after: int) -> list[_Grouped]:
        recent = list(self._recent)
        if recent and recent[0].event.position <= after + 1:
            return recent[after + 1 - recent[0].event.position :]
        return [_grouped(event) for event in await self._outbox.after(after, _PAGE)]

    def _stations_for(self, subscription: Subscription, grouped: _Grouped) -> bytes:
        taken = (subscription.wanted.takes(each, grouped.event.stored_at) for each in grouped.stations)
        return b"".join(self._render(readings) for readings in taken if readings)

    def dispatch(self, event: Event) -> None:
        """Puts an event before all who want it."""
        grouped = _grouped(event)
        found: dict[Subscription, list[bytes]] = {}
        for readings in grouped.stations:
            whole: bytes | None = None
            for subscription in self._subscriptions.near(readings[0]):
                taken = subscription.wanted.takes(readings, event.stored_at)
                if not taken:
                    continue
                if taken is not readings:
                    rendered = self._render(taken)
                else:
                    rendered = whole = whole or self._render(readings)
                found.setdefault(subscription, []).append(rendered)
        for subscription, parts in found.items():
            subscription.put(Update(event.position, parts[0] if len(parts) == 1 else b"".join(parts)))
        self.position = event.position
        self._remember(grouped)
        _UPDATES.inc(len(found))
        _DELAY.observe(max(0.0, time.time() - event.stored_at.timestamp()))

    def _remember(self, grouped: _Grouped) -> None:
        self._recent.append(grouped)
        self._recent_readings += len(grouped.event.readings)
        while self._recent_readings > _REMEMBERED_READINGS or len(self._recent) > _MOST_MISSED:
            self._recent_readings -= len(self._recent.popleft().event.readings)

    async def _follow_for_ever(self) -> None:
        while not self._closing:
            try:
                self.position = await self._events.last()
                self._recent.clear()
                self._recent_readings = 0
                for each in self._subscriptions:  # what happened meanwhile nobody told them
                    each.give_up()
                self._known.set()
                self.state = State.OK
                async for event in self._events.events(self.position):
                    self.dispatch(event)
            except EventExpired as error:
                _LOG.warning("events were lost to this process; its subscribers get snapshots", cause=str(error))
            except Exception:  # noqa: BLE001 -- no defect may end the following for good
                _LOG.exception("events could not be followed")
            self.state = State.DEGRADED
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _tick_for_ever(self) -> None:
        """One timer for all: one for each would cost more than what it times."""
        while True:
            everyone, parts = list(self._subscriptions), round(self._round_seconds / _TICK_SECONDS)
            for part in range(parts):
                # A few at a time, so that thousands of heartbeats never stand before an update.
                self._look_after(everyone[part::parts])
                await asyncio.sleep(_TICK_SECONDS)

    def _look_after(self, subscriptions: Iterable[Subscription]) -> None:
        now = time.monotonic()
        for each in subscriptions:
            if each.waits_since is not None:
                if now - each.waits_since > self._stall_seconds:
                    _STALLED.inc()
                    self.unsubscribe(each)
                    each.end()
            elif now - each.told_at >= self._heartbeat_seconds - self._round_seconds:
                each.beat()


def _grouped(event: Event) -> _Grouped:
    stations: dict[tuple[str, str], list[StoredReading]] = {}
    for reading in event.readings:
        if reading.counts:
            stations.setdefault((reading.tenant, reading.station_id), []).append(reading)
    return _Grouped(event, list(stations.values()))
