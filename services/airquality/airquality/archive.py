"""What is stored of the past: readings as they came, and the history of a station or a place."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from airquality.blocks import grid
from airquality.history import Hours, check_granularity, span, versions_at
from airquality.intervals import HOUR_MICROSECONDS, Granularity, edges_of, moment
from airquality.past import Past, past_of
from airquality.sensors import Sensor
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
    """A reading as it was reported, with its flags, a sum of quality.Flag."""

    key: Key
    value: float
    unit: int
    flags: int = 0


class CorrectionKey(NamedTuple):
    """Orders the corrections of one station or sensor."""

    replaced_at: datetime
    time: datetime
    pollutant: int
    averaging_period: int


class Correction(NamedTuple):
    """What a reading said until it was replaced."""

    key: Key
    value: float
    unit: int
    flags: int
    replaced_at: datetime


class Days(NamedTuple):
    """Days of one series: days since 1970 in order, and their hours one after another, as airquality.blocks has them."""

    days: list[int]
    hours: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """A station or its sensor by their ids, or a circle around a point of the radius or that of what is asked."""

    station_id: str = ""
    sensor_id: str = ""
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
        """Returns for each pollutant the first of the stations that has any hour in [start, end), both full hours."""

    async def find_history(
        self, sources: dict[Pollutant, int], start: datetime, end: datetime
    ) -> dict[tuple[Pollutant, AveragingPeriod], Days]:
        """Returns the days of UTC that touch [start, end) of each pollutant from its station."""

    async def find_sensors(self, tenant: str, stations: Sequence[int]) -> dict[int, list[Sensor]]:
        """Returns the sensors of stations by the number of their station, in their order."""

    async def find_corrections(
        self, holder: int, wanted: ReadingFilter, after: CorrectionKey | None, limit: int
    ) -> list[Correction]:
        """Returns what readings of a station or sensor said before they were corrected, the last replaced first."""


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
        _check(wanted)
        stations = {each.id: each for each in await self._at(tenant, place, READINGS_RADIUS_METERS)}
        limit = min(page_size or DEFAULT_PAGE, LARGEST_PAGE)
        found = await self._store.find_readings(list(stations), wanted, after, limit + 1)
        page = found[:limit]
        return [(stations[each.key.station], each) for each in page], page[-1].key if len(found) > limit else None

    async def corrections(
        self, tenant: str, place: Place, wanted: ReadingFilter, after: CorrectionKey | None, page_size: int
    ) -> tuple[Station, list[Correction], CorrectionKey | None]:
        """Returns a page of corrections with their station, and where the next page begins, if there is one.

        Raises:
            InvalidInput: The end is not after the start.
            NotFound: There is no such station or sensor.
        """
        _check(wanted)
        (station,) = await self._at(tenant, place, READINGS_RADIUS_METERS)
        limit = min(page_size or DEFAULT_PAGE, LARGEST_PAGE)
        found = await self._store.find_corrections(station.id, wanted, after, limit + 1)
        page = found[:limit]
        if len(found) <= limit:
            return station, page, None
        last = page[-1]
        return (
            station,
            page,
            CorrectionKey(last.replaced_at, last.key.time, last.key.pollutant, last.key.averaging_period),
        )

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
        profiles: bool,
    ) -> tuple[Past, dict[Pollutant, Station]]:
        """Returns the history of a place, and which station speaks for which pollutant.

        Raises:
            InvalidInput: The times, the time zone or the version are wrong.
            NotFound: There is no such station, none in the circle, or none has a reading in this time.
        """
        edges = edges_of(start, end, granularity, time_zone)
        # What is wrong with the question is told before what is not there.
        check_granularity(standard, versions_at(standard, edges, version_id), granularity)
        stations = {each.id: each for each in await self._at(tenant, place, HISTORY_RADIUS_METERS)}
        # Time zones of half hours begin their days within an hour, which then counts whole.
        first, last = (moment(int(edges[at]) // HOUR_MICROSECONDS * HOUR_MICROSECONDS) for at in (0, -1))
        sources = await self._store.find_sources(list(stations), first, last, pollutant)
        if not sources:
            names = ", ".join(station.station_id for station in list(stations.values())[:3])
            raise NotFound(
                Reason.NO_DATA_NEARBY,
                f"nothing was reported between {first:%Y-%m-%dT%H:%M:%SZ} and {last:%Y-%m-%dT%H:%M:%SZ} by {names}"
                f"{' or others' if len(stations) > 3 else ''}",  # noqa: PLR2004 -- as many as are named
            )
        first_hour, count = span(edges)
        until = moment((first_hour + count) * HOUR_MICROSECONDS)
        days = await self._store.find_history(sources, moment(first_hour * HOUR_MICROSECONDS), until)
        hours = {key: Hours(*grid(each.days, each.hours, first_hour, count)) for key, each in days.items()}
        past = past_of(standard, version_id, edges, granularity, time_zone, hours, profiles=profiles)
        return past, {each: stations[number] for each, number in sources.items()}

    async def _at(self, tenant: str, place: Place, default_radius_meters: float) -> list[Station]:
        if place.station_id:
            station = await self._stations.find(tenant, place.station_id)
            return [await self._sensor(tenant, station, place.sensor_id) if place.sensor_id else station]
        radius_meters = place.radius_meters or default_radius_meters
        stations = await self._store.find_near(tenant, place.lat, place.lng, radius_meters, _MOST_STATIONS)
        if not stations:
            raise NotFound(Reason.NO_DATA_NEARBY, f"no station is within {radius_meters / 1000:g} km")
        return stations

    async def _sensor(self, tenant: str, station: Station, sensor_id: str) -> Station:
        """Returns a station with the number of one of its sensors, whose readings are wanted."""
        for sensor in (await self._store.find_sensors(tenant, [station.id])).get(station.id, []):
            if sensor.sensor_id == sensor_id:
                return station._replace(id=sensor.id)
        raise NotFound(Reason.STATION_NOT_FOUND, f"station {station.station_id!r} has no sensor {sensor_id!r}")


def _check(wanted: ReadingFilter) -> None:
    if wanted.start is not None and wanted.end is not None and wanted.end <= wanted.start:
        raise InvalidInput("end_time", "must be after start_time")
