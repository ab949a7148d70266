"""One subscription: what it wants, and what waits for it."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from airquality.events import StoredReading
from airquality.live.areas import Area
from meshkit.identity import PUBLIC_TENANT


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscriber wants to know.

    Attributes:
        tenant: Whose readings it sees beside the public ones.
        area: Where.
        pollutants: Codes of Pollutant; None for all.
        max_age: How long before it was stored a reading may have begun.
    """

    tenant: str
    area: Area
    pollutants: frozenset[int] | None
    max_age: timedelta

    def takes(self, readings: Sequence[StoredReading], stored_at: datetime) -> Sequence[StoredReading]:
        """Returns those readings of one station that are wanted."""
        first = readings[0]
        if first.tenant not in (PUBLIC_TENANT, self.tenant):
            return ()
        if not self.area.holds(first.tenant, first.station_id, first.lat, first.lng):
            return ()
        since = stored_at - self.max_age
        if self.pollutants is None and all(each.time >= since for each in readings):
            return readings
        return [
            each
            for each in readings
            if each.time >= since and (self.pollutants is None or each.pollutant in self.pollutants)
        ]


class Update(NamedTuple):
    """What an event has for one subscriber: the event's position, and the rendered stations."""

    position: int
    stations: bytes


class Subscription:
    """What waits for one subscriber, and no more than a bounded number of updates of it.

    Attributes:
        wanted: What it wants to know.
        floor: The position up to which it knows everything; what is not after it is not told again.
        skipped: Updates that were given up because they waited too long; the next message must be a snapshot.
        waits_since: When the oldest of what waits came, by time.monotonic; None while nothing waits.
        told_at: When something was last taken, by time.monotonic.
        end: Ends the subscriber's stream when it takes nothing for too long.
    """

    __slots__ = (
        "_awake",
        "_beat",
        "_limit",
        "_ready",
        "_updates",
        "end",
        "floor",
        "skipped",
        "told_at",
        "waits_since",
        "wanted",
    )

    def __init__(self, wanted: Wanted, floor: int, *, limit: int) -> None:
        self.wanted = wanted
        self.floor = floor
        self.skipped = 0
        self.waits_since: float | None = None
        self.told_at = time.monotonic()
        self._limit = limit
        self._updates: list[Update] = []
        self._beat = False
        self._awake = False
        self.end: Callable[[], None] = _nothing
        self._ready: asyncio.Future[None] | None = None

    def put(self, update: Update) -> None:
        """Adds an update; beyond the limit all that wait are given up, for a snapshot holds them and more."""
        if update.position <= self.floor:
            return
        if self.waits_since is None:
            self.waits_since = time.monotonic()
        if self.skipped or len(self._updates) >= self._limit:
            self.skipped += len(self._updates) + 1
            self._updates.clear()
        else:
            self._updates.append(update)
        self.wake()

    def give_up(self) -> None:
        """Has a snapshot come next, because nobody knows what should have come."""
        self.skipped += len(self._updates) + 1
        self._updates.clear()
        self.wake()

    def beat(self) -> None:
        """Asks for a sign of life."""
        self._beat = True
        self.wake()

    def wake(self) -> None:
        """Ends `ready`, now or the next time."""
        self._awake = True
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    async def ready(self) -> None:
        """Returns when something waits or `wake` was called meanwhile."""
        if not (self._awake or self._updates):
            self._ready = asyncio.get_running_loop().create_future()
            try:
                await self._ready
            finally:
                self._ready = None
        self._awake = False

    def take(self) -> tuple[Collection[Update], bool]:
        """Returns the updates that wait, and whether a sign of life is due."""
        updates, beat = [each for each in self._updates if each.position > self.floor], self._beat
        self._updates, self._beat = [], False
        if not self.skipped:
            self.waits_since = None
        self.told_at = time.monotonic()
        if updates:
            self.floor = updates[-1].position
        return updates, beat

    def restart(self, floor: int) -> int:
        """Forgets what a snapshot of this position holds, and returns how many updates were given up before it."""
        skipped, self.skipped, self.floor = self.skipped, 0, floor
        self._updates = [each for each in self._updates if each.position > floor]
        self.waits_since = time.monotonic() if self._updates else None
        return skipped


def _nothing() -> None:
    """Stands for the end of a stream that nobody writes yet."""
