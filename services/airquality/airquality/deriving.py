"""What the readings of a sensor say for its station: as they are, or corrected by the sensor's own humidity."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from airquality.quality import Flag, corrected_purpleair, humid
from airquality.readings import Ints, Readings
from airquality.sensors import Role
from airquality.units import AveragingPeriod, Pollutant, Unit, to_usual_unit

_PAIR = (Pollutant.PM25, Pollutant.HUMIDITY)

Found = Mapping[tuple[int, int, int], tuple[float, int]]
"""Stored values and units by sensor, pollutant and time, of the averaging period of an hour."""


def counterparts(readings: Readings, roles: Mapping[int, Role]) -> tuple[Ints, Ints, Ints, Ints]:
    """Returns the keys, as columns, of the PM2.5 or humidity that readings of sensors are judged or corrected with."""
    keys = {
        (sensor, other, time)
        for sensor, pollutant, time in _pairs(readings, roles)
        for other in _PAIR
        if other != pollutant
    }
    keys -= set(_pairs(readings, roles))
    sensor, pollutant, time = (
        (np.array(column, dtype=np.int64) for column in zip(*sorted(keys), strict=True))
        if keys
        else (np.zeros(0, dtype=np.int64) for _ in range(3))
    )
    return sensor, pollutant, np.full(len(sensor), AveragingPeriod.HOUR), time


def derive(given: Readings, roles: Mapping[int, Role], found: Found) -> tuple[Readings, NDArray[np.bool_], Ints]:
    """Adds to readings what sensors say for their stations.

    Args:
        given: Readings in the order of their keys, each key once.
        roles: The sensors' roles by their numbers.
        found: What is stored under the keys of `counterparts`.

    Returns:
        All readings in the order of their keys, each key once; which of them were given; their first flags.
    """
    values = dict(found) | {
        (sensor, pollutant, time): (float(given.value[place]), int(given.unit[place]))
        for place, (sensor, pollutant, time) in _pairs_with_places(given, roles)
    }
    marks = np.zeros(len(given), dtype=np.int64)
    rows: dict[tuple[int, int, int, int], tuple[int, float, int]] = {}
    for place in np.flatnonzero(np.isin(given.station, list(roles))).tolist():
        sensor, pollutant = int(given.station[place]), int(given.pollutant[place])
        period, time = int(given.averaging_period[place]), int(given.time[place])
        role = roles[sensor]
        value, unit = float(given.value[place]), int(given.unit[place])
        paired = role.needs_humidity() and period == AveragingPeriod.HOUR and pollutant in _PAIR
        if paired and pollutant == Pollutant.PM25:
            marks[place] = _wet(role, values.get((sensor, Pollutant.HUMIDITY, time)))
        if pollutant in role.speaks_for and not (paired and pollutant == Pollutant.PM25):
            rows[role.station, pollutant, period, time] = (unit, value, 0)
        if paired and Pollutant.PM25 in role.speaks_for and (sensor, Pollutant.PM25, time) in values:
            pm25, humidity = values[sensor, Pollutant.PM25, time], values.get((sensor, Pollutant.HUMIDITY, time))
            rows[role.station, Pollutant.PM25, period, time] = _spoken(role, pm25, humidity)
    return _joined(given, marks, rows)


def _spoken(role: Role, pm25: tuple[float, int], humidity: tuple[float, int] | None) -> tuple[int, float, int]:
    """Returns unit, value and first flags of a station's PM2.5."""
    value, unit = pm25
    if not role.correction:
        return unit, value, _wet(role, humidity)
    if humidity is None:
        return unit, value, int(Flag.UNCORRECTED)
    usual = to_usual_unit(Pollutant.PM25, unit, value)
    corrected = float(corrected_purpleair(usual, np.array(humidity[0])))
    return int(Unit.MICROGRAMS_PER_CUBIC_METER), corrected, 0


def _wet(role: Role, humidity: tuple[float, int] | None) -> int:
    """Returns the flag of what a low-cost sensor saw in humid air."""
    if not role.low_cost or humidity is None:
        return 0
    return int(humid(np.array(Pollutant.PM25), np.array(humidity[0])))


def _joined(
    given: Readings, marks: Ints, rows: Mapping[tuple[int, int, int, int], tuple[int, float, int]]
) -> tuple[Readings, NDArray[np.bool_], Ints]:
    """Returns both, of one key that was given and derived only what was derived."""
    if not rows:
        return given, np.ones(len(given), dtype=np.bool_), marks
    station, pollutant, period, time = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    unit, value, derived_marks = zip(*rows.values(), strict=True)
    derived = Readings(station, pollutant, period, np.array(unit, dtype=np.int64), time, np.array(value))
    both = Readings.joined([given, derived])
    is_given = np.arange(len(both)) < len(given)
    all_marks = np.concatenate([marks, np.array(derived_marks, dtype=np.int64)])
    series = both.series()
    order = np.lexsort((~is_given, both.time, series))  # what was derived comes after what was given
    same = (series[order][1:] == series[order][:-1]) & (both.time[order][1:] == both.time[order][:-1])
    order = order[np.append(~same, True)]
    return both.take(order), is_given[order], all_marks[order]


def _pairs(readings: Readings, roles: Mapping[int, Role]) -> list[tuple[int, int, int]]:
    return [key for _, key in _pairs_with_places(readings, roles)]


def _pairs_with_places(readings: Readings, roles: Mapping[int, Role]) -> list[tuple[int, tuple[int, int, int]]]:
    """Returns the places and keys of PM2.5 and humidity of sensors that are judged or corrected with them."""
    wanted = np.isin(readings.pollutant, _PAIR) & (readings.averaging_period == AveragingPeriod.HOUR)
    wanted &= np.isin(readings.station, [number for number, role in roles.items() if role.needs_humidity()])
    return [
        (place, (int(readings.station[place]), int(readings.pollutant[place]), int(readings.time[place])))
        for place in np.flatnonzero(wanted).tolist()
    ]
