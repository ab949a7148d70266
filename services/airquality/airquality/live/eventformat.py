"""How events are written: a head in JSON, which names the stations, and a row of 28 bytes a reading."""

import json
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import numpy as np

from airquality.events import StoredReading
from airquality.readings import Ints, Readings
from airquality.units import LABELS, Unit

LARGEST_EVENT: Final = 1000
"""Readings of one event at most: what is watched for comes sooner out of small ones, and a stream of them is bounded."""

_VERSION: Final = 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HEAD_LENGTH: Final = struct.Struct("<I")
_ROW: Final = np.dtype(
    [
        ("time", "<i8"),
        ("value", "<f8"),
        ("station", "<u2"),
        ("pollutant", "u1"),
        ("averaging_period", "u1"),
        ("unit", "u1"),
        ("unused", "V3"),
        ("flags", "<u4"),
    ]
)


class StationFacts(NamedTuple):
    """What an event says of a station."""

    tenant: str
    station_id: str
    provider: str
    lat: float
    lng: float


class Event(NamedTuple):
    """One event as it is stored.

    Attributes:
        position: Its place in the order of commits.
        stored_at: When it was written, by the clock of who stored it.
        readings: What was stored.
    """

    position: int
    stored_at: datetime
    readings: tuple[StoredReading, ...]


def encode(readings: Readings, facts: Mapping[int, StationFacts], stored_at: datetime, flags: Ints) -> list[bytes]:
    """Returns readings as events of at most LARGEST_EVENT.

    Args:
        readings: What is stored, of any stations.
        facts: The stations by their numbers in the database.
        stored_at: The present time.
        flags: What quality control found of each reading.
    """
    parts = [
        np.arange(start, min(start + LARGEST_EVENT, len(readings))) for start in range(0, len(readings), LARGEST_EVENT)
    ]
    return [_encode(readings.take(part), facts, stored_at, flags[part]) for part in parts]


def _encode(readings: Readings, facts: Mapping[int, StationFacts], stored_at: datetime, flags: Ints) -> bytes:
    numbers, places = np.unique(readings.station, return_inverse=True)
    head = {
        "version": _VERSION,
        "stored_at": stored_at.isoformat(),
        "stations": [facts[number] for number in numbers.tolist()],
    }
    rows = np.zeros(len(readings), dtype=_ROW)
    rows["time"], rows["value"], rows["station"] = readings.time, readings.value, places
    rows["pollutant"], rows["averaging_period"] = readings.pollutant, readings.averaging_period
    rows["unit"], rows["flags"] = readings.unit, flags
    written = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    return _HEAD_LENGTH.pack(len(written)) + written + rows.tobytes()


def decode(position: int, payload: bytes) -> Event:
    """Returns an event that was written by `encode`."""
    (length,) = _HEAD_LENGTH.unpack_from(payload)
    begin = _HEAD_LENGTH.size + length
    head = json.loads(payload[_HEAD_LENGTH.size : begin])
    if head["version"] != _VERSION:
        raise ValueError(f"event {position} is written in version {head['version']}, which this program cannot read")
    stations = [StationFacts(*each) for each in head["stations"]]
    rows = np.frombuffer(payload, dtype=_ROW, offset=begin)
    return Event(position, datetime.fromisoformat(head["stored_at"]), tuple(_readings(stations, rows)))


def _readings(
    stations: list[StationFacts], rows: "np.ndarray[tuple[int], np.dtype[np.void]]"
) -> Iterator[StoredReading]:
    for time, value, station, pollutant, averaging_period, unit, _, flags in rows.tolist():
        tenant, station_id, provider, lat, lng = stations[station]
        yield StoredReading(
            tenant,
            station_id,
            lat,
            lng,
            pollutant,
            value,
            LABELS[Unit(unit)],
            _EPOCH + timedelta(microseconds=time),
            flags,
            averaging_period,
            provider,
        )
