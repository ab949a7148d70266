"""Histories as protobuf messages."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from airquality.convert.columns import Bytes, chosen, field, joined, serialized
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

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Fields of a pollutant in an interval whose absence a NaN says.
_FIGURES: Final = ("mean", "minimum", "maximum")


def history(past: Past, sources: Mapping[Pollutant, Station], standard: Standard) -> bytes:
    """Returns a history as a serialized History, of which intervals without any value are left out."""
    found = past.history
    told = {pollutant: _told(values) for pollutant, values in found.pollutants.items()}
    kept = np.logical_or.reduce(list(told.values())) if told else np.zeros(len(found.versions), dtype=np.bool_)
    intervals = joined(
        _intervals(past, standard),
        *(
            field(
                pb.HistoryInterval,
                "pollutants",
                _pollutant(pollutant, values, past.exceedances.get(pollutant, [])),
                told[pollutant],
            )
            for pollutant, values in found.pollutants.items()
        ),
    )
    rest = pb.History(
        index=standard.index,
        sources=[
            pb.HistorySource(
                pollutant=pb.Pollutant.ValueType(pollutant),
                station=station(at),
                unit=pb.Unit.ValueType(USUAL_UNITS[pollutant]),
            )
            for pollutant, at in sorted(sources.items())
        ],
        profiles=[_profile(each) for each in past.profiles],
    )
    return rest.SerializeToString() + serialized(field(pb.History, "intervals", intervals, kept))


def _intervals(past: Past, standard: Standard) -> Bytes:
    """Returns the intervals without their pollutants."""
    found, of = past.history, pb.HistoryInterval
    seconds = found.edges // MICROSECONDS
    versions = chosen([version.id.encode() for version in standard.versions], found.versions)
    indexed = found.index_values != NONE
    columns = [
        field(of, "start_time", field(Timestamp, "seconds", seconds[:-1])),
        field(of, "end_time", field(Timestamp, "seconds", seconds[1:])),
        field(of, "index_version", versions),
        field(of, "index_value", found.index_values, indexed),
        field(of, "category", _categories(found, standard), indexed),
        field(of, "dominant_pollutant", found.dominant, indexed),
    ]
    if past.longterm is not None:
        columns.append(field(of, "category_day_counts", past.longterm.category_days, indexed))
    return joined(*columns)


def _categories(found: History, standard: Standard) -> Bytes:
    values, which = np.unique(found.index_values, return_inverse=True)
    bands = [
        b"" if value == NONE else category(category_of(standard, value)).SerializeToString()
        for value in values.tolist()
    ]
    return chosen(bands, which)


def _told(values: PollutantHistory) -> Bools:
    """Returns in which intervals there is anything to tell of a pollutant."""
    return np.asarray(
        (values.hour_count > 0) | (values.excluded_count > 0) | (values.basis != 0) | (values.sub_index != NONE)
    )


def _pollutant(pollutant: Pollutant, values: PollutantHistory, exceeded: Sequence[Exceedances]) -> Bytes:
    """Returns a pollutant in each interval."""
    of, number = pb.PollutantHistory, len(values.mean)
    return joined(
        field(of, "pollutant", np.full(number, pollutant)),
        *(field(of, name, getattr(values, name), ~np.isnan(getattr(values, name))) for name in _FIGURES),
        field(of, "hour_count", values.hour_count),
        field(of, "flagged_hour_count", values.flagged_count),
        field(of, "excluded_hour_count", values.excluded_count),
        field(of, "coverage", values.coverage),
        field(of, "index_concentration", values.index_concentration, values.basis != 0),
        field(of, "basis", values.basis),
        field(of, "sub_index", values.sub_index, values.sub_index != NONE),
        *(field(of, "exceedances", _exceedance(each, number), each.known > 0) for each in exceeded),
    )


def _exceedance(found: Exceedances, number: int) -> Bytes:
    of, limit = pb.Exceedance, found.limit
    same = pb.Exceedance(
        limit_id=limit.limit_id,
        averaging_period=pb.AveragingPeriod.ValueType(limit.averaging_period),
        concentration=limit.concentration,
    ).SerializeToString()
    return joined(
        chosen([same], np.zeros(number, dtype=np.int64)),
        field(of, "count", found.above),
        field(of, "known_count", found.known),
    )


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
