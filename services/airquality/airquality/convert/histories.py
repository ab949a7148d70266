"""Histories as protobuf messages."""

import math
from collections.abc import Mapping, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from airquality.convert.indices import category
from airquality.convert.replies import station
from airquality.history import History, PollutantHistory
from airquality.index import NONE, category_of
from airquality.longterm import Exceedances, Profile
from airquality.past import Past
from airquality.readings import MICROSECONDS
from airquality.standards import Standard
from airquality.stations import Station
from airquality.units import USUAL_UNITS, Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb


def history(past: Past, sources: Mapping[Pollutant, Station], standard: Standard) -> pb.History:
    """Returns a history, of which intervals without any value are left out."""
    found = past.history
    times = [_time(edge) for edge in found.edges.tolist()]
    intervals = [
        pb.HistoryInterval(start_time=start, end_time=end, index_version=standard.versions[version].id)
        for start, end, version in zip(times[:-1], times[1:], found.versions.tolist(), strict=True)
    ]
    for pollutant, values in found.pollutants.items():
        _add(intervals, pollutant, values, past.exceedances.get(pollutant, []))
    _set_indices(intervals, found, standard)
    if past.longterm is not None:
        for interval, counts in zip(intervals, past.longterm.category_days.tolist(), strict=True):
            if interval.HasField("index_value"):
                interval.category_day_counts.extend(counts)
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
        profiles=[_profile(each) for each in past.profiles],
    )


def _add(
    intervals: list[pb.HistoryInterval],
    pollutant: Pollutant,
    values: PollutantHistory,
    exceeded: Sequence[Exceedances],
) -> None:
    counted = [(each.limit, list(zip(each.above.tolist(), each.known.tolist(), strict=True))) for each in exceeded]
    columns = (
        values.mean,
        values.minimum,
        values.maximum,
        values.hour_count,
        values.flagged_count,
        values.coverage,
        values.index_concentration,
        values.basis,
        values.sub_index,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for place, (interval, row) in enumerate(zip(intervals, rows, strict=True)):
        mean, minimum, maximum, hours, flagged, coverage, concentration, basis, sub_index = row
        if not hours and not basis and sub_index == NONE:
            continue
        interval.pollutants.add(
            pollutant=pb.Pollutant.ValueType(pollutant),
            mean=_known(mean),
            minimum=_known(minimum),
            maximum=_known(maximum),
            hour_count=hours,
            flagged_hour_count=flagged,
            coverage=coverage,
            index_concentration=concentration if basis else None,
            basis=pb.Basis.ValueType(basis),
            sub_index=None if sub_index == NONE else sub_index,
            exceedances=[
                pb.Exceedance(
                    limit_id=limit.limit_id,
                    averaging_period=pb.AveragingPeriod.ValueType(limit.averaging_period),
                    concentration=limit.concentration,
                    count=counts[place][0],
                    known_count=counts[place][1],
                )
                for limit, counts in counted
                if counts[place][1]
            ],
        )


def _set_indices(intervals: list[pb.HistoryInterval], found: History, standard: Standard) -> None:
    """Sets the index of each interval that has one."""
    for interval, value, dominant in zip(intervals, found.index_values.tolist(), found.dominant.tolist(), strict=True):
        if value != NONE:
            interval.index_value = value
            interval.category.CopyFrom(category(category_of(standard, value)))
            interval.dominant_pollutant = pb.Pollutant.ValueType(dominant)


def _profile(found: Profile) -> pb.Profile:
    columns = (found.number, found.mean, found.minimum, found.maximum, found.hour_count, found.coverage)
    return pb.Profile(
        pollutant=pb.Pollutant.ValueType(found.pollutant),
        kind=pb.ProfileKind.ValueType(found.kind),
        parts=[
            pb.ProfilePart(
                number=number,
                mean=_known(mean),
                minimum=_known(minimum),
                maximum=_known(maximum),
                hour_count=hours,
                coverage=coverage,
            )
            for number, mean, minimum, maximum, hours, coverage in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ],
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _time(microseconds: int) -> Timestamp:
    return Timestamp(seconds=microseconds // MICROSECONDS)
