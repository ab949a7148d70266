"""Pollutants, units and averaging periods, and the arithmetic between units.

The codes are those of the enums in airquality.proto and of the columns in the database.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Pollutant(IntEnum):
    """What is measured."""

    PM25 = 1
    PM10 = 2
    O3 = 3
    NO2 = 4
    SO2 = 5
    CO = 6
    PM1 = 7
    NO = 8
    NH3 = 9
    BLACK_CARBON = 10
    LEAD = 11
    TEMPERATURE = 12
    HUMIDITY = 13
    PRESSURE = 14
    WIND_SPEED = 15
    WIND_DIRECTION = 16
    DEW_POINT = 17
    PRECIPITATION = 18


class Unit(IntEnum):
    """The unit of a concentration."""

    MICROGRAMS_PER_CUBIC_METER = 1
    MILLIGRAMS_PER_CUBIC_METER = 2
    PARTS_PER_BILLION = 3
    PARTS_PER_MILLION = 4
    NANOGRAMS_PER_CUBIC_METER = 5
    DEGREES_CELSIUS = 6
    PERCENT = 7
    HECTOPASCALS = 8
    METERS_PER_SECOND = 9
    DEGREES = 10
    MILLIMETERS = 11


class AveragingPeriod(IntEnum):
    """The time that a concentration is an average over."""

    HOUR = 1
    EIGHT_HOURS = 2
    TWENTY_FOUR_HOURS = 3
    NOWCAST = 4
    FIFTEEN_MINUTES = 5
    THREE_HOURS = 6
    FOUR_HOURS = 7


LABELS: Final = {
    Unit.MICROGRAMS_PER_CUBIC_METER: "µg/m³",
    Unit.MILLIGRAMS_PER_CUBIC_METER: "mg/m³",
    Unit.PARTS_PER_BILLION: "ppb",
    Unit.PARTS_PER_MILLION: "ppm",
    Unit.NANOGRAMS_PER_CUBIC_METER: "ng/m³",
    Unit.DEGREES_CELSIUS: "°C",
    Unit.PERCENT: "%",
    Unit.HECTOPASCALS: "hPa",
    Unit.METERS_PER_SECOND: "m/s",
    Unit.DEGREES: "°",
    Unit.MILLIMETERS: "mm",
}

USUAL_UNITS: Final = {
    Pollutant.PM25: Unit.MICROGRAMS_PER_CUBIC_METER,
    Pollutant.PM10: Unit.MICROGRAMS_PER_CUBIC_METER,
    Pollutant.O3: Unit.PARTS_PER_BILLION,
    Pollutant.NO2: Unit.PARTS_PER_BILLION,
    Pollutant.SO2: Unit.PARTS_PER_BILLION,
    Pollutant.CO: Unit.PARTS_PER_MILLION,
    Pollutant.PM1: Unit.MICROGRAMS_PER_CUBIC_METER,
    Pollutant.NO: Unit.PARTS_PER_BILLION,
    Pollutant.NH3: Unit.PARTS_PER_BILLION,
    Pollutant.BLACK_CARBON: Unit.MICROGRAMS_PER_CUBIC_METER,
    Pollutant.LEAD: Unit.MICROGRAMS_PER_CUBIC_METER,
    Pollutant.TEMPERATURE: Unit.DEGREES_CELSIUS,
    Pollutant.HUMIDITY: Unit.PERCENT,
    Pollutant.PRESSURE: Unit.HECTOPASCALS,
    Pollutant.WIND_SPEED: Unit.METERS_PER_SECOND,
    Pollutant.WIND_DIRECTION: Unit.DEGREES,
    Pollutant.DEW_POINT: Unit.DEGREES_CELSIUS,
    Pollutant.PRECIPITATION: Unit.MILLIMETERS,
}
"""The unit in which a pollutant is compared and returned; the US EPA reports in these, O3 in AirNow's ppb."""

MEASURABLE: Final = {
    Pollutant.PM25: (-25.0, 10_000.0),
    Pollutant.PM10: (-50.0, 20_000.0),
    Pollutant.O3: (-25.0, 2_000.0),
    Pollutant.NO2: (-25.0, 10_000.0),
    Pollutant.SO2: (-25.0, 20_000.0),
    Pollutant.CO: (-2.0, 1_000.0),
    Pollutant.PM1: (-25.0, 10_000.0),
    Pollutant.NO: (-25.0, 20_000.0),
    Pollutant.NH3: (-25.0, 20_000.0),
    Pollutant.BLACK_CARBON: (-25.0, 2_000.0),
    Pollutant.LEAD: (-1.0, 1_000.0),
    Pollutant.TEMPERATURE: (-95.0, 70.0),
    Pollutant.HUMIDITY: (0.0, 110.0),
    Pollutant.PRESSURE: (300.0, 1_100.0),
    Pollutant.WIND_SPEED: (0.0, 120.0),
    Pollutant.WIND_DIRECTION: (0.0, 360.0),
    Pollutant.DEW_POINT: (-100.0, 45.0),
    Pollutant.PRECIPITATION: (0.0, 2_000.0),
}
"""The lowest and highest value taken, in the usual unit. Instruments drift below zero: in August 2020 AirNow
carried PM2.5 down to -14.8 µg/m³ and O3 to -22 ppb. The upper bounds are several times the highest ever reported; of
the weather they lie a little beyond the records of the WMO's archive of weather and climate extremes (-89.2 and 56.7 °C,
gusts of 113 m/s, 1825 mm in 24 hours, a dew point of 35 °C), and humidity sensors overshoot 100 % in fog."""

