"""Quality control of readings: what looks wrong is flagged, kept and told, never dropped.

A reading is judged when it is stored, by what is known then: its own series' last hours, and what stations around
measured in its hour. The tests are those of the US EPA's QA Handbook (EPA-454/B-17-001, section 17: range, rate of
change, persistence, comparison with neighbours); the thresholds are ours. Of the hours of PM2.5 of 132 monitors in the
wildfires of 2015 in the US Northwest they flag 0.27 %, of those of 12 in Beijing, 2013 to 2016, 0.26 %.

What is flagged counts all the same, except for what is EXCLUDED: a value beyond the plausible or a sudden rise that
nothing else confirms, and a flat line that the neighbours contradict. Smoke rises as steeply as an instrument fails: of 81
steep rises of those 132 monitors 67 were still there an hour later. So a rise counts as soon as one station around shows
at least half of it, in the same hour or the one before, or the station itself did an hour before and no three neighbours
contradict it. Being far from all neighbours alone excludes nothing: the fire may be next to it.
"""

from enum import IntFlag
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airquality.units import MEASURABLE, AveragingPeriod, Pollutant

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Flag(IntFlag):
    """What may be wrong; the codes are the bits of the column `flags` and 2 to the power of the enum in the proto - 1."""

    RANGE = 1
    SPIKE = 2
    FLAT_LINE = 4
    NEIGHBOURS = 8
    HUMIDITY = 16
    UNCORRECTED = 32
    EXCLUDED = 64


EXCLUDED: Final = int(Flag.EXCLUDED)
"""As a plain number, with which every reading is asked; queries.sql has it as 64."""


class Limits(NamedTuple):
    """When a value of one pollutant is flagged, in its usual unit; infinity where there is no such test.

    Attributes:
        lowest: Below it, RANGE.
        highest: Above it, RANGE.
        jump: How far it may rise above the median of the last hours, and `jump_share` times that median more.
        jump_share: See `jump`.
        flat_above: Eight equal hours above it are a FLAT_LINE; below it instruments rest at their limit of detection.
        apart: How far it may be from the median of its neighbours, and four times their spread more.
    """

    lowest: float
    highest: float
    jump: float = np.inf
    jump_share: float = 2.0
    flat_above: float = np.inf
    apart: float = np.inf


PAST_HOURS: Final = 7
"""How many hours before a reading it is compared with."""
CONFIRMING_SHARE: Final = 0.5
"""The share of a rise that another instrument, or the next hour, must show for it to be one of the air."""
NEIGHBOUR_METERS: Final = 25_000.0
MOST_NEIGHBOURS: Final = 6
HUMID_PERCENT: Final = 85.0
"""Above it water on the particles counts as mass in an optical sensor (Jayaratne et al. 2018, AMT 11, 4883)."""

_FEWEST_NEIGHBOURS: Final = 3
_JUMP_HOURS: Final = 3
_SPREADS: Final = 4.0
_TO_DEVIATION: Final = 1.4826  # of a median absolute deviation to a standard one, for normal values

LIMITS: Final = {
    Pollutant.PM25: Limits(-10.0, 1_000.0, 100.0, 2.0, 3.0, 60.0),
    Pollutant.PM10: Limits(-15.0, 2_000.0, 250.0, 3.0, 5.0, 150.0),
    Pollutant.PM1: Limits(-10.0, 1_000.0, 100.0, 2.0, 3.0, 60.0),
    Pollutant.O3: Limits(-5.0, 300.0, 50.0, 1.0, 10.0, 40.0),
    Pollutant.NO2: Limits(-5.0, 500.0, 60.0, 2.0, 5.0, 60.0),
    Pollutant.SO2: Limits(-5.0, 1_500.0, 100.0, 5.0, 10.0, 150.0),
    Pollutant.CO: Limits(-0.5, 60.0, 5.0, 3.0, 1.0, 6.0),
    Pollutant.NO: Limits(-5.0, 1_500.0, 150.0, 5.0, 10.0, 200.0),
    Pollutant.NH3: Limits(-5.0, 2_000.0, 150.0, 3.0, 10.0, 200.0),
    Pollutant.BLACK_CARBON: Limits(-1.0, 100.0, 15.0, 3.0, 1.0, 20.0),
    Pollutant.LEAD: Limits(-0.01, 50.0),
    Pollutant.TEMPERATURE: Limits(-70.0, 57.0, 15.0, 0.0, -np.inf, 15.0),
    Pollutant.HUMIDITY: Limits(0.0, 102.0, np.inf, 0.0, np.inf, 60.0),
    Pollutant.PRESSURE: Limits(450.0, 1_085.0, 15.0, 0.0),
    Pollutant.WIND_SPEED: Limits(0.0, 60.0, 25.0, 1.0, 0.5, 25.0),
    Pollutant.WIND_DIRECTION: Limits(0.0, 360.0, flat_above=0.0),
    Pollutant.DEW_POINT: Limits(-70.0, 35.0, 15.0, 0.0, -np.inf, 15.0),
    Pollutant.PRECIPITATION: Limits(0.0, 305.0),
}
"""RANGE is narrower than what is taken at all (units.MEASURABLE): the EPA's hourly PM2.5 ends at 985 µg/m³ by the range
of its monitors. Humidity rests at 100 % for nights, pressure barely moves, so neither can be too steady."""

