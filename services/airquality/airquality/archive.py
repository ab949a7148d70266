"""What is stored of the past: readings as they came, and the history of a station or a place."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from airquality.history import (
    LEAD_HOURS,
    TAIL_HOURS,
    Granularity,
    History,
    Series,
    check_granularity,
    edges_of,
    history_of,
    moment,
    versions_at,
)
from airquality.standards import Standard
from airquality.stations import Station, Stations
from airquality.units import AveragingPeriod, Pollutant
from meshkit.errors import InvalidInput, NotFound, Reason

DEFAULT_PAGE: Final = 1000
LARGEST_PAGE: Final = 10_000
READINGS_RADIUS_METERS: Final = 10_000.0
HISTORY_RADIUS_METERS: Final = 50_000.0

_MOST_STATIONS: Final = 50


class Key(NamedTuple):
    """The natural key of a reading, with the station's number in the database."""

    time: datetime
    station: int
    pollutant: int
    averaging_period: int


class StoredReading(NamedTuple):
    """A reading as it was reported."""

    key: Key
    value: float
    unit: int


@dataclass(frozen=True, slots=True)
class Place:
    """A station by its id, or a circle around a point; `radius_meters` None is the default of what is asked."""

    station_id: str = ""
    lat: float = 0.0
    lng: float = 0.0
    radius_meters: float | None = None


@dataclass(frozen=True, slots=True)
class ReadingFilter:
    """Which readings of a station are wanted; what is None filters nothing. Times are [start, end)."""

    pollutant: int | None = None
    averaging_period: int | None = None
    start: datetime | None = None
    end: datetime | None = None


class ArchiveStore(Protocol):
    """What Archive needs of a repository."""

    async def find_near(self, tenant: str, lat: float, lng: float, radius_meters: float, limit: int) -> list[Station]:
        """Returns the nearest stations within a radius, with their distances."""

    async def find_readings(
        self, stations: Sequence[int], wanted: ReadingFilter, after: Key | None, limit: int
    ) -> list[StoredReading]:
        """Returns readings after a key, the newest first."""

    async def find_sources(
        self, stations: Sequence[int], start: datetime, end: datetime, pollutant: int | None
    ) -> dict[Pollutant, int]:
        """Returns for each pollutant the first of the stations that has any reading in [start, end)."""

    async def find_values(
        self, sources: dict[Pollutant, int], start: datetime, end: datetime
    ) -> dict[tuple[Pollutant, AveragingPeriod], Series]:
        """Returns all readings in [start, end) of each pollutant from its station."""


class Archive:
    """Answers what was measured."""

    def __init__(self, store: ArchiveStore, stations: Stations) -> None:
        self._store = store
        self._stations = stations

    async def readings(
        self, tenant: str, place: Place, wanted: ReadingFilter, after: Key | None, page_size: int
    ) -> tuple[list[tuple[Station, StoredReading]], Key | None]:
        """Returns a page of readings with their stations, and where the next page begins, if there is one.

        Raises:
            InvalidInput: The end is not after the start.
            NotFound: There is no such station, or none in the circle.
        """
        if wanted.start is not None and wanted.end is not None and wanted.end <= wanted.start:
            raise InvalidInput("end_time", "must be after start_time")
        stations = {each.id: each for each in await self._at(tenant, place, READINGS_RADIUS_METERS)}
        limit = min(page_size or DEFAULT_PAGE, LARGEST_PAGE)
        found = await self._store.find_readings(list(stations), wanted, after, limit + 1)
        page = found[:limit]
        return [(stations[each.key.station], each) for each in page], page[-1].key if len(found) > limit else None

    async def history(
        self,
        tenant: str,
        place: Place,
        *,
        pollutant: int | None,
        start: datetime,
        end: datetime,
        granularity: Granularity,
        time_zone: str,
        standard: Standard,
        version_id: str,
    ) -> tuple[History, dict[Pollutant, Station]]:
        """Returns the history of a place, and which station speaks for which pollutant.

        Raises:
            InvalidInput: The times, the time zone or the version are wrong.
            NotFound: There is no such station, none in the circle, or none has a reading in this time.
        """
        edges = edges_of(start, end, granularity, time_zone)
        versions = versions_at(standard, edges, version_id)
        check_granularity(standard, versions, granularity)
        stations = {each.id: each for each in await self._at(tenant, place, HISTORY_RADIUS_METERS)}
        first, last = moment(int(edges[0])), moment(int(edges[-1]))
        sources = await self._store.find_sources(list(stations), first, last, pollutant)
        if not sources:
            names = ", ".join(station.station_id for station in list(stations.values())[:3])
            raise NotFound(
                Reason.NO_DATA_NEARBY,
                f"nothing was reported between {first:%Y-%m-%dT%H:%M:%SZ} and {last:%Y-%m-%dT%H:%M:%SZ} by {names}"
                f"{' or others' if len(stations) > 3 else ''}",  # noqa: PLR2004 -- as many as are named
            )
        series = await self._store.find_values(
            sources, first - timedelta(hours=LEAD_HOURS), last + timedelta(hours=TAIL_HOURS)
        )
        history = history_of(standard, versions, edges, series)
        return history, {each: stations[number] for each, number in sources.items()}

    async def _at(self, tenant: str, place: Place, default_radius_meters: float) -> list[Station]:
        if place.station_id:
            return [await self._stations.find(tenant, place.station_id)]
        radius_meters = place.radius_meters or default_radius_meters
        stations = await self._store.find_near(tenant, place.lat, place.lng, radius_meters, _MOST_STATIONS)
        if not stations:
            raise NotFound(Reason.NO_DATA_NEARBY, f"no station is within {radius_meters / 1000:g} km")
        return stations
