"""Indices and histories, asked of the real service."""

from typing import Any

import grpc
import pytest

from geomesh.airquality.v1 import airquality_pb2 as pb
from tests.airquality.conftest import (
    O3,
    PM25,
    Caller,
    reading,
    stamp,
    station,
)
from tests.refusals import refused_saying as refused
from tests.refusals import told

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def concentration(pollutant: int, value: float, **more: Any) -> pb.Concentration:
    """Returns a concentration to compute an index of."""
    return pb.Concentration(pollutant=pb.Pollutant.ValueType(pollutant), value=value, **more)


async def test_indices_are_computed_in_order_and_errors_stand_in_their_place(anyone: Caller) -> None:
    hour, day = pb.AVERAGING_PERIOD_HOUR, pb.AVERAGING_PERIOD_24_HOURS
    reply = await anyone.call(
        "ComputeIndex",
        pb.ComputeIndexRequest(
            items=[
                pb.IndexItem(concentrations=[concentration(PM25, 12.0)], time=stamp(0)),
                pb.IndexItem(concentrations=[concentration(PM25, 12.0, unit=pb.UNIT_PARTS_PER_BILLION)]),
                pb.IndexItem(),
                pb.IndexItem(concentrations=[concentration(PM25, 12.0)]),
                pb.IndexItem(concentrations=[concentration(O3, 9.0, averaging_period=hour)]),
                pb.IndexItem(concentrations=[concentration(PM25, 1.0)] * 2),
                pb.IndexItem(
                    concentrations=[concentration(PM25, 1.0), concentration(PM25, 99.0, averaging_period=day)]
                ),
                pb.IndexItem(concentrations=[concentration(PM25, 1.0, averaging_period=hour)]),
                pb.IndexItem(concentrations=[concentration(PM25, 1e6)]),
                pb.IndexItem(concentrations=[concentration(PM25, 1.0)], time=stamp(-24 * 365 * 11)),
            ]
        ),
    )
    computed = [
        (each.index.index_version, each.index.value) if each.HasField("index") else told(each.error)
        for each in reply.results
    ]
    assert computed == [
        ("2015", 50),
        ("UNIT_MISMATCH", ["concentrations[0].unit"]),
        ("INVALID_FIELD", ["concentrations"]),
        ("2024", 56),
        ("INVALID_FIELD", ["concentrations"]),
        ("INVALID_FIELD", ["concentrations[1]"]),
        ("INVALID_FIELD", ["concentrations[1]"]),
        ("INVALID_FIELD", ["concentrations[0].averaging_period"]),
        ("INVALID_FIELD", ["concentrations[0].value"]),
        ("INVALID_FIELD", ["time"]),
    ]


async def test_an_index_can_be_asked_for_under_a_table_of_another_time(anyone: Caller) -> None:
    request = pb.ComputeIndexRequest(
        index_version="2015", items=[pb.IndexItem(concentrations=[concentration(PM25, 12.0)])]
    )
    reply = await anyone.call("ComputeIndex", request)
    assert reply.results[0].index.value == 50


async def test_the_list_of_indices_has_every_table_with_its_source(anyone: Caller) -> None:
    reply = await anyone.call("ListIndices", pb.ListIndicesRequest())
    (epa,) = (each for each in reply.indices if each.index == "us_epa")
    assert [version.index_version for version in epa.versions] == ["2024", "2015", "2013", "2010"]
    for version in epa.versions:
        assert version.source
        assert version.categories[0].name == "Good"
        assert len(version.tables) == 8


async def test_a_day_has_its_mean_its_coverage_and_its_index(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, 10.0 + hour) for hour in range(20)])
    history = await acme.history(0, 24, station_id="here", granularity=pb.GRANULARITY_DAILY)
    (day,) = history.intervals
    (pollutant,) = day.pollutants
    assert (pollutant.mean, pollutant.minimum, pollutant.maximum) == (19.5, 10.0, 29.0)
    assert pollutant.hour_count == 20
    assert pollutant.coverage == pytest.approx(20 / 24)
    assert (pollutant.basis, pollutant.sub_index) == (pb.BASIS_AVERAGE_COMPUTED, 67)
    assert (day.index_value, day.dominant_pollutant, day.index_version) == (67, PM25, "2015")
    assert history.sources[0].station.station_id == "here"


