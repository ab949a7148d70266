"""Answers what the air will be like at a station or a place."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

import numpy as np

from airquality.absence import NearestReporter, explain_absence
from airquality.forecast import simple
from airquality.forecast.boosting import HORIZONS
from airquality.forecast.draw import BASE_AGE_HOURS
from airquality.forecast.features import LOOKBACK_HOURS
from airquality.forecast.frame import POLLUTANTS, WEATHER, Floats, Frame, last_known
from airquality.forecast.left_out import LONGEST_HOURS
from airquality.forecast.model import every_hour
from airquality.forecast.neighbours import MOST, RADIUS_METERS
from airquality.forecast.registry import Models, Served
from airquality.forecast.spatial import MOST_STATIONS, TYPICAL_DEVIATION, between_stations
from airquality.stations import Station
from airquality.units import Pollutant
from meshkit.errors import InvalidInput, NotFound, Reason

DEFAULT_HOURS: Final = 24

_EPOCH_HOUR: Final = 3600
_RECENT_HOURS: Final = 72
_RECENT_NEEDED: Final = 24
_CANDIDATES: Final = 3 * MOST_STATIONS


class Method(IntEnum):
    """How a forecast was made; the codes are those of the enum in airquality.proto."""

    MODEL = 1
    SIMPLE = 2


class Part(NamedTuple):
    """A station that a forecast rests on: its weight, and the start of its newest hour with a reading."""

    station: Station
    weight: float
    newest_hour: int


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """The air at a place in the next hours, in the usual unit.

    Attributes:
        target: The pollutant.
        lat: Latitude in degrees.
        lng: Longitude in degrees.
        first_hour: The first hour forecast, in hours since 1970; it holds the moment asked about.
        medians: One for each hour, shape (H,).
        bounds: Lower 95 %, lower 80 %, upper 80 % and upper 95 %, shape (4, H).
        method: How it was made.
        reason: Why the model was not used; empty where it was.
        served: The model that was used, or None.
        errors: The simple forecast's mean absolute errors over the station's last weeks, shape (H,), NaN where unknown.
        parts: The stations that it rests on, the nearest first.
    """

    target: Pollutant
    lat: float
    lng: float
    first_hour: int
    medians: Floats
    bounds: Floats
    method: Method
    reason: str
    served: Served | None
    errors: Floats
    parts: tuple[Part, ...]


class ForecastStore(Protocol):
    """What Forecasts needs of a repository."""

    async def get_station(self, tenant: str, station_id: str) -> Station | None:
        """Returns a station that the tenant may see."""

    async def find_reporters(
        self, tenant: str, lat: float, lng: float, radius_meters: float, target: Pollutant, limit: int
    ) -> list[Station]:
        """Returns the nearest stations within a radius that have hourly readings of a pollutant, with distances."""

    async def find_hourly(
        self, stations: Sequence[Station], quantities: Iterable[Pollutant], hours: tuple[int, int]
    ) -> Frame:
        """Returns the hourly readings of stations in [first, end) hours since 1970; a station is known by its number."""

    async def find_nearest_reporter(self, tenant: str, lat: float, lng: float, at: datetime) -> NearestReporter | None:
        """Returns the nearest station of all, or None when there is none."""


class Forecasts:
    """Forecasts the air, off the event loop where it takes computing."""

    def __init__(self, store: ForecastStore, models: Models, *, radius_meters: float) -> None:
        """Makes it.

        Args:
            store: Where readings come from.
            models: The models that serve.
            radius_meters: How far a station may be from a place that it speaks for.
        """
        self._store = store
        self._models = models
        self._radius_meters = radius_meters

    async def of_station(self, tenant: str, station_id: str, target: Pollutant, at: datetime, hours: int) -> Forecast:
        """Forecasts the air at a station.

        Raises:
            NotFound: There is no such station, or it has reported too little of late.
        """
        station = await self._store.get_station(tenant, station_id)
        if station is None:
            raise NotFound(Reason.STATION_NOT_FOUND, f"no station has the id {station_id!r}")
        station = station._replace(distance_meters=0.0)
        around = await self._store.find_reporters(tenant, station.lat, station.lng, RADIUS_METERS, target, MOST)
        near = [station, *(each for each in around if each.id != station.id)]
        found = await self._at(station.lat, station.lng, near, near[:1], target, at, hours)
        if found is None:
            raise NotFound(
                Reason.NO_DATA_NEARBY,
                f"station {station_id!r} has fewer than {simple.FEWEST_READINGS} hourly readings of {target.name} in the"
                f" four weeks before {at:%Y-%m-%dT%H:%M:%SZ}, or none in the last {simple.OLDEST_HOURS} hours of them",
            )
        return found

    async def of_point(
        self, tenant: str, lat: float, lng: float, target: Pollutant, at: datetime, hours: int, radius: float | None
    ) -> Forecast:
        """Forecasts the air at a place from the stations around it.

        Raises:
            NotFound: No station near enough has reported enough of late.
        """
        radius_meters = radius or self._radius_meters
        near = await self._store.find_reporters(tenant, lat, lng, RADIUS_METERS, target, MOST + _CANDIDATES)
        candidates = [each for each in near if (each.distance_meters or 0.0) <= radius_meters][:_CANDIDATES]
        found = await self._at(lat, lng, near, candidates, target, at, hours) if candidates else None
        if found is None:
            nearest = await self._store.find_nearest_reporter(tenant, lat, lng, at)
            why = explain_absence(nearest, at, radius_meters, simple.OLDEST_HOURS * _EPOCH_HOUR)
            raise NotFound(Reason.NO_DATA_NEARBY, f"no forecast of {target.name} is supported here: {why}")
        return found

    async def _at(
        self,
        lat: float,
        lng: float,
        near: Sequence[Station],
        candidates: Sequence[Station],
        target: Pollutant,
        at: datetime,
        hours: int,
    ) -> Forecast | None:
        end = int(at.timestamp() // _EPOCH_HOUR)
        others = [each for each in (*POLLUTANTS, *WEATHER) if each != target]
        past, beside = await asyncio.gather(
            self._store.find_hourly(near, [target], (end - simple.WINDOW_HOURS, end)),
            self._store.find_hourly(near, others, (end - LOOKBACK_HOURS, end)),
        )
        served = self._models.of(target)
        return await asyncio.to_thread(
            _compute, _Question(lat, lng, target, end, hours), past, beside, near, candidates, served
        )


class _Question(NamedTuple):
    lat: float
    lng: float
    target: Pollutant
    first_hour: int
    hours: int


def _compute(
    asked: _Question,
    past: Frame,
    beside: Frame,
    near: Sequence[Station],
    candidates: Sequence[Station],
    served: Served | None,
) -> Forecast | None:
    """Forecasts from the candidates that the model knows well enough, or else from those with any recent reading."""
    values = past.of(asked.target)
    places = {each.id: place for place, each in enumerate(near)}
    ages = last_known(values, simple.OLDEST_HOURS)[1][:, -1]
    counts = (~np.isnan(values)).sum(axis=1)
    usable = [
        each
        for each in candidates
        if ages[places[each.id]] < simple.OLDEST_HOURS and counts[places[each.id]] >= simple.FEWEST_READINGS
    ]
    reasons = [_unfit(each, values[places[each.id]], int(ages[places[each.id]]), served) for each in usable]
    fit = [each for each, reason in zip(usable, reasons, strict=True) if not reason][:MOST_STATIONS]
    chosen = fit or usable[:MOST_STATIONS]
    if not chosen:
        return None
    rows = [places[each.id] for each in chosen]
    errors = np.full(LONGEST_HOURS, np.nan)
    if fit and served is not None:
        frame = past.between(asked.first_hour - LOOKBACK_HOURS, asked.first_hour)
        whole = Frame(frame.stations, frame.lat, frame.lng, frame.first_hour, {**beside.values, **frame.values})
        medians = served.model.boosted.forecast(whole, threads=1)[rows, 0]
        bounds = served.model.bounds(medians)
        deviation = served.model.spatial_deviation
    else:
        medians, bounds, measured = simple.forecast(values[rows], asked.first_hour, HORIZONS)
        errors = every_hour(measured[0]) if len(rows) == 1 else errors
        deviation = TYPICAL_DEVIATION
    median, bound, weights = between_stations(
        [each.distance_meters or 0.0 for each in chosen], every_hour(medians), every_hour(bounds), deviation
    )
    return Forecast(
        asked.target,
        asked.lat,
        asked.lng,
        asked.first_hour,
        median[: asked.hours],
        bound[:, : asked.hours],
        Method.MODEL if fit else Method.SIMPLE,
        "" if fit else reasons[0],
        served if fit else None,
        errors[: asked.hours],
        tuple(
            Part(each, weight, asked.first_hour - 1 - int(ages[places[each.id]]))
            for each, weight in zip(chosen, weights, strict=False)
        ),
    )


def _unfit(station: Station, values: Floats, age: int, served: Served | None) -> str:
    """Returns why the model cannot forecast for a station, or nothing when it can."""
    if served is None:
        return "no model of this pollutant serves"
    if str(station.id) not in served.model.stations:
        return f"the model has not learnt from station {station.station_id}"
    if age > BASE_AGE_HOURS:
        return f"the newest reading of station {station.station_id} is {age} hours old"
    if (~np.isnan(values[-_RECENT_HOURS:])).sum() < _RECENT_NEEDED:
        return (
            f"station {station.station_id} has reported fewer than {_RECENT_NEEDED} of the last {_RECENT_HOURS} hours"
        )
    return ""


def check_moment(at: datetime, latest: datetime) -> None:
    """Returns when forecasts can be made at this moment.

    Raises:
        InvalidInput: It is later than `latest`, which is now, or not after 1980.
    """
    if at > latest:
        raise InvalidInput("at", "must not be in the future: forecasts are made from what is known")
    if at.year < 1981:  # noqa: PLR2004 -- readings begin in 1980
        raise InvalidInput("at", "must be in 1981 or later; readings begin in 1980")
