"""Stations: where air is measured, and their newest values."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from airquality.sensors import Sensor, check
from meshkit.errors import InvalidInput, NotFound, Reason

DEFAULT_PAGE: Final = 100
LARGEST_PAGE: Final = 500
DEFAULT_RADIUS_METERS: Final = 50_000.0
MOST_MOVED_METERS: Final = 1000.0
"""How far the place of a station with readings can be corrected; farther off it is another place."""

# The shortest degree of latitude on WGS84, at the equator.
_METERS_PER_DEGREE: Final = 110_574.0


class Station(NamedTuple):
    """A place where air is measured.

    Attributes:
        station_id: Its name for programs.
        provider: Who publishes its readings.
        name: Its name for people.
        agency: Who runs it.
        lat: Latitude in degrees.
        lng: Longitude in degrees.
        id: Its number in the database; 0 before it has one.
        distance_meters: Its distance from the place asked about; None when none was.
        sensors: Its instruments, where they were looked up or are to be stored.
    """

    station_id: str
    provider: str
    name: str
    agency: str
    lat: float
    lng: float
    id: int = 0
    distance_meters: float | None = None
    sensors: tuple[Sensor, ...] = ()


class Latest(NamedTuple):
    """The newest reading of one series that counts; codes and unit as in airquality.units, flags a sum of quality.Flag."""

    pollutant: int
    averaging_period: int
    time: datetime
    value: float
    unit: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class StationFilter:
    """Which stations are wanted; what is None filters nothing.

    Attributes:
        box: West, east, south and north in degrees; west is greater than east over the antimeridian.
        point: Latitude and longitude in degrees of the centre of a circle.
        radius_meters: The circle's radius.
        provider: Who publishes.
        pollutant: A code of Pollutant that was ever reported.
    """

    box: tuple[float, float, float, float] = (-180.0, 180.0, -90.0, 90.0)
    point: tuple[float, float] | None = None
    radius_meters: float = DEFAULT_RADIUS_METERS
    provider: str | None = None
    pollutant: int | None = None


class Position(NamedTuple):
    """After which station a page starts: its distance in metres from the point, if there is one, and its number."""

    distance_meters: float
    id: int


BEGINNING: Final = Position(-1.0, 0)


class StationStore(Protocol):
    """What Stations needs of a repository."""

    async def upsert_stations(self, tenant: str, stations: Sequence[Station]) -> int:
        """Stores stations and returns how many."""

    async def get_station(self, tenant: str, station_id: str) -> Station | None:
        """Returns a station that the tenant may see."""

    async def find_stations(self, tenant: str, wanted: StationFilter, after: Position, limit: int) -> list[Station]:
        """Returns stations after a position, in order."""

    async def find_sensors(self, tenant: str, stations: Sequence[int]) -> dict[int, list[Sensor]]:
        """Returns the sensors of stations by the number of their station, in their order."""

    async def find_moved(self, tenant: str, stations: Sequence[Station], meters: float) -> dict[str, float]:
        """Returns those stations with readings that would be moved by more than so many metres, and by how many."""

    async def find_latest(self, ids: Sequence[int]) -> dict[int, list[Latest]]:
        """Returns the newest readings of stations by their number."""


class Stations:
    """Registers and finds stations."""

    def __init__(self, store: StationStore) -> None:
        self._store = store

    async def upsert(self, tenant: str, stations: Sequence[Station]) -> int:
        """Stores stations of a tenant, of several with one id the last, and returns how many are stored."""
        return await self._store.upsert_stations(tenant, list({each.station_id: each for each in stations}.values()))

    async def rule(self, tenant: str, stations: Sequence[Station]) -> Callable[[Station], None]:
        """Returns what each of some stations must keep beside the rules of the proto; it raises InvalidInput."""
        moved = await self._store.find_moved(tenant, stations, MOST_MOVED_METERS)

        def rule(station: Station) -> None:
            check(station.sensors)
            if station.station_id in moved:
                raise InvalidInput(
                    "location",
                    f"is {moved[station.station_id] / 1000:.1f} km from where {station.station_id!r} has measured;"
                    " register another station_id, since readings belong to their place",
                )

        return rule

    async def get(self, tenant: str, station_id: str) -> tuple[Station, list[Latest]]:
        """Returns a station with its newest readings.

        Raises:
            NotFound: The tenant sees none with this id.
        """
        station = await self.find(tenant, station_id)
        sensors = await self._store.find_sensors(tenant, [station.id])
        station = station._replace(sensors=tuple(sensors.get(station.id, ())))
        return station, (await self._store.find_latest([station.id])).get(station.id, [])

    async def find(self, tenant: str, station_id: str) -> Station:
        """Returns a station.

        Raises:
            NotFound: The tenant sees none with this id.
        """
        station = await self._store.get_station(tenant, station_id)
        if station is None:
            raise NotFound(Reason.STATION_NOT_FOUND, f"no station has the id {station_id!r}")
        return station

    async def page(
        self, tenant: str, wanted: StationFilter, after: Position | None, page_size: int
    ) -> tuple[list[tuple[Station, list[Latest]]], Position | None]:
        """Returns a page of stations with their newest readings, and where the next page begins, if there is one."""
        limit = min(page_size or DEFAULT_PAGE, LARGEST_PAGE)
        stations = await self._store.find_stations(tenant, wanted, after or BEGINNING, limit + 1)
        page = stations[:limit]
        latest = await self._store.find_latest([station.id for station in page])
        sensors = await self._store.find_sensors(tenant, [station.id for station in page])
        following = None
        if len(stations) > limit:
            following = Position(page[-1].distance_meters or 0.0, page[-1].id)
        return [
            (station._replace(sensors=tuple(sensors.get(station.id, ()))), latest.get(station.id, []))
            for station in page
        ], following


def latitudes_around(lat: float, radius_meters: float) -> tuple[float, float]:
    """Returns the degrees of latitude between which a circle lies, a little too far rather than too near."""
    degrees = math.nextafter(radius_meters / _METERS_PER_DEGREE, math.inf) + 1e-9
    return max(-90.0, lat - degrees), min(90.0, lat + degrees)
