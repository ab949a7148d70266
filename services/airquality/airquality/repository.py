"""Stations and readings in Postgres: the only place that knows how they are stored."""

import io
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
from asyncpg import Record, UniqueViolationError

from airquality import copyformat
from airquality.archive import Key, ReadingFilter, StoredReading
from airquality.conditions import NearestReporter
from airquality.contributions import Hours, Report
from airquality.history import Series
from airquality.holdings import RecentSeries
from airquality.readings import Readings
from airquality.stations import Latest, Position, Station, StationFilter, latitudes_around
from airquality.units import AveragingPeriod, Pollutant
from airquality.vectors import Feature
from meshkit.postgres import Connection, Postgres, load_queries

QUERIES: Final = load_queries("airquality")

_MONTH: Final = "datetime64[M]"


class AirQualityRepository:
    """Reads and writes the schema `airquality` for one tenant at a time, whose own rows come beside the public ones."""

    def __init__(self, database: Postgres) -> None:
        self._database = database
        # Neither series nor partitions go away while a service runs, so what was once there need not be asked again.
        self._series: set[int] = set()
        self._months: set[int] = set()

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
        return count

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
            found = Latest(row["pollutant"], row["averaging_period"], row["time"], row["value"], row["unit"])
            latest.setdefault(row["id"], []).append(found)
        return latest

    async def find_conditions(
        self, tenant: str, lat: float, lng: float, at: datetime, radius_meters: float, max_age_seconds: float
    ) -> list[Report]:
        """Returns the newest reports around a place, by pollutant, then by distance."""
        rows = await self._database.fetch(
            QUERIES["find_conditions"], tenant, lat, lng, at, radius_meters, max_age_seconds, tenant=tenant
        )
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

    async def find_recent(self, tenant: str, at: datetime, max_age_seconds: float) -> list[RecentSeries]:
        """Returns what the stations of one tenant, and of no other, reported that may count at a moment."""
        rows = await self._database.fetch(QUERIES["find_recent"], tenant, at, max_age_seconds, tenant=tenant)
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
                Key(row["time"], row["id"], row["pollutant"], row["averaging_period"]), row["value"], row["unit"]
            )
            for row in rows
        ]

    async def find_sources(
        self, stations: Sequence[int], start: datetime, end: datetime, pollutant: int | None
    ) -> dict[Pollutant, int]:
        """Returns for each pollutant the first of the stations that has any reading in [start, end)."""
        rows = await self._database.fetch(QUERIES["find_sources"], stations, start, end, pollutant)
        return {Pollutant(row["pollutant"]): row["id"] for row in rows}

    async def find_values(
        self, sources: dict[Pollutant, int], start: datetime, end: datetime
    ) -> dict[tuple[Pollutant, AveragingPeriod], Series]:
        """Returns all readings in [start, end) of each pollutant from its station."""
        rows = await self._database.fetch(QUERIES["find_values"], list(sources.values()), list(sources), start, end)
        return {
            (Pollutant(row["pollutant"]), AveragingPeriod(row["averaging_period"])): Series(
                row["times"], row["values"], row["units"]
            )
            for row in rows
        }

    async def find_writable(self, tenant: str, station_ids: Collection[str]) -> dict[str, int]:
        """Returns the numbers of a tenant's own stations by their ids."""
        rows = await self._database.fetch(QUERIES["find_writable"], tenant, list(station_ids), tenant=tenant)
        return {row["station_id"]: row["id"] for row in rows}

    async def add_readings(self, readings: Readings) -> bool:
        """Stores readings, each key at most once; when any of them is known already, stores none and returns False."""
        await self._make_room(readings)
        try:
            async with self._database.transaction() as connection:
                await _copy(connection, readings, "readings", schema="airquality")
                series = await self._add_series(connection, readings)
        except UniqueViolationError:
            return False
        self._series.update(series)  # not before they are committed
        return True

    async def merge_readings(self, readings: Readings) -> int:
        """Stores readings, each key at most once; returns how many were new or corrected."""
        await self._make_room(readings)
        async with self._database.transaction() as connection:
            changed = await _merge(connection, readings)
            series = await self._add_series(connection, readings)
        self._series.update(series)
        return changed

    async def find_loaded(self, source: str) -> dict[str, str]:
        """Returns the parts of a source that are loaded, with the digests of what they were loaded from."""
        return {row["part"]: row["digest"] for row in await self._database.fetch(QUERIES["find_loaded"], source)}

    async def load_part(self, source: str, part: str, digest: str, readings: Readings) -> int:
        """Stores a part of a source whole or not at all; returns how many readings were new or corrected."""
        await self._make_room(readings)
        async with self._database.transaction() as connection:
            changed = await _merge(connection, readings)
            series = await self._add_series(connection, readings)
            await connection.execute(QUERIES["note_loaded"], source, part, digest, len(readings))
        self._series.update(series)
        return changed

    async def note_loaded(self, source: str, part: str, digest: str, row_count: int) -> None:
        """Notes that a part of a source is loaded which is stored already."""
        await self._database.execute(QUERIES["note_loaded"], source, part, digest, row_count)

    async def _make_room(self, readings: Readings) -> None:
        """Makes the partitions that the readings belong in, on its own, so that nobody waits long for the lock."""
        months = np.unique(readings.time.astype("datetime64[us]").astype(_MONTH).astype(np.int64)).tolist()
        for month in months:
            if month not in self._months:
                begin = np.datetime64(month, "M").astype("datetime64[s]").astype(np.int64)
                await self._database.fetchval(QUERIES["ensure_partition"], datetime.fromtimestamp(int(begin), UTC))
                self._months.add(month)

    async def _add_series(self, connection: Connection, readings: Readings) -> list[int]:
        """Notes the series that this repository has not seen before, and returns them."""
        series = [each for each in np.unique(readings.series()).tolist() if each not in self._series]
        if series:
            new = np.array(series)
            await connection.execute(
                QUERIES["add_series"], (new >> 16).tolist(), (new >> 8 & 0xFF).tolist(), (new & 0xFF).tolist()
            )
        return series


async def _merge(connection: Connection, readings: Readings) -> int:
    await connection.execute(QUERIES["make_staging"])
    await _copy(connection, readings, "staged_readings", schema="pg_temp")
    word = await connection.execute(QUERIES["merge_staged"])
    return int(word.rpartition(" ")[2])


async def _copy(connection: Connection, readings: Readings, table: str, *, schema: str) -> None:
    await connection.copy_to_table(
        table,
        schema_name=schema,
        source=io.BytesIO(copyformat.encode(readings)),
        format="binary",
        columns=copyformat.COLUMNS,
    )


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
