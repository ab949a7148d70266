"""What a forecast is made from: only what was reported for the hours up to its moment.

Every column at hour t is a function of hours up to t, so that no forecast can know what came after it; a test changes
the future and asks for the same forecast.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airquality.forecast.frame import POLLUTANTS, Floats, Frame, Ints
from airquality.forecast.neighbours import Neighbours
from airquality.forecast.windows import lagged, rolling_highest, rolling_lowest, rolling_mean
from airquality.units import Pollutant

Matrix = NDArray[np.float32]

LOOKBACK_HOURS: Final = 168
"""Hours up to the moment of a forecast that it looks at."""

HORIZON_COLUMNS: Final = ("horizon", "solar_hour", "week_day", "day_before", "region_day_before", "day_before_change")

_DAY: Final = 24
_DEGREES_PER_HOUR: Final = 15.0
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday, counted from Monday
_SMALLEST_SHARE: Final = 0.1

_LAGS: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 21, 23, 24, 36, 47, 48, 72)
_MEANS: Final = (3, 6, 12, 24, 48, 72, 168)
_EXTREMES: Final = (6, 12, 24, 72)
_REGION_LAGS: Final = (1, 2, 3, 6, 9, 12, 24, 48)
_WEATHER_CHANGES: Final = (1, 3, 6, 12, 24, 48)
_WIND_MEANS: Final = (3, 6, 12, 24)


def level(values: Floats, scale: float) -> Floats:
    """Returns the logarithm of concentrations relative to what is usual; of none and of less than none a low one.

    Args:
        values: Concentrations, any shape.
        scale: The median concentration of the region, in the same unit.
    """
    return np.asarray(np.log(np.maximum(values, 0.0) / scale + _SMALLEST_SHARE))


def origin_features(
    frame: Frame, target: Pollutant, scales: Mapping[Pollutant, float], count: int, neighbours: Neighbours
) -> tuple[tuple[str, ...], Matrix]:
    """Returns what is known at each of the last `count` hours of the frame, when that hour is over.

    Args:
        frame: Hourly values; it should begin LOOKBACK_HOURS before the first hour wanted.
        target: What is to be forecast.
        scales: The usual concentration of each pollutant, as `level` takes it.
        count: Number of hours N.
        neighbours: Of the frame's stations.

    Returns:
        The names of F columns, and their values, shape (S, N, F), NaN where nothing is known.
    """
    columns = _Columns(frame, count, neighbours)
    _of_target(columns, level(frame.of(target), scales[target]))
    for pollutant in POLLUTANTS:
        if pollutant != target:
            _of_pollutant(columns, pollutant.name.lower(), level(frame.of(pollutant), scales[pollutant]))
    _of_wind(columns, frame)
    _of_weather(columns, frame)
    return columns.names, columns.matrix()


def horizon_features(
    frame: Frame, target: Pollutant, scale: float, count: int, horizons: Ints, neighbours: Neighbours
) -> Matrix:
    """Returns what depends on how far ahead one looks, from each of the last `count` hours of the frame.

    Args:
        frame: As for `origin_features`.
        target: What is to be forecast.
        scale: Its usual concentration.
        count: Number of hours N.
        horizons: Hours ahead, H of them, from 1.
        neighbours: Of the frame's stations.

    Returns:
        HORIZON_COLUMNS, shape (S, N, H, 6).
    """
    own = level(frame.of(target), scale)
    region = neighbours.mean(own)
    origins = np.arange(frame.hour_count - count, frame.hour_count)[:, None]
    targets = origins + horizons[None, :]
    # The same hour of the newest day that is over.
    before = targets - _DAY * -(-horizons // _DAY)
    solar = frame.first_hour + targets[None] + np.round(frame.lng / _DEGREES_PER_HOUR)[:, None, None]
    shape = (len(frame.stations), count, len(horizons))
    seen, seen_around = _at(own, before), _at(region, before)
    return np.stack(
        [
            np.broadcast_to(horizons, shape),
            solar % _DAY,
            (solar // _DAY + _EPOCH_WEEKDAY) % 7,
            seen,
            seen_around,
            seen - own[:, origins],
        ],
        axis=-1,
    ).astype(np.float32)


def _at(values: Floats, places: Ints) -> Floats:
    return np.where(places >= 0, values[:, np.maximum(places, 0)], np.nan)


class _Columns:
    """Collects columns, and keeps of each only the hours wanted."""

    def __init__(self, frame: Frame, count: int, neighbours: Neighbours) -> None:
        self.neighbours = neighbours
        self._count = count
        self._columns: dict[str, Matrix] = {}
        solar = frame.first_hour + np.arange(frame.hour_count) + np.round(frame.lng / _DEGREES_PER_HOUR)[:, None]
        # Not the day of the year: of few years' data it would tell single episodes by heart.
        self.add("origin_hour", solar % _DAY)
        self.add("lat", np.broadcast_to(frame.lat[:, None], solar.shape))
        self.add("lng", np.broadcast_to(frame.lng[:, None], solar.shape))

    def add(self, name: str, values: Floats) -> None:
        self._columns[name] = values[:, -self._count :].astype(np.float32)

    def tail(self, values: Floats, hours: int) -> Floats:
        """Returns the hours wanted and so many before them, which spares computing what no column needs."""
        return values[:, -(self._count + hours) :]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._columns)

    def matrix(self) -> Matrix:
        return np.stack(list(self._columns.values()), axis=-1)


def _of_target(columns: _Columns, own: Floats) -> None:
    columns.add("now", own)
    for hours in _LAGS:
        columns.add(f"lag_{hours}", lagged(own, hours))
    for hours in _MEANS:
        columns.add(f"mean_{hours}", rolling_mean(columns.tail(own, hours), hours))
    for hours in _EXTREMES:
        columns.add(f"highest_{hours}", rolling_highest(columns.tail(own, hours), hours))
        columns.add(f"lowest_{hours}", rolling_lowest(columns.tail(own, hours), hours))
    day = columns.tail(own, _DAY)
    columns.add("spread_24", np.sqrt(np.maximum(rolling_mean(day**2, _DAY) - rolling_mean(day, _DAY) ** 2, 0.0)))
    region = columns.neighbours.mean(own)
    columns.add("region", region)
    for hours in _REGION_LAGS:
        columns.add(f"region_lag_{hours}", lagged(region, hours))
    for hours in (6, 12, 24, 72):
        columns.add(f"region_mean_{hours}", rolling_mean(columns.tail(region, hours), hours))
    columns.add("region_lowest", columns.neighbours.lowest(columns.tail(own, 0)))
    columns.add("region_highest", columns.neighbours.highest(columns.tail(own, 0)))
    east, north = columns.neighbours.slopes(columns.tail(own, 6))
    for name, slope in (("east", east), ("north", north)):
        columns.add(f"slope_{name}", slope)
        columns.add(f"slope_{name}_6", rolling_mean(slope, 6))


def _of_pollutant(columns: _Columns, name: str, own: Floats) -> None:
    own = columns.tail(own, _DAY)
    region = columns.neighbours.mean(own)
    columns.add(name, own)
    columns.add(f"{name}_change_3", own - lagged(own, 3))
    columns.add(f"{name}_mean_24", rolling_mean(own, _DAY))
    columns.add(f"{name}_region", region)
    columns.add(f"{name}_region_change_6", region - lagged(region, 6))


def _of_wind(columns: _Columns, frame: Frame) -> None:
    speed = columns.tail(frame.of(Pollutant.WIND_SPEED), _DAY)
    # Direction is where the wind comes from, clockwise from north; the components point to where it goes.
    direction = np.deg2rad(columns.tail(frame.of(Pollutant.WIND_DIRECTION), _DAY))
    east, north = -speed * np.sin(direction), -speed * np.cos(direction)
    for name, values in (("wind_east", east), ("wind_north", north), ("wind_speed", speed)):
        columns.add(name, values)
        region = columns.neighbours.mean(values)
        columns.add(f"{name}_region", region)
        columns.add(f"{name}_region_lag_24", lagged(region, _DAY))
        for hours in _WIND_MEANS:
            columns.add(f"{name}_mean_{hours}", rolling_mean(values, hours))
            columns.add(f"{name}_region_mean_{hours}", rolling_mean(region, hours))
        if name == "wind_speed":
            columns.add("wind_speed_highest_24", rolling_highest(region, _DAY))


def _of_weather(columns: _Columns, frame: Frame) -> None:
    temperature, humidity = frame.of(Pollutant.TEMPERATURE), frame.of(Pollutant.HUMIDITY)
    series = {
        "temperature": temperature,
        "pressure": frame.of(Pollutant.PRESSURE),
        "humidity": humidity,
        "dew_point": dew_point(temperature, humidity),
    }
    for name, values in series.items():
        region = columns.neighbours.mean(values)
        columns.add(name, values)
        columns.add(f"{name}_region", region)
        for hours in _WEATHER_CHANGES:
            columns.add(f"{name}_change_{hours}", region - lagged(region, hours))
        columns.add(f"{name}_mean_24", rolling_mean(columns.tail(region, _DAY), _DAY))
        columns.add(f"{name}_anomaly_72", columns.tail(region, 72) - rolling_mean(columns.tail(region, 72), 72))
        columns.add(f"{name}_anomaly_168", region - rolling_mean(region, 168))
    columns.add("temperature_highest_24", rolling_highest(columns.tail(temperature, _DAY), _DAY))
    columns.add("temperature_lowest_24", rolling_lowest(columns.tail(temperature, _DAY), _DAY))


def dew_point(temperature: Floats, humidity: Floats) -> Floats:
    """Returns the dew point in °C of air at a temperature in °C and a relative humidity in per cent.

    The Magnus formula with the coefficients of Alduchov and Eskridge (1996), doi:10.1175/1520-0450(1996)035.
    """
    exponent = np.log(np.clip(humidity, 1.0, 100.0) / 100.0) + 17.625 * temperature / (243.04 + temperature)
    return np.asarray(243.04 * exponent / (17.625 - exponent))