async def test_too_few_hours_of_a_day_are_marked_incomplete(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour) for hour in range(17)])
    history = await acme.history(0, 24, station_id="here", granularity=pb.GRANULARITY_DAILY)
    assert history.intervals[0].pollutants[0].basis == pb.BASIS_AVERAGE_INCOMPLETE


async def test_the_hours_of_a_day_are_those_of_its_time_zone(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, float(hour)) for hour in range(24)])
    history = await acme.history(
        0, 24, station_id="here", granularity=pb.GRANULARITY_DAILY, time_zone="America/Los_Angeles"
    )
    assert [each.start_time.ToDatetime().hour for each in history.intervals] == [7, 7]
    assert [each.pollutants[0].hour_count for each in history.intervals] == [7, 17]


async def test_an_hour_of_a_history_has_the_nowcast_of_that_hour(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(
        *[reading(hour, 10.0) for hour in range(6)], reading(5, 35.5, averaging_period=pb.AVERAGING_PERIOD_NOWCAST)
    )
    history = await acme.history(3, 7, station_id="here")
    told = [
        (each.pollutants[0].index_concentration, each.pollutants[0].basis, each.index_value)
        for each in history.intervals
    ]
    assert told == [
        (10.0, pb.BASIS_NOWCAST_COMPUTED, 42),
        (10.0, pb.BASIS_NOWCAST_COMPUTED, 42),
        (35.5, pb.BASIS_NOWCAST_REPORTED, 101),
        (10.0, pb.BASIS_NOWCAST_COMPUTED, 42),
    ]


async def test_ozone_of_a_day_is_its_highest_eight_hours(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, 80.0 if 8 <= hour < 16 else 20.0, pollutant=O3) for hour in range(32)])
    history = await acme.history(0, 24, station_id="here", granularity=pb.GRANULARITY_DAILY)
    (pollutant,) = history.intervals[0].pollutants
    assert (pollutant.index_concentration, pollutant.basis) == (80.0, pb.BASIS_AVERAGE_COMPUTED)
    assert pollutant.sub_index == 133


async def test_by_place_the_nearest_station_speaks_for_each_pollutant(acme: Caller) -> None:
    await acme.register(station("near", lat=40.1), station("far", lat=40.2))
    await acme.ingest(
        reading(0, 1.0, "near"), reading(0, 2.0, "far"), reading(0, 3.0, "far", O3), reading(-99, 4.0, "near", O3)
    )
    history = await acme.history(0, 1, lat=40.0, lng=-100.0)
    assert {each.pollutant: each.station.station_id for each in history.sources} == {PM25: "near", O3: "far"}


NONSENSE_HISTORIES: list[tuple[dict[str, Any], grpc.StatusCode, str, list[str]]] = [
    ({"start": 2, "end": 1}, INVALID, "INVALID_FIELD", ["end_time"]),
    ({"start": 0, "end": 24 * 367}, INVALID, "INVALID_FIELD", ["end_time"]),
    ({"start": -24 * 365 * 11, "end": -24 * 365 * 11 + 1}, INVALID, "INVALID_FIELD", ["start_time"]),
    ({"time_zone": "Mars/Olympus", "granularity": 2}, INVALID, "INVALID_FIELD", ["time_zone"]),
    ({"time_zone": "../etc/passwd", "granularity": 2}, INVALID, "INVALID_FIELD", ["time_zone"]),
    ({"granularity": 9}, INVALID, "INVALID_FIELD", ["granularity"]),
    ({"station_id": "nowhere"}, grpc.StatusCode.NOT_FOUND, "STATION_NOT_FOUND", []),
    ({}, grpc.StatusCode.NOT_FOUND, "NO_DATA_NEARBY", []),
]


async def test_refuses_a_history_that_makes_no_sense(acme: Caller) -> None:
    await acme.register(station())
    for fields, code, reason, field in NONSENSE_HISTORIES:
        asked: dict[str, Any] = {"start": 0.0, "end": 1.0, "station_id": "here"} | fields
        assert (await refused(acme.history(**asked)))[:3] == (code, reason, field), fields


async def test_names_the_start_of_a_history_that_lies_in_the_future(acme: Caller) -> None:
    await acme.register(station())
    request = pb.GetHistoryRequest(station_id="here", start_time=stamp(24 * 365 * 90))
    assert (await refused(acme.call("GetHistory", request)))[:3] == (INVALID, "INVALID_FIELD", ["start_time"])
