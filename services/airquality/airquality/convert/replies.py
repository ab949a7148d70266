"""From the domain's values to protobuf messages."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from airquality.archive import StoredReading
from airquality.assessment import Assessment
from airquality.conditions import Conditions
from airquality.contributions import Contribution
from airquality.standards import Category, Standard, Table, Version
from airquality.stations import Latest, Station
from airquality.surface import PollutantCondition
from airquality.units import USUAL_UNITS, Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.types.v1.types_pb2 import Location

_NANOS_PER_MICROSECOND: Final = 1000


def timestamp(time: datetime) -> Timestamp:
    """Returns a time as a message."""
    return Timestamp(seconds=int(time.timestamp() // 1), nanos=time.microsecond * _NANOS_PER_MICROSECOND)


def station(found: Station, latest: Sequence[Latest] = ()) -> pb.Station:
    """Returns a station, with its newest readings where they are given."""
    return pb.Station(
        station_id=found.station_id,
        provider=found.provider,
        name=found.name,
        agency=found.agency,
        location=Location(lat=found.lat, lng=found.lng),
        distance_meters=found.distance_meters,
        latest=[
            pb.LatestReading(
                pollutant=_pollutant(each.pollutant),
                averaging_period=_period(each.averaging_period),
                value=each.value,
                unit=_unit(each.unit),
                time=timestamp(each.time),
            )
            for each in latest
        ],
    )


def reading(at: Station, found: StoredReading) -> pb.Reading:
    """Returns a stored reading."""
    return pb.Reading(
        station_id=at.station_id,
        pollutant=_pollutant(found.key.pollutant),
        averaging_period=_period(found.key.averaging_period),
        time=timestamp(found.key.time),
        value=found.value,
        unit=_unit(found.unit),
    )


def conditions(found: Conditions, place: str) -> pb.CurrentConditions:
    """Returns the air at a place."""
    used = {part.station for pollutant in found.pollutants for part in pollutant.contributions}
    nearest_first = sorted(used, key=lambda each: (each.distance_meters or 0.0, each.station_id))
    return pb.CurrentConditions(
        location=Location(lat=found.lat, lng=found.lng),
        place=place,
        time=timestamp(found.at),
        index=None if found.assessment is None else index(found.assessment),
        pollutants=[_pollutant_condition(each, found.at) for each in found.pollutants],
        stations=map(station, nearest_first),
    )


def _pollutant_condition(found: PollutantCondition, at: datetime) -> pb.PollutantCondition:
    by_weight = max(zip(found.estimate.weights, found.contributions, strict=True), key=lambda pair: pair[0])
    return pb.PollutantCondition(
        pollutant=_pollutant(found.pollutant),
        concentration=found.estimate.value,
        unit=_unit(USUAL_UNITS[found.pollutant]),
        basis=_basis(by_weight[1].basis),
        standard_deviation=found.estimate.standard_deviation,
        standard_error=found.estimate.standard_error,
        interval_low=found.estimate.low,
        interval_high=found.estimate.high,
        age_seconds=(at - min(part.time for part in found.contributions)).total_seconds(),
        contributions=map(_contribution, found.contributions, found.estimate.weights),
    )


def _contribution(part: Contribution, weight: float) -> pb.Contribution:
    return pb.Contribution(
        station_id=part.station.station_id,
        weight=weight,
        value=part.value,
        basis=_basis(part.basis),
        time=timestamp(part.time),
        distance_meters=part.station.distance_meters or 0.0,
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
        dominant_pollutant=_pollutant(found.dominant),
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
        health_advice=_advice(standard, found.category, found.dominant),
    )


@cache
def category(found: Category) -> pb.Category:
    """Returns a band of an index."""
    return pb.Category(
        number=found.number, name=found.name, color=found.color, lowest=found.lowest, highest=found.highest
    )


@cache
def _advice(standard: Standard, found: Category, dominant: Pollutant) -> pb.HealthAdvice:
    return pb.HealthAdvice(
        general=found.general,
        sensitive_groups=found.sensitive_groups,
        sensitive_groups_are=standard.sensitive_groups.get(dominant, ""),
    )


def indices(standards: Iterable[Standard]) -> pb.ListIndicesResponse:
    """Returns the supported indices."""
    return pb.ListIndicesResponse(
        indices=[
            pb.Index(
                index=standard.index,
                name=standard.name,
                authority=standard.authority,
                versions=[_version(standard, each) for each in reversed(standard.versions)],
            )
            for standard in standards
        ]
    )


def _version(standard: Standard, found: Version) -> pb.IndexVersion:
    return pb.IndexVersion(
        index_version=found.id,
        effective_time=timestamp(found.effective),
        source=found.source,
        categories=map(category, standard.categories),
        tables=map(_table, found.tables),
    )


def _table(found: Table) -> pb.BreakpointTable:
    return pb.BreakpointTable(
        pollutant=_pollutant(found.pollutant),
        averaging_period=_period(found.averaging_period),
        unit=_unit(found.unit),
        truncate_to=found.truncate_to,
        breakpoints=[pb.Breakpoint(**each._asdict()) for each in found.breakpoints],
    )


def _pollutant(code: int) -> pb.Pollutant.ValueType:
    return pb.Pollutant.ValueType(code)


def _period(code: int) -> pb.AveragingPeriod.ValueType:
    return pb.AveragingPeriod.ValueType(code)


def _unit(code: int) -> pb.Unit.ValueType:
    return pb.Unit.ValueType(code)


def _basis(code: int) -> pb.Basis.ValueType:
    return pb.Basis.ValueType(code)
