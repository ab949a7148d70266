"""Stations and readings in Postgres: the only place that knows how they are stored."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from asyncpg import Record

from airquality.absence import NearestReporter
from airquality.archive import Correction, CorrectionKey, Days, Key, ReadingFilter, StoredReading
from airquality.contributions import Hours, Report, Wanted
from airquality.feature import Feature
from airquality.holdings import RecentSeries
from airquality.sensors import Sensor, columns_of
from airquality.stations import Latest, Position, Station, StationFilter, latitudes_around
from airquality.units import AveragingPeriod, Pollutant
from meshkit.postgres import Postgres, load_queries

QUERIES: Final = load_queries("airquality")


class AirQualityRepository:
    """Reads and writes the schema `airquality` for one tenant at a time, whose own rows come beside the public ones."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def upsert_stations(self, tenant: str, stations: Sequence[Station]) -> int:
        """Stores stations, each id at most once, and returns how many."""
        async with self._database.transaction(tenant=tenant) as connection:
            count: int = await connection.fetchval(
                QUERIES["upsert_stations"],
                tenant,
                [each.station_id for each in stations],
                [each.provider for each in stations],
                [each.name for each in stations],
                [each.agency for each in stations],
                [each.lat for each in stations],
                [each.lng for each in stations],
            )
            sensors = [(each.station_id, *sensor) for each in stations for sensor in columns_of(each.sensors)]
            if sensors:
                columns = [list(column) for column in zip(*sensors, strict=True)]
                await connection.execute(QUERIES["silence_sensors"], tenant, columns[0])
                await connection.execute(QUERIES["upsert_sensors"], tenant, *columns)
        return count

    async def find_moved(self, tenant: str, stations: Sequence[Station], meters: float) -> dict[str, float]:
        """Returns those stations with readings that would be moved by more than so many metres, and by how many."""
        rows = await self._database.fetch(
            QUERIES["find_moved"],
            tenant,
            [each.station_id for each in stations],
            [each.lat for each in stations],
            [each.lng for each in stations],
            meters,
            tenant=tenant,
        )
        return {row["station_id"]: row["distance"] for row in rows}

    async def get_station(self, tenant: str, station_id: str) -> Station | None:
        """Returns a station that the tenant may see."""
        row = await self._database.fetchrow(QUERIES["get_station"], tenant, station_id, tenant=tenant)
        return None if row is None else _station(row)

    async def find_stations(self, tenant: str, wanted: StationFilter, after: Position, limit: int) -> list[Station]:
        """Returns stations after a position, the nearest first around a point, else by their number."""
        west, east, south, north = wanted.box
        if wanted.point is not None:
            lowest, highest = latitudes_around(wanted.point[0], wanted.radius_meters)
            south, north = max(south, lowest), min(north, highest)
        common = (tenant, after.id, west, east, south, north, wanted.provider, wanted.pollutant, limit)
        if wanted.point is None:
            rows = await self._database.fetch(QUERIES["find_stations"], *common, tenant=tenant)
            return [_station(row) for row in rows]
        lat, lng = wanted.point
        circle = (lng, lat, after.distance_meters, wanted.radius_meters)
        rows = await self._database.fetch(QUERIES["find_stations_near"], *common, *circle, tenant=tenant)
        return [_station(row, row["distance"]) for row in rows]

    async def find_latest(self, ids: Sequence[int]) -> dict[int, list[Latest]]:
        """Returns the newest readings of stations by their number."""
        latest: dict[int, list[Latest]] = {}
        for row in await self._database.fetch(QUERIES["find_latest"], ids):
            found = Latest(
                row["pollutant"], row["averaging_period"], row["time"], row["value"], row["unit"], row["flags"]
            )
            latest.setdefault(row["id"], []).append(found)
        return latest

    async def find_conditions(
        self,
        tenant: str,
        lat: float,
        lng: float,
        at: datetime,
        radius_meters: float,
        max_age_seconds: float,
        wanted: Wanted,
        *,
        include_excluded: bool = False,
    ) -> list[Report]:
        """Returns the newest reports around a place, by pollutant, then by distance."""
        where = (tenant, lat, lng, at, radius_meters, max_age_seconds)
        what = (wanted.hours, wanted.nowcasts, include_excluded, wanted.earliest(at, max_age_seconds))
        rows = await self._database.fetch(QUERIES["find_conditions"], *where, *what, tenant=tenant)
        stations: dict[int, Station] = {}
        reports = []
        for row in rows:
            (number, station_id, provider, name, agency, own_lat, own_lng, distance, *reported) = row
            station = stations.get(number)
            if station is None:
                station = stations[number] = Station(
                    station_id, provider, name, agency, own_lat, own_lng, number, distance
                )
            pollutant, period, time, value, unit, begins, values, units = reported
            hours = None if begins is None else Hours(begins, values, units)
            reports.append(Report(station, pollutant, period, time, value, unit, hours))
        return reports

    async def find_nearest_reporter(self, tenant: str, lat: float, lng: float, at: datetime) -> NearestReporter | None:
        """Returns the nearest station of all, or None when there is none."""
        row = await self._database.fetchrow(QUERIES["find_nearest_reporter"], tenant, lat, lng, at, tenant=tenant)
        if row is None:
            return None
        return NearestReporter(_station(row, row["distance"]), row["first_time"], row["last_time"])

    async def find_recent(
        self, tenant: str, at: datetime, max_age_seconds: float, hours: Sequence[int]
    ) -> list[RecentSeries]:
        """Returns what the stations of one tenant, and of no other, reported that may count at a moment."""
        rows = await self._database.fetch(QUERIES["find_recent"], tenant, at, max_age_seconds, hours, tenant=tenant)
        found: list[RecentSeries] = []
        for number, station_id, provider, name, agency, lat, lng, *series in rows:
            same = found and found[-1].station.id == number
            station = found[-1].station if same else Station(station_id, provider, name, agency, lat, lng, number)
            found.append(RecentSeries(station, *series))
        return found

    async def encode_tile(self, found: Sequence[Feature]) -> bytes:
        """Returns a vector tile of features."""
        encoded: bytes = await self._database.fetchval(
            QUERIES["encode_tile"],
            [each.layer for each in found],
            [each.shape for each in found],
            [each.properties for each in found],
        )
        return encoded

    async def find_near(self, tenant: str, lat: float, lng: float, radius_meters: float, limit: int) -> list[Station]:
        """Returns the nearest stations within a radius, with their distances."""
        rows = await self._database.fetch(QUERIES["find_near"], tenant, lat, lng, radius_meters, limit, tenant=tenant)
        return [_station(row, row["distance"]) for row in rows]

    async def find_readings(
        self, stations: Sequence[int], wanted: ReadingFilter, after: Key | None, limit: int
    ) -> list[StoredReading]:
        """Returns readings after a key, the newest first."""
        rows = await self._database.fetch(
            QUERIES["find_readings"],
            stations,
            wanted.pollutant,
            wanted.averaging_period,
            wanted.start,
            wanted.end,
            *(after or (None, None, None, None)),
            limit,
        )
        return [
            StoredReading(
                Key(row["time"], row["id"], row["pollutant"], row["averaging_period"]),
                row["value"],
                row["unit"],
                row["flags"],
            )
            for row in rows
        ]

    async def find_sources(
        self, stations: Sequence[int], start: datetime, end: datetime, pollutant: int | None
    ) -> dict[Pollutant, int]:
        """Returns for each pollutant the first of the stations that has any hour in [start, end), both full hours."""
        last = end - timedelta(hours=1)
        rows = await self._database.fetch(
            QUERIES["find_sources"], stations, start.date(), start.hour, last.date(), last.hour, pollutant
        )
        return {Pollutant(row["pollutant"]): row["id"] for row in rows}

    async def find_history(
        self, sources: dict[Pollutant, int], start: datetime, end: datetime
    ) -> dict[tuple[Pollutant, AveragingPeriod], Days]:
        """Returns the days of UTC that touch [start, end) of each pollutant from its station."""
        rows = await self._database.fetch(
            QUERIES["find_history"], list(sources.values()), list(sources), start.date(), end.date()
        )
        return {
            (Pollutant(row["pollutant"]), AveragingPeriod(row["averaging_period"])): Days(row["days"], row["hours"])
            for row in rows
        }

    async def find_corrections(
        self, holder: int, wanted: ReadingFilter, after: CorrectionKey | None, limit: int
    ) -> list[Correction]:
        """Returns what readings of a station or sensor said before they were corrected, the last replaced first."""
        rows = await self._database.fetch(
            QUERIES["find_corrections"],
            holder,
            wanted.pollutant,
            wanted.averaging_period,
            wanted.start,
            wanted.end,
            *(after or (None, None, None, None)),
            limit,
        )
        return [
            Correction(
                Key(row["time"], row["id"], row["pollutant"], row["averaging_period"]),
                row["value"],
                row["unit"],
                row["flags"],
                row["replaced_at"],
            )
            for row in rows
        ]

    async def find_sensors(self, tenant: str, stations: Sequence[int]) -> dict[int, list[Sensor]]:
        """Returns the sensors of stations by the number of their station, in their order."""
        sensors: dict[int, list[Sensor]] = {}
        for row in await self._database.fetch(QUERIES["find_sensors"], stations, tenant=tenant):
            sensor = Sensor(
                row["sensor_id"],
                row["model"],
                tuple(row["pollutants"]),
                row["low_cost"],
                row["correction"],
                row["id"],
            )
            sensors.setdefault(row["station"], []).append(sensor)
        return sensors


def _station(row: Record, distance_meters: float | None = None) -> Station:
    return Station(
        row["station_id"],
        row["provider"],
        row["name"],
        row["agency"],
        row["lat"],
        row["lng"],
        row["id"],
        distance_meters,
    )
