"""What forecasts need of Postgres: hourly readings side by side, and the trained models."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from airquality.absence import NearestReporter
from airquality.forecast.frame import Frame, HourlySeries, frame_of
from airquality.forecast.model import Model
from airquality.forecast.registry import ModelEntry
from airquality.forecast.skill import CLIMATOLOGY, DAILY, PERSISTENCE
from airquality.repository import QUERIES, AirQualityRepository
from airquality.stations import Station
from airquality.units import Pollutant, to_usual_unit
from meshkit.postgres import Postgres

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CHUNK_HOURS: Final = 24 * 92


def time_of(hour: int) -> datetime:
    """Returns an hour since 1970 as a time."""
    return _EPOCH + timedelta(hours=hour)


class ForecastRepository:
    """Reads and writes the schema `airquality` for forecasts."""

    def __init__(self, database: Postgres) -> None:
        self._database = database
        self._stations = AirQualityRepository(database)

    async def get_station(self, tenant: str, station_id: str) -> Station | None:
        """Returns a station that the tenant may see."""
        return await self._stations.get_station(tenant, station_id)

    async def find_nearest_reporter(self, tenant: str, lat: float, lng: float, at: datetime) -> NearestReporter | None:
        """Returns the nearest station of all, or None when there is none."""
        return await self._stations.find_nearest_reporter(tenant, lat, lng, at)

    async def find_reporters(
        self, tenant: str, lat: float, lng: float, radius_meters: float, target: Pollutant, limit: int
    ) -> list[Station]:
        """Returns the nearest stations within a radius that have hourly readings of a pollutant, with distances."""
        rows = await self._database.fetch(
            QUERIES["find_reporters"], tenant, lat, lng, radius_meters, target, limit, tenant=tenant
        )
        columns = ("station_id", "provider", "name", "agency", "lat", "lng", "id", "distance")
        return [Station(*(row[column] for column in columns)) for row in rows]

    async def find_hourly(
        self, stations: Sequence[Station], quantities: Iterable[Pollutant], hours: tuple[int, int]
    ) -> Frame:
        """Returns the hourly readings of stations in [first, end) hours since 1970; a station is known by its number."""
        wanted = list(quantities)
        series = await self._series([each.id for each in stations], wanted, hours)
        return frame_of(
            [str(each.id) for each in stations],
            [each.lat for each in stations],
            [each.lng for each in stations],
            hours,
            series,
            wanted,
        )

    async def find_trainable(
        self, target: Pollutant, quantities: Iterable[Pollutant], until: datetime | None
    ) -> Frame | None:
        """Returns everything that the operator's stations with a pollutant have reported, or None without any.

        Args:
            target: The pollutant.
            quantities: What to read of these stations.
            until: Only what was reported for hours before this moment; None for everything.
        """
        wanted = list(quantities)
        rows = await self._database.fetch(QUERIES["find_trainable"], target, tenant="public")
        ids = [row["id"] for row in rows]
        time = await self._database.fetchrow(QUERIES["find_reported_time"], ids, target)
        if time is None or time["first_time"] is None:
            return None
        first, end = _hour(time["first_time"]), _hour(time["last_time"]) + 1
        if until is not None:
            end = min(end, _hour(until))
        if end <= first:
            return None
        series: list[HourlySeries] = []
        for start in range(first, end, _CHUNK_HOURS):
            series += await self._series(ids, wanted, (start, min(start + _CHUNK_HOURS, end)))
        columns = [[row[name] for row in rows] for name in ("lat", "lng")]
        return frame_of([str(each) for each in ids], columns[0], columns[1], (first, end), series, wanted)

    async def _series(self, ids: list[int], wanted: list[Pollutant], hours: tuple[int, int]) -> list[HourlySeries]:
        rows = await self._database.fetch(QUERIES["find_hourly"], ids, wanted, *map(time_of, hours))
        places = {number: place for place, number in enumerate(ids)}
        return [
            HourlySeries(
                places[row["id"]],
                Pollutant(row["pollutant"]),
                np.array(row["hours"], dtype=np.int64),
                to_usual_unit(np.full(len(row["values"]), row["pollutant"]), row["units"], row["values"]),
            )
            for row in rows
        ]

    async def add_model(self, version: str, model: Model) -> None:
        """Stores a model with its skill; it does not serve yet."""
        skill = model.skill
        async with self._database.transaction() as connection:
            number = await connection.fetchval(
                QUERIES["add_forecast_model"],
                model.target,
                version,
                *map(time_of, model.trained_hours),
                time_of(model.held_back_hours[0]),
                len(model.stations),
                model.encode(),
            )
            await connection.execute(
                QUERIES["add_forecast_skill"],
                number,
                [each.horizon for each in skill],
                [each.count for each in skill],
                [each.mae for each in skill],
                [each.bias for each in skill],
                [_known(each.coverage_80) for each in skill],
                [_known(each.coverage_95) for each in skill],
                *([each.baselines[name] for each in skill] for name in (PERSISTENCE, DAILY, CLIMATOLOGY)),
            )

    async def activate_model(self, version: str) -> bool:
        """Lets a model serve from now on; tells whether there is one of this version."""
        async with self._database.transaction() as connection:
            return await connection.fetchval(QUERIES["activate_forecast_model"], version) is not None

    async def find_active_models(self) -> dict[Pollutant, str]:
        """Returns the version that serves, for each pollutant that has one."""
        rows = await self._database.fetch(QUERIES["find_active_models"])
        return {Pollutant(row["pollutant"]): row["version"] for row in rows}

    async def get_model(self, version: str) -> bytes | None:
        """Returns a stored model, encoded, or None when there is none of this version."""
        artefact: bytes | None = await self._database.fetchval(QUERIES["get_forecast_model"], version)
        return artefact

    async def list_models(self) -> list[ModelEntry]:
        """Returns all models, the newest first."""
        rows = await self._database.fetch(QUERIES["list_forecast_models"])
        return [
            ModelEntry(
                row["version"],
                Pollutant(row["pollutant"]),
                row["trained_from"],
                row["trained_until"],
                row["held_back_from"],
                row["station_count"],
                row["activated_at"],
                row["mae"],
                row["persistence_mae"],
            )
            for row in rows
        ]


def _hour(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(hours=1)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