_COLUMNS: Final = np.array(
    [[np.nan] * len(Limits._fields), *(LIMITS[pollutant] for pollutant in Pollutant)], dtype=np.float64
)


def check(
    pollutant: Ints, period: Ints, value: Floats, past: Floats, around: Floats, around_before: Floats | None = None
) -> Ints:
    """Flags n readings.

    Args:
        pollutant: Codes of Pollutant, n.
        period: Codes of AveragingPeriod, n; only readings of an hour are compared with others.
        value: In the usual unit, n.
        past: The hours before each, the newest first, NaN for none, shape (n, PAST_HOURS).
        around: What neighbours measured in the same hour, NaN for none, shape (n, m).
        around_before: What they measured in the hour before, of the same shape; None where nothing is known of it.

    Returns:
        Sums of Flag, n.
    """
    limits = Limits(*_COLUMNS[pollutant].T)
    hourly = period == AveragingPeriod.HOUR
    same = (past == value[:, None]).all(axis=1)
    found = {
        Flag.RANGE: (value < limits.lowest) | (value > limits.highest),
        Flag.SPIKE: hourly & _jumps(value, past[:, :_JUMP_HOURS], limits),
        Flag.FLAT_LINE: hourly & same & (value > limits.flat_above),
        Flag.NEIGHBOURS: hourly & _disagrees(value, around, limits),
    }
    seen = around if around_before is None else np.concatenate([around, around_before], axis=1)
    found[Flag.EXCLUDED] = (
        (found[Flag.FLAT_LINE] & found[Flag.NEIGHBOURS])
        | (found[Flag.RANGE] & ~_is_shared(pollutant, value, seen))
        | (found[Flag.SPIKE] & ~_is_confirmed(value, past, seen, found[Flag.NEIGHBOURS]))
    )
    flags = np.zeros(len(value), dtype=np.int64)
    for flag, where in found.items():
        flags[where] |= int(flag)
    return flags


def counted(flags: Ints | int) -> NDArray[np.bool_]:
    """Tells whether readings with these flags count for the air."""
    return np.asarray(np.bitwise_and(flags, EXCLUDED) == 0)


def humid(pollutant: Ints, humidity: Floats) -> Ints:
    """Returns Flag.HUMIDITY for particles that an optical sensor saw in air above HUMID_PERCENT, else 0."""
    particles = np.isin(pollutant, [Pollutant.PM25, Pollutant.PM10, Pollutant.PM1])
    return np.where(particles & (humidity > HUMID_PERCENT), int(Flag.HUMIDITY), 0)


def corrected_purpleair(pm25: Floats, humidity: Floats) -> Floats:
    """Returns PM2.5 of a PurpleAir sensor in µg/m³ by the US-wide correction, NaN where either is.

    Source: Barkjohn, Gantt and Clements 2021, Atmos. Meas. Tech. 14, 4617-4637, equation 11:
    PM2.5 = 0.524 PA(cf_1) - 0.0862 RH + 5.75, fitted to 24-hour means of 50 sensors beside reference monitors.

    Args:
        pm25: The sensor's `cf_1` in µg/m³, the mean of its two channels.
        humidity: The sensor's own relative humidity in percent.
    """
    lowest, highest = MEASURABLE[Pollutant.PM25]
    return np.asarray(np.clip(0.524 * pm25 - 0.0862 * humidity + 5.75, lowest, highest))


def _jumps(value: Floats, past: Floats, limits: Limits) -> NDArray[np.bool_]:
    """Tells which rise too far above the median of the last hours, of which two must be known."""
    middle, count = _medians(past)
    return np.asarray((count > 1) & (value - middle > limits.jump + limits.jump_share * np.maximum(middle, 0.0)))


def _is_confirmed(value: Floats, past: Floats, seen: Floats, contradicted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tells which rises a neighbour shows as well, or the station's own hour before where neighbours do not object."""
    middle, _ = _medians(past[:, :_JUMP_HOURS])
    enough = middle + CONFIRMING_SHARE * (value - middle)
    return np.asarray((seen >= enough[:, None]).any(axis=1) | ((past[:, 0] >= enough) & ~contradicted))


def _is_shared(pollutant: Ints, value: Floats, seen: Floats) -> NDArray[np.bool_]:
    """Tells which concentrations beyond the plausible a neighbour comes near to, as in a dust storm."""
    is_pollutant = pollutant < Pollutant.TEMPERATURE
    return np.asarray(is_pollutant & (value > 0) & (seen >= CONFIRMING_SHARE * value[:, None]).any(axis=1))


def _disagrees(value: Floats, around: Floats, limits: Limits) -> NDArray[np.bool_]:
    """Tells which are far from their neighbours, of which three must be known, by the neighbours' own spread."""
    middle, count = _medians(around)
    spread, _ = _medians(np.abs(around - middle[:, None]))
    far = np.abs(value - middle) > limits.apart + _SPREADS * _TO_DEVIATION * spread
    return np.asarray((count >= _FEWEST_NEIGHBOURS) & far)


def _medians(rows: Floats) -> tuple[Floats, Ints]:
    """Returns the median of each row's known values, NaN for none, and how many there are."""
    count = (~np.isnan(rows)).sum(axis=1)
    if not rows.shape[1]:
        return np.full(len(rows), np.nan), count
    ordered = np.sort(rows, axis=1)  # NaN comes last
    at = np.arange(len(rows))
    return (ordered[at, np.maximum(count - 1, 0) // 2] + ordered[at, count // 2]) / 2, count