MOLAR_MASSES: Final = {
    Pollutant.O3: 47.998,
    Pollutant.NO2: 46.006,
    Pollutant.SO2: 64.066,
    Pollutant.CO: 28.010,
    Pollutant.NO: 30.006,
    Pollutant.NH3: 17.031,
}
"""Grams per mole, from the standard atomic weights of IUPAC (2021)."""

MASS_UNITS: Final = (
    Unit.MICROGRAMS_PER_CUBIC_METER,
    Unit.MILLIGRAMS_PER_CUBIC_METER,
    Unit.NANOGRAMS_PER_CUBIC_METER,
)
"""The units that say what a volume of air weighs, and not what share of it something is."""

WEATHER: Final = frozenset(
    {
        Pollutant.TEMPERATURE,
        Pollutant.HUMIDITY,
        Pollutant.PRESSURE,
        Pollutant.WIND_SPEED,
        Pollutant.WIND_DIRECTION,
        Pollutant.DEW_POINT,
        Pollutant.PRECIPITATION,
    }
)
"""What is no concentration: it has one unit and no index. The mean of a wind direction is that of its unit vectors."""

_MOLAR_VOLUME_LITERS: Final = 22.41396954  # of an ideal gas at 0 °C and 1013.25 hPa (CODATA 2018)
_ZERO_CELSIUS_KELVIN: Final = 273.15
_ATMOSPHERE_HPA: Final = 1013.25
_PER_MILLIGRAM: Final = 1000.0
_PER_NANOGRAM: Final = 0.001
_PPB_PER_PPM: Final = 1000.0

Factors = NDArray[np.float64]


def micrograms_per_ppb(temperature_celsius: float, pressure_hpa: float) -> dict[Pollutant, float]:
    """Returns how many µg/m³ a part per billion of each gas weighs, as an ideal gas at a temperature and pressure."""
    expansion = (_ZERO_CELSIUS_KELVIN + temperature_celsius) / _ZERO_CELSIUS_KELVIN * (_ATMOSPHERE_HPA / pressure_hpa)
    return {pollutant: mass / (_MOLAR_VOLUME_LITERS * expansion) for pollutant, mass in MOLAR_MASSES.items()}


def factors_to_usual(per_ppb: Mapping[Pollutant, float]) -> Factors:
    """Returns what a value is multiplied by to be in its pollutant's usual unit.

    Args:
        per_ppb: The weight of a part per billion of each gas, in µg/m³.

    Returns:
        Factors [pollutant, unit], NaN where the unit does not measure the pollutant. Row and column 0 are unused, except
        that unit 0 means the usual one.
    """
    factors = np.full((max(Pollutant) + 1, max(Unit) + 1), np.nan)
    for pollutant, usual in USUAL_UNITS.items():
        factors[pollutant, 0] = factors[pollutant, usual] = 1.0
        if pollutant in WEATHER:
            continue
        micrograms = {
            Unit.MICROGRAMS_PER_CUBIC_METER: 1.0,
            Unit.MILLIGRAMS_PER_CUBIC_METER: _PER_MILLIGRAM,
            Unit.NANOGRAMS_PER_CUBIC_METER: _PER_NANOGRAM,
        }
        if pollutant in per_ppb:
            weight = per_ppb[pollutant]
            micrograms |= {Unit.PARTS_PER_BILLION: weight, Unit.PARTS_PER_MILLION: weight * _PPB_PER_PPM}
        for unit, factor in micrograms.items():
            factors[pollutant, unit] = factor / micrograms[usual]
        if pollutant in per_ppb:  # exact, so that 0.071 ppm is 71 ppb to the last digit
            ppm, ppb = Unit.PARTS_PER_MILLION, Unit.PARTS_PER_BILLION
            factors[pollutant, ppm] = 1.0 if usual == ppm else _PPB_PER_PPM
            factors[pollutant, ppb] = 1.0 if usual == ppb else 1.0 / _PPB_PER_PPM
    return factors


TO_USUAL: Final = factors_to_usual(micrograms_per_ppb(25.0, _ATMOSPHERE_HPA))
"""The factors at 25 °C and 1013.25 hPa, the reference conditions of 40 CFR 50.3. Each version of an index has its own."""

_BOUNDS: Final = np.array([(np.nan, np.nan), *(MEASURABLE[pollutant] for pollutant in Pollutant)])


def to_usual_unit(
    pollutant: ArrayLike, unit: ArrayLike, value: ArrayLike, factors: Factors = TO_USUAL
) -> NDArray[np.float64]:
    """Converts concentrations into their pollutants' usual units.

    Args:
        pollutant: Codes of Pollutant, any shape.
        unit: Codes of Unit, or 0 for the usual one; same shape.
        value: Concentrations; same shape.
        factors: As `factors_to_usual` gives them; those at 25 °C and 1013.25 hPa by default.

    Returns:
        The converted values; NaN where the unit does not measure the pollutant.
    """
    chosen = factors[np.asarray(pollutant, dtype=np.int64), np.asarray(unit, dtype=np.int64)]
    # What is too large for a float becomes infinite, which no range of plausible values holds.
    with np.errstate(over="ignore"):
        return np.asarray(chosen * np.asarray(value, dtype=np.float64))


def is_measurable(pollutant: ArrayLike, usual_value: ArrayLike) -> NDArray[np.bool_]:
    """Tells which concentrations, in usual units, an instrument can have measured; NaN never is."""
    bounds = _BOUNDS[np.asarray(pollutant, dtype=np.int64)]
    value = np.asarray(usual_value, dtype=np.float64)
    return np.asarray((value >= bounds[..., 0]) & (value <= bounds[..., 1]))


def fits(pollutant: Pollutant, unit: int) -> bool:
    """Tells whether `unit`, a code of Unit or 0, measures `pollutant`."""
    return not np.isnan(TO_USUAL[pollutant, unit])
