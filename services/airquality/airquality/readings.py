"""Readings as columns, and which of them can be true."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airquality.units import LABELS, MEASURABLE, USUAL_UNITS, AveragingPeriod, Pollutant, Unit, fits, to_usual_unit
from airquality.units import is_measurable as measurable
from meshkit.errors import InvalidInput, Reason

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MICROSECONDS: Final = 1_000_000
EARLIEST_SECONDS: Final = 315_532_800
"""1980-01-01 in seconds since 1970: when the US EPA's records begin."""

UNKNOWN: Final = -1
"""Stands for the number of a station that is not registered."""

_USUAL: Final = np.array([0, *(USUAL_UNITS[pollutant] for pollutant in Pollutant)])


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Readings, one array a column, all of one length.

    Attributes:
        station: The stations' numbers in the database, UNKNOWN without one.
        pollutant: Codes of Pollutant.
        averaging_period: Codes of AveragingPeriod.
        unit: Codes of Unit.
        time: Start of the period, in microseconds since 1970.
        value: Concentrations in `unit`.
    """

    station: Ints
    pollutant: Ints
    averaging_period: Ints
    unit: Ints
    time: Ints
    value: Floats

    def __len__(self) -> int:
        return self.time.size

    def take(self, which: NDArray[np.bool_] | Ints) -> "Readings":
        """Returns the readings at these places, or where this mask is true."""
        return Readings(
            self.station[which],
            self.pollutant[which],
            self.averaging_period[which],
            self.unit[which],
            self.time[which],
            self.value[which],
        )

    @classmethod
    def joined(cls, parts: "list[Readings]") -> "Readings":
        """Returns all readings of some parts, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.station for part in parts]),
            np.concatenate([part.pollutant for part in parts]),
            np.concatenate([part.averaging_period for part in parts]),
            np.concatenate([part.unit for part in parts]),
            np.concatenate([part.time for part in parts]),
            np.concatenate([part.value for part in parts]),
        )

    def series(self) -> Ints:
        """Returns a number for each reading that names its station, pollutant and averaging period."""
        return (self.station << 16) | (self.pollutant << 8) | self.averaging_period

    def last_by_key(self) -> "Readings":
        """Returns the readings in the order of their keys, of several with one key only the last."""
        series = self.series()
        order = np.lexsort((self.time, series))  # stable, so that the last of equal keys stays last
        ordered_series, ordered_time = series[order], self.time[order]
        is_last = np.ones(len(self), dtype=np.bool_)
        is_last[:-1] = (ordered_series[1:] != ordered_series[:-1]) | (ordered_time[1:] != ordered_time[:-1])
        return self.take(order[is_last])


def with_defaults(readings: Readings) -> Readings:
    """Returns the readings with the usual unit and the hour where they name none. Codes must be known ones."""
    return Readings(
        readings.station,
        readings.pollutant,
        np.where(readings.averaging_period == 0, AveragingPeriod.HOUR, readings.averaging_period),
        np.where(readings.unit == 0, _USUAL[readings.pollutant], readings.unit),
        readings.time,
        readings.value,
    )


class Taken(NamedTuple):
    """Which times are taken, in microseconds since 1970.

    Attributes:
        latest: The latest.
        earliest: The earliest; what is older would not be kept.
    """

    latest: int
    earliest: int = EARLIEST_SECONDS * MICROSECONDS


def acceptable(readings: Readings, taken: Taken) -> NDArray[np.bool_]:
    """Tells which readings can be stored. It agrees with the rules of the proto and with `check`.

    Args:
        readings: Any readings; a value that was not given is NaN.
        taken: Which times are taken.

    Returns:
        A mask as long as `readings`.
    """
    known = (
        (readings.station != UNKNOWN)
        & (readings.pollutant >= min(Pollutant))
        & (readings.pollutant <= max(Pollutant))
        & (readings.unit >= 0)
        & (readings.unit <= max(Unit))
        & (readings.averaging_period >= 0)
        & (readings.averaging_period <= max(AveragingPeriod))
    )
    pollutant = np.where(known, readings.pollutant, 0)
    usual = to_usual_unit(pollutant, np.where(known, readings.unit, 0), readings.value)
    in_time = (readings.time >= taken.earliest) & (readings.time <= taken.latest)
    return np.asarray(known & in_time & measurable(pollutant, usual))


def check(pollutant: Pollutant, unit: int, value: float, time: int, taken: Taken) -> None:
    """Returns when a reading can be stored, of which the rules of the proto hold.

    Args:
        pollutant: The pollutant.
        unit: A code of Unit, or 0 for the usual one.
        value: The concentration in `unit`.
        time: Start of the period, in microseconds since 1970.
        taken: Which times are taken.

    Raises:
        InvalidInput: It cannot.
    """
    check_concentration(pollutant, unit, value)
    if time > taken.latest:
        raise InvalidInput("time", "is in the future", reason=Reason.TIME_IN_FUTURE)
    # What is no timestamp at all lies before 1980 too, and is told as such.
    if EARLIEST_SECONDS * MICROSECONDS <= time < taken.earliest:
        raise InvalidInput("time", "is older than readings are kept here")


def check_concentration(pollutant: Pollutant, unit: int, value: float) -> None:
    """Returns when the unit measures the pollutant and an instrument can have measured the value.

    Raises:
        InvalidInput: It does not, or it cannot.
    """
    if not fits(pollutant, unit):
        fitting = " or ".join(label for each, label in LABELS.items() if fits(pollutant, each))
        raise InvalidInput(
            "unit",
            f"{pollutant.name} is measured in {fitting}, not in {LABELS[Unit(unit)]}",
            reason=Reason.UNIT_MISMATCH,
        )
    lowest, highest = MEASURABLE[pollutant]
    if not lowest <= float(to_usual_unit(pollutant, unit, value)) <= highest:
        label = LABELS[USUAL_UNITS[pollutant]]
        raise InvalidInput("value", f"{pollutant.name} must be between {lowest:g} and {highest:g} {label}")
