"""From protobuf messages to the domain's values."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar, get_type_hints

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from airquality.archive import CorrectionKey, Key, Place, ReadingFilter
from airquality.intervals import Granularity
from airquality.readings import MICROSECONDS, UNKNOWN, Ints, Readings, Taken, acceptable, check, with_defaults
from airquality.sensors import Sensor
from airquality.standards import Standard
from airquality.stations import DEFAULT_RADIUS_METERS, Position, Station, StationFilter
from airquality.units import Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.types.v1.types_pb2 import ItemError
from meshkit.batch import partition
from meshkit.errors import InvalidInput, NotFound, Reason

_NANOS_PER_MICROSECOND: Final = 1000
_NANOS: Final = 1_000_000_000
# Seconds beyond these would not fit into microseconds; they are refused for what they are, far before or after.
_SECONDS_BOUND: Final = 1 << 42
_LARGEST_NUMBER: Final = (1 << 31) - 1

PositionT = TypeVar("PositionT", Key, CorrectionKey, Position)


class Columns(NamedTuple):
    """Readings of a chunk whose stations are not looked up yet."""

    station_ids: tuple[str, ...]  # of a sensor with a slash and the sensor's own
    readings: Readings


def columns(readings: Sequence[pb.Reading]) -> Columns:
    """Returns a chunk as columns; what no rule has been held against yet, and a value that is not given is NaN."""
    stations, sensors, pollutants, periods, seconds, nanos, values, units = zip(
        *[
            (
                each.station_id,
                each.sensor_id,
                each.pollutant,
                each.averaging_period,
                (time := each.time).seconds,
                time.nanos,
                each.value,
                each.unit,
            )
            for each in readings
        ],
        strict=True,
    )
    station_ids = stations
    if any(sensors):
        pairs = zip(stations, sensors, strict=True)
        station_ids = tuple(f"{station}/{sensor}" if sensor else station for station, sensor in pairs)
    value = np.array(values, dtype=np.float64)
    for place in np.flatnonzero(value == 0.0).tolist():
        if not readings[place].HasField("value"):
            value[place] = np.nan
    nano = np.array(nanos, dtype=np.int64)
    second = np.clip(np.array(seconds, dtype=np.int64), -_SECONDS_BOUND, _SECONDS_BOUND)
    time_column = second * MICROSECONDS + nano // _NANOS_PER_MICROSECOND
    # What is no valid timestamp is before all times.
    time_column[(nano < 0) | (nano >= _NANOS)] = np.iinfo(np.int64).min
    return Columns(
        station_ids,
        Readings(
            station=np.full(len(value), UNKNOWN, dtype=np.int64),
            pollutant=np.array(pollutants, dtype=np.int64),
            averaging_period=np.array(periods, dtype=np.int64),
            unit=np.array(units, dtype=np.int64),
            time=time_column,
            value=value,
        ),
    )


def accepted(
    messages: Sequence[pb.Reading], found: Columns, numbers: Ints, taken: Taken, *, offset: int, most_errors: int
) -> tuple[Readings, list[ItemError]]:
    """Takes a chunk apart into what can be stored and why the rest cannot.

    All are held against the rules at once, as columns; only those that fail are looked at one by one, to say why.

    Args:
        messages: The chunk.
        found: Its columns.
        numbers: The numbers of its stations.
        taken: Which times are taken.
        offset: The index of its first reading.
        most_errors: How many errors are wanted at most; more readings may be refused.
    """
    raw = found.readings
    readings = Readings(numbers, raw.pollutant, raw.averaging_period, raw.unit, raw.time, raw.value)
    good = acceptable(readings, taken)
    if good.all():
        return with_defaults(readings), []
    errors: list[ItemError] = []
    for place in np.flatnonzero(~good).tolist()[:most_errors]:
        rule = _rule(int(raw.time[place]), taken, known=bool(numbers[place] != UNKNOWN))
        errors += partition([messages[place]], rule, offset=offset + place).errors
    return with_defaults(readings.take(good)), errors


def _rule(time: int, taken: Taken, *, known: bool) -> Callable[[pb.Reading], None]:
    """Returns what a reading that keeps the rules of the proto was refused for."""

    def rule(reading: pb.Reading) -> None:
        check(Pollutant(reading.pollutant), reading.unit, reading.value, time, taken)
        if not known and reading.sensor_id:
            raise NotFound(
                Reason.STATION_NOT_FOUND,
                f"your tenant has no station {reading.station_id!r} with a sensor {reading.sensor_id!r}; register it"
                " first",
            )
        if not known:
            raise NotFound(
                Reason.STATION_NOT_FOUND, f"your tenant has no station {reading.station_id!r}; register it first"
            )
        raise InvalidInput("time", "is not a valid timestamp")

    return rule


def station(message: pb.Station) -> Station:
    """Returns a station to store."""
    return Station(
        message.station_id,
        message.provider,
        message.name,
        message.agency,
        message.location.lat,
        message.location.lng,
        sensors=tuple(
            Sensor(each.sensor_id, each.model, tuple(each.pollutants), each.low_cost, each.correction)
            for each in message.sensors
        ),
    )


def station_filter(request: pb.ListStationsRequest) -> StationFilter:
    """Returns which stations are wanted."""
    box, anywhere = request.bbox, (-180.0, 180.0, -90.0, 90.0)
    return StationFilter(
        box=(box.west, box.east, box.south, box.north) if request.HasField("bbox") else anywhere,
        point=(request.lat, request.lng) if request.HasField("lat") else None,
        radius_meters=request.radius_meters if request.HasField("radius_meters") else DEFAULT_RADIUS_METERS,
        provider=request.provider or None,
        pollutant=request.pollutant or None,
    )


def place(request: pb.ListReadingsRequest | pb.GetHistoryRequest) -> Place:
    """Returns the station, its sensor or the circle asked about."""
    radius_meters = request.radius_meters if request.HasField("radius_meters") else None
    sensor_id = request.sensor_id if isinstance(request, pb.ListReadingsRequest) else ""
    return Place(request.station_id, sensor_id, request.lat, request.lng, radius_meters)


def reading_filter(request: pb.ListReadingsRequest | pb.ListCorrectionsRequest) -> ReadingFilter:
    """Returns which readings are wanted."""
    return ReadingFilter(
        pollutant=request.pollutant or None,
        averaging_period=request.averaging_period or None,
        start=moment(request.start_time, "start_time") if request.HasField("start_time") else None,
        end=moment(request.end_time, "end_time") if request.HasField("end_time") else None,
    )


def granularity(request: pb.GetHistoryRequest) -> Granularity:
    """Returns the length of the intervals."""
    return Granularity(request.granularity or Granularity.HOURLY)


def history_window(request: pb.GetHistoryRequest, now: datetime) -> tuple[datetime, datetime]:
    """Returns start and end of the time asked about; the end is now where none is given.

    Raises:
        InvalidInput: One is no time, or the start lies in the future and no end is given.
    """
    start = moment(request.start_time, "start_time")
    if request.HasField("end_time"):
        return start, moment(request.end_time, "end_time")
    if start >= now:
        raise InvalidInput("start_time", "must not be in the future where no end_time is given")
    return start, now


def version(standard: Standard, version_id: str, at: datetime, *, field: str) -> int:
    """Returns the version asked for, or the one in force at a moment that `field` gave."""
    return standard.version_of(version_id) if version_id else standard.version_at(at, field=field)


def moment(timestamp: Timestamp, field: str) -> datetime:
    """Returns a timestamp of the request's `field` as a time, truncated to microseconds.

    Raises:
        InvalidInput: It is none, which only a hand-made message can hold.
    """
    try:
        return timestamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(field, "must be between 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z") from None


def position(kind: type[PositionT], decoded: Sequence[Any] | None) -> PositionT | None:
    """Returns where a page begins as the domain's tuple.

    Raises:
        InvalidInput: The token was forged: it holds something else.
    """
    if decoded is None:
        return None
    fits = [type(each) for each in decoded] == list(get_type_hints(kind).values()) and all(
        each.tzinfo is not None if isinstance(each, datetime) else -1 <= each <= _LARGEST_NUMBER
        for each in decoded
        if isinstance(each, int | float | datetime)
    )
    if not fits:
        raise InvalidInput("page_token", "is not one of ours", reason=Reason.INVALID_PAGE_TOKEN)
    return kind(*decoded)
