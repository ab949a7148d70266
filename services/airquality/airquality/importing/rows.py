"""What the readers of all formats give: readings by the names of their stations, and the stations."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from airquality.readings import UNKNOWN, Readings, Taken, acceptable, with_defaults
from airquality.stations import Station
from airquality.units import AveragingPeriod, Pollutant, Unit

POLLUTANTS: Final = {
    **{each.name: each for each in Pollutant},
    "PM2.5": Pollutant.PM25,
    "PM25_LC": Pollutant.PM25,
    "OZONE": Pollutant.O3,
    "BC": Pollutant.BLACK_CARBON,
    "TEMP": Pollutant.TEMPERATURE,
    "RHUM": Pollutant.HUMIDITY,
    "RELATIVEHUMIDITY": Pollutant.HUMIDITY,
    "BARPR": Pollutant.PRESSURE,
    "WS": Pollutant.WIND_SPEED,
    "WD": Pollutant.WIND_DIRECTION,
    "PRECIP": Pollutant.PRECIPITATION,
    "PM1.0": Pollutant.PM1,
}
"""Names of pollutants in files, in capitals."""

_UNITS: Final = {
    "UG/M3": Unit.MICROGRAMS_PER_CUBIC_METER,
    "UG/M3 LC": Unit.MICROGRAMS_PER_CUBIC_METER,
    "MG/M3": Unit.MILLIGRAMS_PER_CUBIC_METER,
    "NG/M3": Unit.NANOGRAMS_PER_CUBIC_METER,
    "PPB": Unit.PARTS_PER_BILLION,
    "PPM": Unit.PARTS_PER_MILLION,
    "C": Unit.DEGREES_CELSIUS,
    "PERCENT": Unit.PERCENT,
    "%": Unit.PERCENT,
    "MILLIBAR": Unit.HECTOPASCALS,
    "HPA": Unit.HECTOPASCALS,
    "M/S": Unit.METERS_PER_SECOND,
    "DEGREES": Unit.DEGREES,
    "DEG": Unit.DEGREES,
    "MM": Unit.MILLIMETERS,
    **{each.name: each for each in Unit},
}

Row = tuple[str, int, int, int, int, float]
"""Station id, pollutant, averaging period, unit (0 the usual one), time in microseconds since 1970, value."""


class Chunk(NamedTuple):
    """Some rows of a file.

    Attributes:
        rows: The readings.
        stations: Stations that appear in them and were not given before.
        skipped: How many rows of the file say nothing that can be kept, by the reason.
        done: How many bytes of the file are read.
    """

    rows: Sequence[Row]
    stations: Sequence[Station]
    skipped: dict[str, int]
    done: int


Chunks = Iterator[Chunk]


def pollutant_of(name: str) -> Pollutant | None:
    """Returns the pollutant that files call so, None for what is not kept."""
    return POLLUTANTS.get(name.strip().upper())


def unit_of(name: str) -> Unit | None:
    """Returns the unit that files call so, None for an unknown one."""
    plain = unicodedata.normalize("NFKC", name.strip()).replace("\N{GREEK SMALL LETTER MU}", "u").replace("°", "")
    return _UNITS.get(plain.upper())


@dataclass
class Skipped:
    """Counts what is not kept of a chunk, by the reason."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str) -> None:
        """Counts one row."""
        self.counts[reason] = self.counts.get(reason, 0) + 1


def readings_of(rows: Sequence[Row], numbers: dict[str, int], taken: Taken) -> tuple[Readings, int]:
    """Returns the readings that can be stored, of one key the last, and how many cannot."""
    names, pollutant, period, unit, time, value = zip(*rows, strict=True)
    every = Readings(
        np.array([numbers.get(name, UNKNOWN) for name in names], dtype=np.int64),
        np.array(pollutant, dtype=np.int64),
        np.array(period, dtype=np.int64),
        np.array(unit, dtype=np.int64),
        np.array(time, dtype=np.int64),
        np.array(value, dtype=np.float64),
    )
    good = acceptable(every, taken)
    return with_defaults(every.take(good)).last_by_key(), int((~good).sum())


def period_of(name: str) -> AveragingPeriod:
    """Returns an averaging period by its name.

    Raises:
        KeyError: There is none of this name.
    """
    return AveragingPeriod[name.strip().upper()]
