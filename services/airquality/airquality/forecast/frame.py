"""Hourly values of many stations side by side: what forecasts are made of, trained on and judged by."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airquality.units import Pollutant

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POLLUTANTS: Final = (Pollutant.PM25, Pollutant.PM10, Pollutant.O3, Pollutant.NO2, Pollutant.SO2, Pollutant.CO)
"""What is forecast, and beside it what a forecast of another of them learns from."""

WEATHER: Final = (
    Pollutant.TEMPERATURE,
    Pollutant.HUMIDITY,
    Pollutant.PRESSURE,
    Pollutant.WIND_SPEED,
    Pollutant.WIND_DIRECTION,
)
"""What else a forecast learns from where a station reports it."""


class HourlySeries(NamedTuple):
    """Hourly readings of one quantity at the station with this place in the frame: hours since 1970, and values."""

    station: int
    quantity: Pollutant
    hours: Ints
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Hourly values of S stations over T hours.

    Attributes:
        stations: What each station is known by, S.
        lat: Latitudes in degrees, shape (S,).
        lng: Longitudes in degrees, shape (S,).
        first_hour: The first hour, in hours of UTC since 1970.
        values: For each quantity the values in its usual unit, shape (S, T), NaN for none.
    """

    stations: tuple[str, ...]
    lat: Floats
    lng: Floats
    first_hour: int
    values: Mapping[Pollutant, Floats]

    @property
    def hour_count(self) -> int:
        """Returns T."""
        return int(next(iter(self.values.values())).shape[1])

    @property
    def end_hour(self) -> int:
        """Returns the hour after the last, in hours since 1970."""
        return self.first_hour + self.hour_count

    def of(self, quantity: Pollutant) -> Floats:
        """Returns the values of a quantity, shape (S, T); all NaN where none was given."""
        found = self.values.get(quantity)
        return np.full((len(self.stations), self.hour_count), np.nan) if found is None else found

    def between(self, start_hour: int, end_hour: int) -> "Frame":
        """Returns the hours from `start_hour` up to before `end_hour`, in hours since 1970, NaN where there are none."""
        start, end = start_hour - self.first_hour, end_hour - self.first_hour
        inside = slice(max(start, 0), max(min(end, self.hour_count), 0))
        padding = ((0, 0), (max(-start, 0), max(end - max(self.hour_count, start), 0)))
        values = {
            quantity: np.pad(each[:, inside], padding, constant_values=np.nan)[:, : end - start]
            for quantity, each in self.values.items()
        }
        return Frame(self.stations, self.lat, self.lng, start_hour, values)

    def take(self, places: Sequence[int]) -> "Frame":
        """Returns the stations at these places."""
        index = list(places)
        values = {quantity: each[index] for quantity, each in self.values.items()}
        return Frame(
            tuple(self.stations[each] for each in index), self.lat[index], self.lng[index], self.first_hour, values
        )


def frame_of(
    stations: Sequence[str],
    lat: Sequence[float],
    lng: Sequence[float],
    hours: tuple[int, int],
    series: Iterable[HourlySeries],
    quantities: Iterable[Pollutant] = (),
) -> Frame:
    """Returns the frame of some readings; of several in one hour the last counts, what is not finite is left out.

    Args:
        stations: What each station is known by.
        lat: Their latitudes in degrees.
        lng: Their longitudes in degrees.
        hours: The first hour and the one after the last, in hours since 1970.
        series: The readings; those outside the hours are left out.
        quantities: What the frame is to hold even where there is no reading of it.
    """
    first, end = hours
    values = {each: np.full((len(stations), end - first), np.nan) for each in quantities}
    for each in series:
        grid = values.setdefault(each.quantity, np.full((len(stations), end - first), np.nan))
        inside = (each.hours >= first) & (each.hours < end) & np.isfinite(each.values)
        grid[each.station, each.hours[inside] - first] = each.values[inside]
    return Frame(tuple(stations), np.asarray(lat, dtype=np.float64), np.asarray(lng, dtype=np.float64), first, values)


def last_known(values: Floats, most_hours: int) -> tuple[Floats, Ints]:
    """Returns for each hour the newest value up to it, and how many hours old that is.

    Args:
        values: Hourly values, shape (…, T), NaN for none.
        most_hours: Values older than this do not count.

    Returns:
        The values, NaN for none, and their ages, both of the shape of `values`; where there is none, the age is
        more than `most_hours`.
    """
    places = np.arange(values.shape[-1])
    newest = np.maximum.accumulate(np.where(np.isnan(values), -1, places), axis=-1)
    age = np.where(newest < 0, most_hours + 1, places - newest)
    found = np.take_along_axis(values, np.maximum(newest, 0), axis=-1)
    return np.where(age <= most_hours, found, np.nan), age
