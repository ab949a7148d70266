"""What a subscriber is told, message by message."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from airquality.events import EventExpired
from airquality.live.areas import Area, Circle, Named
from airquality.live.hub import Hub
from airquality.live.subscription import Subscription, Wanted
from airquality.stations import Latest, Station
from meshkit.context import RequestContext, current
from meshkit.errors import InvalidInput, NotFound, Reason, ResourceExhausted

DEFAULT_RADIUS_METERS: Final = 25_000.0


class Kind(IntEnum):
    """What kind of message it is; the codes of WatchEvent."""

    SNAPSHOT = 1
    UPDATE = 2
    HEARTBEAT = 3
    ENDING = 4


class Cause(IntEnum):
    """Why a snapshot comes; the codes of SnapshotReason."""

    NONE = 0
    STARTED = 1
    EVENT_EXPIRED = 2
    FELL_BEHIND = 3
    MOVED = 4


class Message(NamedTuple):
    """One message.

    Attributes:
        kind: What it is.
        position: Where the stream stands after it.
        stations: The stations, rendered.
        cause: Why a snapshot comes.
        skipped: Updates given up before it.
        ending: Why the stream ends.
    """

    kind: Kind
    position: int
    stations: bytes = b""
    cause: Cause = Cause.NONE
    skipped: int = 0
    ending: str = ""


class Watched(NamedTuple):
    """A station with its newest readings, and whose it is."""

    tenant: str
    station: Station
    latest: Sequence[Latest]


class Snapshot(NamedTuple):
    """What is stored, including every event up to a position and none after."""

    position: int
    stations: Sequence[Watched]


class SnapshotStore(Protocol):
    """What Watching needs of a repository."""

    async def snapshot(self, wanted: Wanted, limit: int) -> Snapshot:
        """Returns at most so many stations that are, or may be, in the area."""

    async def find_named(self, tenant: str, station_ids: Sequence[str]) -> dict[str, str]:
        """Returns the tenants of stations by their ids: of two with one id the caller's own."""


class Moves:
    """Where something that moves is now; of several places the last."""

    def __init__(self) -> None:
        self._place: tuple[float, float] | None = None
        self._error: Exception | None = None
        self.listener: Callable[[], None] | None = None

    def move(self, lat: float, lng: float) -> None:
        """Notes a place in degrees."""
        self._place = (lat, lng)
        self._tell()

    def fail(self, error: Exception) -> None:
        """Has `take` raise this."""
        self._error = error
        self._tell()

    def take(self) -> tuple[float, float] | None:
        """Returns the place where it was not taken yet."""
        if self._error is not None:
            raise self._error
        place, self._place = self._place, None
        return place

    def _tell(self) -> None:
        if self.listener is not None:
            self.listener()


