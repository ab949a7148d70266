"""Hourly readings of Beijing and of AirNow as frames, for judging forecasts; None where the files are not here."""

import csv
import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from airquality.forecast.frame import Frame, HourlySeries, frame_of
from airquality.load import TABLES, read_days, read_sites
from airquality.units import AveragingPeriod, Pollutant, Unit, to_usual_unit

ROOT = Path(__file__).resolve().parents[1]
# Beside the checkout, or where the variable says.
SHARED = Path(os.environ.get("GEOMESH_SHARED_DATA", ROOT.parent / "shared" / "data")) / "airquality"
COMMITTED = ROOT / "data"

_SHANGHAI_HOURS = 8
_POINTS = "N NNE NE ENE E ESE SE SSE S SSW SW WSW W WNW NW NNW".split()
_COLUMNS = {
    "PM2.5": (Pollutant.PM25, Unit.MICROGRAMS_PER_CUBIC_METER),
    "PM10": (Pollutant.PM10, Unit.MICROGRAMS_PER_CUBIC_METER),
    "SO2": (Pollutant.SO2, Unit.MICROGRAMS_PER_CUBIC_METER),
    "NO2": (Pollutant.NO2, Unit.MICROGRAMS_PER_CUBIC_METER),
    "CO": (Pollutant.CO, Unit.MICROGRAMS_PER_CUBIC_METER),
    "O3": (Pollutant.O3, Unit.MICROGRAMS_PER_CUBIC_METER),
    "TEMP": (Pollutant.TEMPERATURE, Unit.DEGREES_CELSIUS),
    "PRES": (Pollutant.PRESSURE, Unit.HECTOPASCALS),
    "WSPM": (Pollutant.WIND_SPEED, Unit.METERS_PER_SECOND),
}


def hour_of(year: int, month: int, day: int, hour: int = 0) -> int:
    """Returns an hour of UTC in hours since 1970."""
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp() // 3600)


def beijing() -> Frame | None:
    """Returns twelve stations of Beijing, 2013-03 to 2016-02; UCI 501, CC BY 4.0."""
    if not (SHARED / "prsa_stations.csv").exists():
        return None
    with (SHARED / "prsa_stations.csv").open(newline="", encoding="utf-8") as file:
        stations = list(csv.DictReader(file))
    series: list[HourlySeries] = []
    for place, station in enumerate(stations):
        with gzip.open(SHARED / f"prsa_to_2016-02_{station['station']}.csv.gz", "rt", encoding="utf-8") as file:
            series += _series(place, list(csv.DictReader(file)))
    hours = hour_of(2013, 3, 1) - _SHANGHAI_HOURS, hour_of(2016, 3, 1) - _SHANGHAI_HOURS
    return frame_of(
        [each["station"] for each in stations],
        [float(each["lat"]) for each in stations],
        [float(each["lon"]) for each in stations],
        hours,
        series,
    )


def _series(place: int, rows: list[dict[str, str]]) -> list[HourlySeries]:
    hours = np.array([hour_of(*(int(row[name]) for name in ("year", "month", "day", "hour"))) for row in rows])
    hours -= _SHANGHAI_HOURS
    columns = {name: np.array([_number(row[name]) for row in rows]) for name in (*_COLUMNS, "DEWP")}
    found = [
        HourlySeries(place, quantity, hours, to_usual_unit(np.full(len(rows), quantity), int(unit), columns[name]))
        for name, (quantity, unit) in _COLUMNS.items()
    ]
    # By the formula that airquality.forecast.features.dew_point inverts.
    exponents = [17.625 * each / (243.04 + each) for each in (columns["DEWP"], columns["TEMP"])]
    humidity = np.minimum(100 * np.exp(exponents[0] - exponents[1]), 100.0)
    points = {name: index * 22.5 for index, name in enumerate(_POINTS)}
    direction = np.array([points.get(row["wd"], np.nan) for row in rows])
    return [
        *found,
        HourlySeries(place, Pollutant.HUMIDITY, hours, humidity),
        HourlySeries(place, Pollutant.WIND_DIRECTION, hours, direction),
    ]


def _number(text: str) -> float:
    return float(text) if text.strip() not in {"NA", ""} else np.nan


def airnow() -> Frame:
    """Returns the committed sample of AirNow: PM2.5 and ozone of August 2020, every second hour."""
    sites = read_sites(COMMITTED)
    numbers = {site.station_id: place for place, site in enumerate(sites)}
    series = []
    for table in TABLES:
        for _, readings in read_days(COMMITTED, table, numbers):
            hourly = readings.take(readings.averaging_period == AveragingPeriod.HOUR)
            for place in np.unique(hourly.station).tolist():
                own = hourly.take(hourly.station == place)
                series.append(HourlySeries(place, table.pollutant, own.time // 3_600_000_000, own.value))
    hours = hour_of(2020, 8, 10), hour_of(2020, 9, 1)
    return frame_of(
        [site.station_id for site in sites], [site.lat for site in sites], [site.lng for site in sites], hours, series
    )
