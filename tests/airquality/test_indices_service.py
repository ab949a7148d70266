"""The indices through the service: conditions, history, ComputeIndex and ListIndices under each of them."""

from typing import Any

import grpc
import pytest

from geomesh.airquality.v1 import airquality_pb2 as pb
from tests.airquality.conftest import (
    CO,
    DAY,
    EIGHT_HOURS,
    HOUR,
    NO2,
    NOWCAST,
    O3,
    PM10,
    PM25,
    SO2,
    Caller,
    reading,
    station,
)
from tests.refusals import refused_saying as refused

UG = pb.UNIT_MICROGRAMS_PER_CUBIC_METER
NH3 = pb.POLLUTANT_NH3


async def measured(caller: Caller, hours: int = 24, **values: float) -> None:
    """Registers a station and stores steady hours of pollutants, in µg/m³."""
    await caller.register(station())
    for name, value in values.items():
        pollutant = pb.Pollutant.Value(f"POLLUTANT_{name}")
        await caller.ingest(*[reading(hour, value, pollutant=pollutant, unit=UG) for hour in range(hours)])


async def test_europe_is_told_of_hours_and_running_days_in_micrograms(acme: Caller) -> None:
    await measured(acme, PM25=21.0, O3=100.0, NO2=40.0)
    found = await acme.current(hours=23.5, index="eu_eaqi")
    assert (found.index.index_version, found.index.value, found.index.dominant_pollutant) == ("2020", 3, PM25)
    concentrations = {each.pollutant: (each.concentration, each.averaging_period) for each in found.index.sub_indices}
    # What was reported in µg/m³ is what the index takes, whatever it was in ppb between them.
    assert concentrations == {PM25: (21.0, DAY), O3: (100.0, HOUR), NO2: (40.0, HOUR)}


async def test_a_later_version_can_be_asked_for(acme: Caller) -> None:
    await measured(acme, hours=1, PM25=91.0, NO2=5.0)
    found = await acme.current(index="eu_eaqi", index_version="2024")
    assert (found.index.value, found.index.category.name, found.index.category.color) == (5, "Very poor", "#960032")
    assert found.index.health_advice.children
    assert found.index.health_advice.outdoor_work


async def test_the_united_kingdom_needs_a_day_of_particles_for_more_than_a_hint(acme: Caller) -> None:
    await measured(acme, hours=18, PM25=36.0)
    found = await acme.current(hours=17.5, index="uk_daqi")
    assert (found.index.value, found.pollutants[0].basis) == (4, pb.BASIS_AVERAGE_COMPUTED)


async def test_canada_is_told_of_three_hours(acme: Caller) -> None:
    await measured(acme, hours=3, PM25=10.0, O3=58.857, NO2=37.61)
    found = await acme.current(hours=2.5, index="ca_aqhi")
    assert (found.index.value, found.index.dominant_pollutant) == (4, NO2)
    assert {each.averaging_period for each in found.index.sub_indices} == {pb.AVERAGING_PERIOD_3_HOURS}


async def test_india_is_told_where_three_pollutants_have_16_hours(acme: Caller) -> None:
    await measured(acme, hours=16, PM25=75.0, NO2=30.0, SO2=20.0)
    found = await acme.current(hours=15.5, index="in_naqi")
    assert (found.index.value, found.index.dominant_pollutant) == (150, PM25)


@pytest.mark.parametrize(
    ("index", "hours", "told"),
    [
        (
            "in_naqi",
            15,
            "in_naqi needs at least 3 pollutants, one of them PM2.5 or PM10; the stations here have nothing",
        ),
        ("in_naqi", 24, "the stations here have PM2.5, NO2 for it"),
        ("ca_aqhi", 3, "ca_aqhi needs PM2.5, O3 and NO2; the stations here have PM2.5, NO2 for it"),
        ("kr_cai", 24, "kr_cai needs PM2.5, PM10, O3 and NO2"),
    ],
)
async def test_an_index_that_is_asked_for_and_cannot_be_says_what_it_lacks(
    acme: Caller, index: str, hours: int, told: str
) -> None:
    await measured(acme, hours=hours, PM25=20.0, NO2=30.0)
    code, reason, _, message = await refused(acme.current(hours=hours - 0.5, index=index))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "NO_DATA_NEARBY")
    assert told in message


async def test_a_reported_nowcast_hides_no_hours_from_an_index_without_one(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(
        *[reading(hour, 30.0) for hour in range(24)], reading(23, 99.0, averaging_period=pb.AVERAGING_PERIOD_NOWCAST)
    )
    found = await acme.current(hours=23.5, index="uk_daqi")
    assert (found.pollutants[0].concentration, found.index.value) == (30.0, 3)
    assert (await acme.current(hours=23.5)).pollutants[0].concentration == 99.0


async def test_a_day_of_sulfur_dioxide_counts_beside_its_hour(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, 400.0, pollutant=SO2) for hour in range(24)])
    found = await acme.current(hours=23.5)
    assert (found.index.value, found.index.sub_indices[0].averaging_period) == (232, DAY)


async def test_two_weeks_of_ozone_give_its_nowcast(acme: Caller) -> None:
    await acme.register(station())
    values = [30 + 10 * ((hour % 24) > 12) for hour in range(24 * 14)]
    await acme.ingest(*[reading(hour, float(value), pollutant=O3) for hour, value in enumerate(values)])
    (condition,) = (await acme.current(hours=24 * 14 - 0.5)).pollutants
    # The last hour is the eleventh of twelve at 40 ppb: of the eight around it seven days say that three will be 30.
    assert (condition.basis, condition.concentration) == (pb.BASIS_NOWCAST_COMPUTED, 36.0)