class Watching:
    """Answers subscribers."""

    def __init__(
        self, hub: Hub, store: SnapshotStore, render: Callable[[Sequence[Watched]], bytes], *, most_stations: int
    ) -> None:
        """Makes it.

        Args:
            hub: What hands events on.
            store: What is stored now.
            render: Makes what subscribers get of a snapshot.
            most_stations: Stations that one subscriber may watch.
        """
        self._hub = hub
        self._store = store
        self._render = render
        self._most_stations = most_stations

    async def named(self, tenant: str, station_ids: Sequence[str]) -> Named:
        """Returns the stations with some ids.

        Raises:
            NotFound: The tenant sees none with one of them.
        """
        found = await self._store.find_named(tenant, station_ids)
        for each in station_ids:
            if each not in found:
                raise NotFound(Reason.STATION_NOT_FOUND, f"no station has the id {each!r}")
        return Named(frozenset((found[each], each) for each in station_ids))

    async def watch(
        self, wanted: Wanted, after: int | None, moves: Moves | None = None
    ) -> AsyncGenerator[Message, None]:
        """Yields messages until the subscriber goes or the server ends the stream.

        Args:
            wanted: What to tell.
            after: The event after which to begin; None for a snapshot.
            moves: Where the centre of the circle is; None for an area that stays.

        Raises:
            InvalidInput: There are too many stations in the area.
            MeshError: As Hub.subscribe.
        """
        subscription, told = await self._subscribe(wanted, moves), 0
        try:
            async for message in self._begin(subscription, after):
                yield message
                told = message.position
            while True:
                if moves is not None and (place := moves.take()) is not None:
                    self._hub.unsubscribe(subscription)
                    wanted = replace(wanted, area=_moved(wanted.area, place))
                    subscription = await self._subscribe(wanted, moves)
                    yield await self._snapshot(subscription, Cause.MOVED)
                    told = subscription.floor
                for message in await self._next(subscription):
                    yield message
                    told = message.position
                await subscription.ready()
        except asyncio.CancelledError:
            ended_by = current().ended_by
            if ended_by is not None and told:  # by us, so that somebody may still hear it
                yield Message(Kind.ENDING, told, ending=ended_by.reason.value)
            raise
        finally:
            self._hub.unsubscribe(subscription)

    async def _subscribe(self, wanted: Wanted, moves: Moves | None) -> Subscription:
        subscription = await self._hub.subscribe(wanted)
        subscription.end = _stalled(current(), asyncio.current_task())
        if moves is not None:
            moves.listener = subscription.wake
        return subscription

    async def _begin(self, subscription: Subscription, after: int | None) -> AsyncIterator[Message]:
        if after is None:
            yield await self._snapshot(subscription, Cause.STARTED)
            return
        try:
            missed = await self._hub.missed(subscription, after)
        except EventExpired:
            yield await self._snapshot(subscription, Cause.EVENT_EXPIRED)
            return
        for update in missed:
            yield Message(Kind.UPDATE, update.position, update.stations)
        if not missed:  # at once, so that it is known that the stream goes on
            yield Message(Kind.HEARTBEAT, subscription.floor)

    async def _next(self, subscription: Subscription) -> list[Message]:
        if subscription.skipped:
            return [await self._snapshot(subscription, Cause.FELL_BEHIND)]
        updates, beat = subscription.take()
        if beat and not updates:
            subscription.floor = max(subscription.floor, self._hub.position)
            return [Message(Kind.HEARTBEAT, subscription.floor)]
        return [Message(Kind.UPDATE, update.position, update.stations) for update in updates]

    async def _snapshot(self, subscription: Subscription, cause: Cause) -> Message:
        wanted = subscription.wanted
        position, stations = await self._store.snapshot(wanted, self._most_stations + 1)
        inside = [
            each
            for each in stations
            if wanted.area.holds(each.tenant, each.station.station_id, each.station.lat, each.station.lng)
        ]
        if len(stations) > self._most_stations:
            raise InvalidInput(
                "", f"more than {self._most_stations} stations are in or around the area; choose a smaller one"
            )
        skipped = subscription.restart(position)
        return Message(Kind.SNAPSHOT, position, self._render(inside), cause, skipped)


def _moved(area: Area, place: tuple[float, float]) -> Circle:
    if not isinstance(area, Circle):
        raise InvalidInput("watch", "must be a circle, by lat and lng: nothing else has a centre that moves")
    return Circle(*place, area.radius_meters)


def _stalled(call: RequestContext, task: "asyncio.Task[object] | None") -> Callable[[], None]:
    def end() -> None:
        if call.ended_by is None and task is not None:
            call.ended_by = ResourceExhausted(
                Reason.SUBSCRIBER_TOO_SLOW,
                "nothing of the stream was taken for too long; begin again after the last event",
                retry_after_seconds=1.0,
            )
            task.cancel()

    return end


def max_age(seconds: float | None, default_seconds: float) -> timedelta:
    """Returns how old readings may be that are told."""
    return timedelta(seconds=default_seconds if seconds is None else seconds)
