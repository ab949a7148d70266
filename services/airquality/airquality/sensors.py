"""Sensors: the instruments of a station that has several of them."""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from airquality.units import AveragingPeriod, Pollutant
from meshkit.errors import InvalidInput

_SensorColumns = tuple[str, int, str, bool, int, str, str]


class Correction(IntEnum):
    """What a sensor's readings are corrected by; the codes are those of the enum in airquality.proto."""

    PURPLEAIR_US = 1


class Sensor(NamedTuple):
    """An instrument of a station.

    Attributes:
        sensor_id: Its name for programs, unique within its station.
        model: What it is.
        pollutants: Codes of Pollutant that it measures.
        low_cost: Whether humidity disturbs it.
        correction: A code of Correction, 0 for none.
        id: The number that its readings have in the database; 0 before it has one.
    """

    sensor_id: str
    model: str
    pollutants: tuple[int, ...]
    low_cost: bool = False
    correction: int = 0
    id: int = 0


class Role(NamedTuple):
    """What it means for readings that a sensor gave them.

    Attributes:
        station: The number of its station.
        speaks_for: Pollutants whose readings are the station's as well.
        low_cost: Whether humidity disturbs it.
        correction: A code of Correction, 0 for none.
    """

    station: int
    speaks_for: frozenset[int]
    low_cost: bool
    correction: int

    def needs_humidity(self) -> bool:
        """Tells whether its readings are judged or corrected by its own relative humidity."""
        return self.low_cost or self.correction != 0

    def series(self, sensor: int, pollutant: int, period: int) -> Iterator[tuple[int, int, int]]:
        """Yields the series that may change with a reading of `sensor`, the number that has this role."""
        yield sensor, pollutant, period
        if pollutant in self.speaks_for:
            yield self.station, pollutant, period
        if self.needs_humidity() and pollutant in (Pollutant.PM25, Pollutant.HUMIDITY):
            yield sensor, Pollutant.PM25, AveragingPeriod.HOUR
            yield sensor, Pollutant.HUMIDITY, AveragingPeriod.HOUR
            if Pollutant.PM25 in self.speaks_for:
                yield self.station, Pollutant.PM25, AveragingPeriod.HOUR


def check(sensors: Sequence[Sensor]) -> None:
    """Returns when a station can have these sensors.

    Raises:
        InvalidInput: Two have one id, or one is to be corrected by what it does not measure.
    """
    seen: set[str] = set()
    for place, sensor in enumerate(sensors):
        if sensor.sensor_id in seen:
            raise InvalidInput(f"sensors[{place}].sensor_id", f"{sensor.sensor_id!r} is the id of another one")
        seen.add(sensor.sensor_id)
        needed = {Pollutant.PM25, Pollutant.HUMIDITY}
        if sensor.correction == Correction.PURPLEAIR_US and not needed <= set(sensor.pollutants):
            raise InvalidInput(f"sensors[{place}].correction", "needs a sensor that measures PM2.5 and humidity")


def columns_of(sensors: Sequence[Sensor]) -> Iterator[_SensorColumns]:
    """Yields what is stored of each: id, place, model, low_cost, correction, pollutants, and which it speaks for."""
    taken: set[int] = set()
    for place, sensor in enumerate(sensors):
        own = [each for each in sensor.pollutants if each not in taken]
        taken.update(own)
        yield (
            sensor.sensor_id,
            place,
            sensor.model,
            sensor.low_cost,
            sensor.correction,
            " ".join(map(str, sensor.pollutants)),
            " ".join(map(str, own)),
        )