async def test_the_history_is_told_under_any_index(acme: Caller) -> None:
    await measured(acme, PM25=21.0, NO2=130.0)
    day = await acme.history(0, 24, station_id="here", index="eu_eaqi", granularity=pb.GRANULARITY_DAILY)
    assert [(each.index_value, each.dominant_pollutant) for each in day.intervals] == [(4, NO2)]
    hours = await acme.history(0, 24, station_id="here", index="eu_eaqi")
    assert [each.index_value for each in hours.intervals] == [4] * 24
    assert [each.pollutants[0].sub_index for each in hours.intervals[16:18]] == [
        0,
        3,
    ]  # a day of particles from 18 hours on


async def test_a_history_by_a_formula_is_told_by_the_hour_alone(acme: Caller) -> None:
    await measured(acme, PM25=10.0, O3=58.857, NO2=37.61)
    hours = await acme.history(0, 24, station_id="here", index="ca_aqhi")
    assert [each.index_value for each in hours.intervals] == [0, *[4] * 23]
    code, _, fields, _ = await refused(
        acme.history(0, 24, station_id="here", index="ca_aqhi", granularity=pb.GRANULARITY_DAILY)
    )
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["granularity"])


ITEMS: list[tuple[str, dict[int, float], int, int]] = [
    ("us_epa", {PM25: 35.5}, 101, PM25),
    ("eu_eaqi", {PM25: 51.0, O3: 60.0}, 4, PM25),
    ("uk_daqi", {PM10: 50.6}, 4, PM10),
    ("in_naqi", {PM10: 250.0, NO2: 20.0, NH3: 100.0}, 200, PM10),
    ("cn_aqi", {PM25: 30.0}, 43, 0),
    ("ca_aqhi", {PM25: 10.0, O3: 58.857, NO2: 37.61}, 4, NO2),
    ("au_nsw_aqc", {PM25: 25.0}, 2, PM25),
    ("kr_cai", {PM25: 36.0, PM10: 81.0, O3: 60.0, NO2: 20.0}, 151, PM25),
    ("sg_psi", {PM25: 55.0, CO: 1000.0}, 100, PM25),
    ("th_aqi", {PM25: 37.6}, 101, PM25),
]


@pytest.mark.parametrize(("index", "values", "expected", "dominant"), ITEMS, ids=[item[0] for item in ITEMS])
async def test_every_index_is_computed_of_concentrations(
    anyone: Caller, index: str, values: dict[int, float], expected: int, dominant: int
) -> None:
    concentrations = [
        pb.Concentration(pollutant=pb.Pollutant.ValueType(each), value=value, unit=UG) for each, value in values.items()
    ]
    request = pb.ComputeIndexRequest(index=index, items=[pb.IndexItem(concentrations=concentrations)])
    (result,) = (await anyone.call("ComputeIndex", request)).results
    assert (result.index.value, result.index.dominant_pollutant) == (expected, dominant)
    assert result.index.index == index
    assert result.index.category.color.startswith("#")
    assert all(getattr(result.index.health_advice, each) for each in ("general", "children", "heart", "outdoor_work"))
    assert result.index.provisional is (index in {"cn_aqi", "th_aqi"})


async def test_concentrations_that_make_no_index_are_told_what_it_needs(anyone: Caller) -> None:
    def item(*codes: int, **more: Any) -> pb.IndexItem:
        return pb.IndexItem(
            concentrations=[
                pb.Concentration(pollutant=pb.Pollutant.ValueType(each), value=9.0, **more) for each in codes
            ]
        )

    request = pb.ComputeIndexRequest(index="in_naqi", items=[item(PM25, NO2), item(pb.POLLUTANT_PM1)])
    lacking, unknown = (await anyone.call("ComputeIndex", request)).results
    assert "in_naqi needs at least 3 pollutants, one of them PM2.5 or PM10" in lacking.error.message
    assert "concentrations[0].pollutant: in_naqi has no table for PM1" in unknown.error.message
    request = pb.ComputeIndexRequest(index="uk_daqi", items=[item(SO2, averaging_period=HOUR)])
    (hourly,) = (await anyone.call("ComputeIndex", request)).results
    assert "has no table for SO2 over HOUR" in hourly.error.message


async def test_the_list_tells_all_that_an_index_is_made_of(anyone: Caller) -> None:
    reply = await anyone.call("ListIndices", pb.ListIndicesRequest())
    indices = {each.index: each for each in reply.indices}
    assert len(indices) == 10
    china, canada, korea = (indices[each].versions[0] for each in ("cn_aqi", "ca_aqhi", "kr_cai"))
    assert (china.index_version, china.provisional, china.dominant_above) == ("2026", True, 50)
    assert {each.index_rounding for each in china.tables} == {pb.ROUNDING_UP}
    assert [(each.pollutant, each.coefficient) for each in canada.formula.terms] == [
        (NO2, 0.000871),
        (O3, 0.000537),
        (PM25, 0.000487),
    ]
    assert (korea.several_pollutants.two, korea.several_pollutants.three) == (50, 75)
    assert list(korea.requirement.all_of) == [PM25, PM10, O3, NO2]
    (ozone,) = (each for each in indices["us_epa"].versions[0].rules if each.pollutant == O3)
    assert (list(ozone.current), list(ozone.also), list(ozone.daily)) == (
        [NOWCAST, EIGHT_HOURS],
        [HOUR],
        [EIGHT_HOURS, HOUR],
    )
    for index in reply.indices:
        for version in index.versions:
            assert len(version.advice) == len(version.categories) >= 4
            assert version.source
            assert version.temperature_celsius in {0.0, 19.85, 20.0, 25.0}
