"""Histories as protobuf messages."""

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from airquality.convert.indices import category
from airquality.convert.replies import station
from airquality.history import History, PollutantHistory
from airquality.index import NONE, category_of
from airquality.readings import MICROSECONDS
from airquality.standards import Standard
from airquality.stations import Station
from airquality.units import USUAL_UNITS, Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb


def history(found: History, sources: Mapping[Pollutant, Station], standard: Standard) -> pb.History:
    """Returns a history, of which intervals without any value are left out."""
    intervals = [
        pb.HistoryInterval(start_time=_time(start), end_time=_time(end), index_version=standard.versions[version].id)
        for start, end, version in zip(
            found.edges[:-1].tolist(), found.edges[1:].tolist(), found.versions.tolist(), strict=True
        )
    ]
    for pollutant, values in found.pollutants.items():
        _add(intervals, pollutant, values)
    _set_indices(intervals, found, standard)
    return pb.History(
        index=standard.index,
        sources=[
            pb.HistorySource(
                pollutant=pb.Pollutant.ValueType(pollutant),
                station=station(at),
                unit=pb.Unit.ValueType(USUAL_UNITS[pollutant]),
            )
            for pollutant, at in sorted(sources.items())
        ],
        intervals=[interval for interval in intervals if interval.pollutants],
    )


def _add(intervals: list[pb.HistoryInterval], pollutant: Pollutant, values: PollutantHistory) -> None:
    columns = (
        values.mean,
        values.minimum,
        values.maximum,
        values.hour_count,
        values.coverage,
        values.index_concentration,
        values.basis,
        values.sub_index,
    )
    for interval, row in zip(intervals, zip(*(column.tolist() for column in columns), strict=True), strict=True):
        mean, minimum, maximum, hours, coverage, concentration, basis, sub_index = row
        if not hours and not basis:
            continue
        interval.pollutants.add(
            pollutant=pb.Pollutant.ValueType(pollutant),
            mean=mean if hours else None,
            minimum=minimum if hours else None,
            maximum=maximum if hours else None,
            hour_count=hours,
            coverage=coverage,
            index_concentration=concentration if basis else None,
            basis=pb.Basis.ValueType(basis),
            sub_index=None if sub_index == NONE else sub_index,
        )


def _set_indices(intervals: list[pb.HistoryInterval], found: History, standard: Standard) -> None:
    """Sets the index of each interval that has one."""
    for interval, value, dominant in zip(intervals, found.index_values.tolist(), found.dominant.tolist(), strict=True):
        if value != NONE:
            interval.index_value = value
            interval.category.CopyFrom(category(category_of(standard, value)))
            interval.dominant_pollutant = pb.Pollutant.ValueType(dominant)


def _time(microseconds: int) -> Timestamp:
    return Timestamp(seconds=microseconds // MICROSECONDS)
