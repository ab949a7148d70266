"""Pollutants, units and averaging periods, and the arithmetic between units.

The codes are those of the enums in airquality.proto and of the columns in the database.
"""

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


class Unit(IntEnum):
    """The unit of a concentration."""

    MICROGRAMS_PER_CUBIC_METER = 1
    MILLIGRAMS_PER_CUBIC_METER = 2
    PARTS_PER_BILLION = 3
    PARTS_PER_MILLION = 4


class AveragingPeriod(IntEnum):
    """The time that a concentration is an average over."""

    HOUR = 1
    EIGHT_HOURS = 2
    TWENTY_FOUR_HOURS = 3
    NOWCAST = 4


LABELS: Final = {
    Unit.MICROGRAMS_PER_CUBIC_METER: "µg/m³",
    Unit.MILLIGRAMS_PER_CUBIC_METER: "mg/m³",
    Unit.PARTS_PER_BILLION: "ppb",
    Unit.PARTS_PER_MILLION: "ppm",
}

USUAL_UNITS: Final = {
    Pollutant.PM25: Unit.MICROGRAMS_PER_CUBIC_METER,
    Pollutant.PM10: Unit.MICROGRAMS_PER_CUBIC_METER,
    Pollutant.O3: Unit.PARTS_PER_BILLION,
    Pollutant.NO2: Unit.PARTS_PER_BILLION,
    Pollutant.SO2: Unit.PARTS_PER_BILLION,
    Pollutant.CO: Unit.PARTS_PER_MILLION,
}
"""The unit in which a pollutant is compared and returned; the US EPA reports in these, O3 in AirNow's ppb."""

MEASURABLE: Final = {
    Pollutant.PM25: (-25.0, 10_000.0),
    Pollutant.PM10: (-50.0, 20_000.0),
    Pollutant.O3: (-25.0, 2_000.0),
    Pollutant.NO2: (-25.0, 10_000.0),
    Pollutant.SO2: (-25.0, 20_000.0),
    Pollutant.CO: (-2.0, 1_000.0),
}
"""The lowest and highest concentration taken, in the usual unit. Instruments drift below zero: in August 2020 AirNow
carried PM2.5 down to -14.8 µg/m³ and O3 to -22 ppb. The upper bounds are several times the highest ever reported."""

MOLAR_MASSES: Final = {Pollutant.O3: 47.998, Pollutant.NO2: 46.006, Pollutant.SO2: 64.066, Pollutant.CO: 28.010}
"""Grams per mole, from the standard atomic weights of IUPAC (2021)."""

MOLAR_VOLUME_LITERS: Final = 24.465
"""Volume of a mole of ideal gas at 25 °C and 1013.25 hPa, the reference conditions of 40 CFR 50.3, in litres."""

_PER_MILLIGRAM: Final = 1000.0
_PPB_PER_PPM: Final = 1000.0


def _to_usual() -> NDArray[np.float64]:
    """Returns the factors [pollutant, unit] into the usual unit; NaN where the unit does not measure the pollutant.

    Row and column 0 are unused, except that unit 0 means the usual one.
    """
    factors = np.full((max(Pollutant) + 1, max(Unit) + 1), np.nan)
    for pollutant, usual in USUAL_UNITS.items():
        micrograms = {Unit.MICROGRAMS_PER_CUBIC_METER: 1.0, Unit.MILLIGRAMS_PER_CUBIC_METER: _PER_MILLIGRAM}
        if pollutant in MOLAR_MASSES:
            per_ppb = MOLAR_MASSES[pollutant] / MOLAR_VOLUME_LITERS
            micrograms |= {Unit.PARTS_PER_BILLION: per_ppb, Unit.PARTS_PER_MILLION: per_ppb * _PPB_PER_PPM}
        for unit, factor in micrograms.items():
            factors[pollutant, unit] = factor / micrograms[usual]
        if pollutant in MOLAR_MASSES:  # exact, so that 0.071 ppm is 71 ppb to the last digit
            ppm, ppb = Unit.PARTS_PER_MILLION, Unit.PARTS_PER_BILLION
            factors[pollutant, ppm] = 1.0 if usual == ppm else _PPB_PER_PPM
            factors[pollutant, ppb] = 1.0 if usual == ppb else 1.0 / _PPB_PER_PPM
        factors[pollutant, 0] = 1.0
    return factors


TO_USUAL: Final = _to_usual()

_BOUNDS: Final = np.array([(np.nan, np.nan), *(MEASURABLE[pollutant] for pollutant in Pollutant)])


def to_usual_unit(pollutant: ArrayLike, unit: ArrayLike, value: ArrayLike) -> NDArray[np.float64]:
    """Converts concentrations into their pollutants' usual units, at 25 °C and 1013.25 hPa.

    Args:
        pollutant: Codes of Pollutant, any shape.
        unit: Codes of Unit, or 0 for the usual one; same shape.
        value: Concentrations; same shape.

    Returns:
        The converted values; NaN where the unit does not measure the pollutant.
    """
    factors = TO_USUAL[np.asarray(pollutant, dtype=np.int64), np.asarray(unit, dtype=np.int64)]
    # What is too large for a float becomes infinite, which no range of plausible values holds.
    with np.errstate(over="ignore"):
        return np.asarray(factors * np.asarray(value, dtype=np.float64))


def is_measurable(pollutant: ArrayLike, usual_value: ArrayLike) -> NDArray[np.bool_]:
    """Tells which concentrations, in usual units, an instrument can have measured; NaN never is."""
    bounds = _BOUNDS[np.asarray(pollutant, dtype=np.int64)]
    value = np.asarray(usual_value, dtype=np.float64)
    return np.asarray((value >= bounds[..., 0]) & (value <= bounds[..., 1]))


def fits(pollutant: Pollutant, unit: int) -> bool:
    """Tells whether `unit`, a code of Unit or 0, measures `pollutant`."""
    return not np.isnan(TO_USUAL[pollutant, unit])
