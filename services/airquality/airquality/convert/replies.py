"""From the domain's values to protobuf messages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from airquality.archive import Correction, StoredReading
from airquality.assessment import Assessment
from airquality.conditions import Conditions
from airquality.convert.indices import advice, category
from airquality.quality import Flag
from airquality.stations import Latest, Station
from airquality.surface import PollutantCondition
from airquality.units import USUAL_UNITS
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.types.v1.types_pb2 import Location

_NANOS_PER_MICROSECOND: Final = 1000


def timestamp(time: datetime) -> Timestamp:
    """Returns a time as a message."""
    return Timestamp(seconds=int(time.timestamp() // 1), nanos=time.microsecond * _NANOS_PER_MICROSECOND)


def station(found: Station, latest: Sequence[Latest] = ()) -> pb.Station:
    """Returns a station, with its newest readings where they are given."""
    message = pb.Station()
    _fill_station(message, found, found.distance_meters)
    message.latest.extend(
        pb.LatestReading(
            pollutant=_pollutant(each.pollutant),
            averaging_period=_period(each.averaging_period),
            value=each.value,
            unit=_unit(each.unit),
            time=timestamp(each.time),
            flags=flags(each.flags),
        )
        for each in latest
    )
    message.sensors.extend(
        pb.Sensor(
            sensor_id=each.sensor_id,
            model=each.model,
            pollutants=map(_pollutant, each.pollutants),
            low_cost=each.low_cost,
            correction=pb.SensorCorrection.ValueType(each.correction),
        )
        for each in found.sensors
    )
    return message


def _fill_station(message: pb.Station, found: Station, distance_meters: float | None) -> None:
    message.station_id = found.station_id
    message.provider = found.provider
    message.name = found.name
    message.agency = found.agency
    message.location.lat = found.lat
    message.location.lng = found.lng
    if distance_meters is not None:
        message.distance_meters = distance_meters


def reading(at: Station, found: StoredReading | Correction, sensor_id: str = "") -> pb.Reading:
    """Returns a stored reading of a station, or of one of its sensors."""
    return pb.Reading(
        station_id=at.station_id,
        pollutant=_pollutant(found.key.pollutant),
        averaging_period=_period(found.key.averaging_period),
        time=timestamp(found.key.time),
        value=found.value,
        unit=_unit(found.unit),
        flags=flags(found.flags),
        sensor_id=sensor_id,
    )


def correction(at: Station, found: Correction, sensor_id: str) -> pb.Correction:
    """Returns what a reading said before."""
    return pb.Correction(replaced=reading(at, found, sensor_id), replace_time=timestamp(found.replaced_at))


def flags(bits: int) -> list[pb.QualityFlag.ValueType]:
    """Returns what quality control found; the enum counts the bits from one."""
    return [pb.QualityFlag.ValueType(flag.bit_length()) for flag in Flag if bits & flag]


def conditions(found: Conditions, place: str) -> pb.CurrentConditions:
    """Returns the air at a place."""
    times: dict[datetime, Timestamp] = {}
    used = {
        part.station: meters
        for pollutant in found.pollutants
        for part, meters in zip(pollutant.contributions, pollutant.distances, strict=True)
    }
    reply = pb.CurrentConditions(
        location=Location(lat=found.lat, lng=found.lng),
        place=place,
        time=timestamp(found.at),
        index=None if found.assessment is None else index(found.assessment),
    )
    # Filled in place: what is made apart is copied into its parent, at each level once.
    for each in found.pollutants:
        _add_pollutant(reply, each, found.at, times)
    for at, meters in sorted(used.items(), key=lambda each: (each[1], each[0].station_id)):
        _fill_station(reply.stations.add(), at, meters)
    return reply


def _add_pollutant(
    reply: pb.CurrentConditions, found: PollutantCondition, at: datetime, times: dict[datetime, Timestamp]
) -> None:
    estimate, parts = found.estimate, found.contributions
    condition = reply.pollutants.add(
        pollutant=_pollutant(found.pollutant),
        concentration=estimate.value,
        unit=_unit(USUAL_UNITS[found.pollutant]),
        basis=_basis(parts[estimate.weights.index(max(estimate.weights))].basis),
        standard_deviation=estimate.standard_deviation,
        standard_error=estimate.standard_error,
        interval_low=estimate.low,
        interval_high=estimate.high,
        age_seconds=(at - min([part.time for part in parts])).total_seconds(),
    )
    for part, weight, meters in zip(parts, estimate.weights, found.distances, strict=True):
        # Most stations report for the same hour.
        time = times.get(part.time)
        if time is None:
            time = times[part.time] = timestamp(part.time)
        condition.contributions.add(
            station_id=part.station.station_id,
            weight=weight,
            value=part.value,
            basis=_basis(part.basis),
            time=time,
            distance_meters=meters,
            hourly_value=part.hourly_value,
        )


def index(found: Assessment) -> pb.AirQualityIndex:
    """Returns an index with what it means."""
    standard = found.standard
    return pb.AirQualityIndex(
        index=standard.index,
        index_version=standard.versions[found.version].id,
        value=found.value,
        category=category(found.category),
        dominant_pollutant=_pollutant(found.dominant or 0),
        sub_indices=[
            pb.SubIndex(
                pollutant=_pollutant(each.pollutant),
                value=each.value,
                category=category(each.category),
                averaging_period=_period(each.averaging_period),
                concentration=each.concentration,
                unit=_unit(each.unit),
            )
            for each in found.sub_indices
        ],
        health_advice=advice(standard, found.category, found.dominant),
        provisional=standard.versions[found.version].provisional,
    )


def _pollutant(code: int) -> pb.Pollutant.ValueType:
    return pb.Pollutant.ValueType(code)


def _period(code: int) -> pb.AveragingPeriod.ValueType:
    return pb.AveragingPeriod.ValueType(code)


def _unit(code: int) -> pb.Unit.ValueType:
    return pb.Unit.ValueType(code)


def _basis(code: int) -> pb.Basis.ValueType:
    return pb.Basis.ValueType(code)
