"""What every station says now, held in the process: read once from the store, then kept by the stream of events."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final, NamedTuple, Protocol

import structlog
from prometheus_client import Counter, Gauge

from airquality.contributions import wanted_of
from airquality.events import EventBatch, EventSource, StoredReading
from airquality.holdings import Holding, RecentSeries
from airquality.intervals import microseconds
from airquality.standards import Standard, all_standards, standard_of
from airquality.stations import Station
from airquality.surface import Surface, surfaces_from
from meshkit.errors import MeshError
from meshkit.health import State
from meshkit.identity import PUBLIC_TENANT

_STATIONS = Gauge("geomesh_airquality_latest_stations", "Stations whose newest readings are held in the process.")
_REREADS = Counter(
    "geomesh_airquality_latest_rereads", "Times that the newest readings were read from the store.", ["result"]
)
_LOG = structlog.get_logger(__name__)

_MOST_TENANTS: Final = 100
_MOST_SURFACES: Final = 200
# A reading may come to be of age, or too old, without any event.
_SURFACE_SECONDS: Final = 15.0
_REBUILD_SECONDS: Final = 0.25
# A NowCast of O3 takes a millisecond or two.
_CHUNK: Final = 10
_RETRY_SECONDS: Final = 1.0


class LatestStore(Protocol):
    """What LatestValues needs of a repository."""

    async def find_recent(
        self, tenant: str, at: datetime, max_age_seconds: float, hours: Sequence[int]
    ) -> list[RecentSeries]:
        """Returns what the stations of one tenant, and of no other, reported that may count at a moment."""


class _Built(NamedTuple):
    surfaces: tuple[Surface, ...]
    revisions: tuple[int, ...]
    at: float


class LatestValues:
    """The newest readings of public stations, and of those of the tenants who ask; a dependency of the service.

    What is a tenant's own is held apart and only ever put together with the public for that tenant. Without an event
    source, and to heal whatever went missing, everything is read again every so often.
    """

    name = "latest-values"
    required = False
    breaker = ""

    def __init__(
        self, store: LatestStore, events: EventSource | None, *, max_age_seconds: float, reread_seconds: float
    ) -> None:
        """Makes it, empty.

        Args:
            store: Where it begins from.
            events: What is stored from then on.
            max_age_seconds: Time after the end of its period for which a reading stands for the air.
            reread_seconds: Time between two readings of the whole.
        """
        self._store = store
        self._events = events
        self._max_age_seconds = max_age_seconds
        self._reread_seconds = reread_seconds
        self._holdings: OrderedDict[str, Holding] = OrderedDict()
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._pending: dict[str, list[StoredReading]] = {}
        self._built: OrderedDict[tuple[str, str, int], _Built] = OrderedDict()
        self._building: dict[tuple[str, str, int], asyncio.Task[tuple[Surface, ...]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._wanted = asyncio.Event()

    @property
    def state(self) -> State:
        """Degraded until the public stations are held: the store answers instead."""
        return State.OK if PUBLIC_TENANT in self._holdings else State.DEGRADED

    async def start(self) -> None:
        """Begins to follow, then reads what is there."""
        _STATIONS.set_function(lambda: sum(map(len, self._holdings.values())))
        if self._events is not None:
            self._tasks.append(asyncio.create_task(self._follow(self._events)))
        self._tasks.append(asyncio.create_task(self._reread()))

    async def close(self) -> None:
        """Stops."""
        tasks = [*self._tasks, *self._reading.values(), *self._building.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def surfaces(self, tenant: str, standard: Standard, version: int, now: datetime) -> Sequence[Surface] | None:
        """Returns the surface of each pollutant for a tenant, or None as long as its readings are not held."""
        built, building = self._look(tenant, standard, version, now)
        return built if building is None else await asyncio.shield(building)

    def held(self, tenant: str, standard: Standard, version: int, now: datetime) -> Sequence[Surface] | None:
        """Returns the same without waiting, None also while it is made for the first time."""
        return self._look(tenant, standard, version, now)[0]

    def _look(
        self, tenant: str, standard: Standard, version: int, now: datetime
    ) -> tuple[Sequence[Surface] | None, "asyncio.Task[tuple[Surface, ...]] | None"]:
        """Returns what is there, or what makes it, or neither; begins to renew what is not as it should be."""
        public = self._holdings.get(PUBLIC_TENANT)
        own = self._own(tenant)
        if public is None or own is None:
            return None, None
        # Most tenants have no stations: they share what is made of the public ones.
        whose = tenant if len(own) and own is not public else PUBLIC_TENANT
        holdings = (public,) if whose == PUBLIC_TENANT else (own, public)
        key = whose, standard.index, version
        built = self._built.get(key)
        if built is not None:
            age = time.monotonic() - built.at
            stale = age > _REBUILD_SECONDS and built.revisions != tuple(each.revision for each in holdings)
            if (stale or age > _SURFACE_SECONDS) and key not in self._building:
                self._build(key, holdings, standard, now)
            return built.surfaces, None
        return None, self._building.get(key) or self._build(key, holdings, standard, now)

    def _own(self, tenant: str) -> Holding | None:
        """Returns what is held of a tenant; what is not is read for the next time."""
        own = self._holdings.get(tenant)
        if own is None:
            self._read_soon(tenant)
            return None
        self._holdings.move_to_end(tenant)
        return own

    def _build(
        self, key: tuple[str, str, int], holdings: tuple[Holding, ...], standard: Standard, now: datetime
    ) -> "asyncio.Task[tuple[Surface, ...]]":
        task = asyncio.create_task(self._make(key, holdings, standard, now))
        self._building[key] = task
        task.add_done_callback(lambda _: self._building.pop(key, None))
        return task

    async def _make(
        self, key: tuple[str, str, int], holdings: tuple[Holding, ...], standard: Standard, now: datetime
    ) -> tuple[Surface, ...]:
        """Makes the surfaces in small steps, between which calls are answered."""
        while True:
            revisions = tuple(each.revision for each in holdings)
            parts = []
            try:
                for holding in holdings:
                    for number, part in enumerate(holding.contributions(standard, key[2], now, self._max_age_seconds)):
                        parts.append(part)
                        if number % _CHUNK == 0:
                            await asyncio.sleep(0)
                break
            except RuntimeError:  # a station came in between; the next try finds most of the work done
                continue
        surfaces = surfaces_from(parts)
        self._built[key] = _Built(surfaces, revisions, time.monotonic())
        self._built.move_to_end(key)
        if len(self._built) > _MOST_SURFACES:
            self._built.popitem(last=False)
        return surfaces

    def _read_soon(self, tenant: str) -> "asyncio.Task[None]":
        task = self._reading.get(tenant)
        if task is None:
            task = self._reading[tenant] = asyncio.create_task(self._read(tenant))
            task.add_done_callback(lambda _: self._reading.pop(tenant, None))
        return task

    async def _read(self, tenant: str) -> None:
        """Reads a tenant's stations; what events tell meanwhile is put on top."""
        self._pending[tenant] = []
        try:
            recent = await self._store.find_recent(tenant, datetime.now(UTC), self._max_age_seconds, most_hours())
            before = self._holdings.get(tenant)
            holding = await asyncio.to_thread(Holding, recent)
            holding.revision = 1 if before is None else before.revision + 1
            for reading in self._pending[tenant]:
                _put(holding, reading)
            self._holdings[tenant] = holding
            _REREADS.labels("read").inc()
        except MeshError as error:
            _REREADS.labels("failed").inc()
            _LOG.warning("the newest readings could not be read", tenant=tenant, exc_info=error)
        finally:
            del self._pending[tenant]
        while len(self._holdings) > _MOST_TENANTS:
            oldest = next(each for each in self._holdings if each != PUBLIC_TENANT)
            del self._holdings[oldest]

    async def _reread(self) -> None:
        while True:
            for tenant in [PUBLIC_TENANT, *(each for each in list(self._holdings) if each != PUBLIC_TENANT)]:
                await self._read_soon(tenant)
            known = PUBLIC_TENANT in self._holdings
            if known:
                standard, now = standard_of(""), datetime.now(UTC)
                await self.surfaces(PUBLIC_TENANT, standard, standard.version_at(now, field="at"), now)
            self._wanted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._reread_seconds if known else _RETRY_SECONDS):
                    await self._wanted.wait()

    async def _follow(self, events: EventSource) -> None:
        """Takes in what is stored, and reads everything again where the stream broke."""
        after = ""
        while True:
            try:
                async for batch in events.follow(after):
                    self._take(batch)
                    after = batch.event_id
            except Exception as error:  # noqa: BLE001 -- whatever broke the stream, it is followed again
                _LOG.warning("the stream of readings broke", after=after, exc_info=error)
            after = ""
            await asyncio.sleep(_RETRY_SECONDS)
            self._wanted.set()

    def _take(self, batch: EventBatch) -> None:
        for reading in batch.readings:
            if (waiting := self._pending.get(reading.tenant)) is not None:
                waiting.append(reading)
            if (holding := self._holdings.get(reading.tenant)) is not None:
                _put(holding, reading)


@cache
def most_hours() -> tuple[int, ...]:
    """Returns how many hours any version of any index makes something of, for each code of Pollutant from 1 on."""
    wanted = [wanted_of(version).hours for standard in all_standards().values() for version in standard.versions]
    return tuple(map(max, *wanted))


def _put(holding: Holding, reading: StoredReading) -> None:
    """Puts a reading of the last day in; older ones say nothing of now."""
    if reading.time < datetime.now(UTC) - timedelta(days=1):
        return
    # A station that registered a moment ago has no name yet, until everything is read again.
    station = Station(reading.station_id, reading.provider, "", "", reading.lat, reading.lng)
    key = reading.pollutant, reading.averaging_period, microseconds(reading.time)
    if reading.counts:
        holding.put(station, *key, reading.value, reading.unit)
    else:  # it may correct one that counted
        holding.drop(station, *key)
