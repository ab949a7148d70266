"""The air at a place, asked of the real service."""

from typing import Any

import grpc
import pytest

from geomesh.airquality.v1 import airquality_pb2 as pb
from tests.airquality.conftest import (
    CO,
    HOUR,
    NO2,
    O3,
    PM25,
    Caller,
    Geocoder,
    reading,
    stamp,
    station,
)
from tests.refusals import refused_saying as refused

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def only(found: pb.CurrentConditions, pollutant: int = PM25) -> pb.PollutantCondition:
    """Returns what is said of one pollutant."""
    (condition,) = (each for each in found.pollutants if each.pollutant == pollutant)
    return condition


async def test_the_reported_nowcast_is_used_where_there_is_one(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(reading(0, 60.0), reading(0, 35.5, averaging_period=pb.AVERAGING_PERIOD_NOWCAST))
    found = await acme.current()
    condition = only(found)
    assert (condition.concentration, condition.basis) == (35.5, pb.BASIS_NOWCAST_REPORTED)
    assert condition.contributions[0].hourly_value == 60.0
    assert condition.age_seconds == 1800.0
    assert (found.index.value, found.index.category.name) == (101, "Unhealthy for Sensitive Groups")
    assert (found.index.index, found.index.index_version) == ("us_epa", "2015")
    assert found.index.dominant_pollutant == PM25
    assert found.index.category.color == "#ff7e00"
    assert "children" in found.index.health_advice.sensitive_groups_are


async def test_the_nowcast_is_computed_where_none_is_reported(acme: Caller) -> None:
    await acme.register(station())
    hours = [34.9, 43, 50, 64.9, 69.2, 66.2, 53.7, 48.6, 49.2, 35, None, 21]
    await acme.ingest(*[reading(hour, value) for hour, value in enumerate(hours) if value is not None])
    condition = only(await acme.current(hours=11.2))
    assert (condition.concentration, condition.basis) == (28.4, pb.BASIS_NOWCAST_COMPUTED)


async def test_readings_within_their_hours_count_as_those_hours(acme: Caller) -> None:
    await acme.register(station())
    # Eleven hours before the newest, then two of one hour, of which the last counts, all off the full hour.
    await acme.ingest(reading(0.9, 80.0), reading(10.9999, 10.0), reading(11.01, 99.0), reading(11.9999, 20.0))
    condition = only(await acme.current(hours=12.5))
    assert condition.basis == pb.BASIS_NOWCAST_COMPUTED
    assert condition.concentration == 16.6  # (20 + 10 / 2 + 80 / 2^11) / (1 + 1/2 + 1 / 2^11) = 16.68


async def test_the_first_of_the_hours_counts_until_the_last_is_too_old(acme: Caller) -> None:
    await acme.register(station())
    # The first at the beginning of its hour, the last towards the end of its own, which ended just not three hours ago.
    await acme.ingest(reading(0.01, 250.0), *(reading(hour, 10.0) for hour in range(1, 23)), reading(23.9, 10.0))
    found = await acme.current(hours=27.89, index="cn_aqi")
    assert only(found).concentration == pytest.approx(20.0)
    assert only(found).basis == pb.BASIS_AVERAGE_COMPUTED


async def test_a_reported_day_counts_until_it_is_too_old(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(reading(0, 20.0, averaging_period=pb.AVERAGING_PERIOD_24_HOURS))
    assert only(await acme.current(hours=26.99, index="cn_aqi")).concentration == 20.0
    code, reason, *_ = await refused(acme.current(hours=27.01, index="cn_aqi"))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "NO_DATA_NEARBY")


async def test_a_nowcast_older_than_the_newest_hour_is_computed_anew(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(
        reading(0, 99.0, averaging_period=pb.AVERAGING_PERIOD_NOWCAST), *[reading(hour, 10.0) for hour in range(3)]
    )
    condition = only(await acme.current(hours=2.5))
    assert (condition.concentration, condition.basis) == (10.0, pb.BASIS_NOWCAST_COMPUTED)


async def test_too_few_hours_give_an_incomplete_mean(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(reading(0, 10.0))
    condition = only(await acme.current())
    assert (condition.concentration, condition.basis) == (10.0, pb.BASIS_AVERAGE_INCOMPLETE)


async def test_carbon_monoxide_is_averaged_over_eight_hours(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(*[reading(hour, float(hour), pollutant=CO) for hour in range(10) if hour not in (3, 5)])
    condition = only(await acme.current(hours=9.5), CO)
    assert condition.basis == pb.BASIS_AVERAGE_COMPUTED
    assert condition.concentration == pytest.approx((2 + 4 + 6 + 7 + 8 + 9) / 6)
    assert condition.unit == pb.UNIT_PARTS_PER_MILLION


async def test_an_average_that_the_index_does_not_ask_for_hides_no_hours(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(
        *[reading(hour, float(hour), pollutant=CO) for hour in range(10)],
        reading(9, 5.0, pollutant=CO, averaging_period=pb.AVERAGING_PERIOD_24_HOURS),
        reading(9, 60.0, pollutant=O3),
        reading(9, 50.0, pollutant=O3, averaging_period=pb.AVERAGING_PERIOD_24_HOURS),
    )
    found = await acme.current(hours=9.5)
    assert (only(found, CO).basis, only(found, CO).concentration) == (pb.BASIS_AVERAGE_COMPUTED, 5.5)
    # 0.85 · 60 + 4.5: what the US EPA makes of an hour of ozone without two weeks before it.
    assert (only(found, O3).basis, only(found, O3).concentration) == (pb.BASIS_NOWCAST_COMPUTED, 55.0)


async def test_a_nowcast_of_what_has_none_leaves_the_hour_to_count(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(
        reading(0, 3.0, pollutant=CO), reading(0, 2.0, pollutant=CO, averaging_period=pb.AVERAGING_PERIOD_NOWCAST)
    )
    condition = only(await acme.current(), CO)
    assert (condition.basis, condition.concentration) == (pb.BASIS_AVERAGE_INCOMPLETE, 3.0)


async def test_an_hour_of_high_ozone_counts_beside_the_nowcast(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(
        reading(0, 60.0, pollutant=O3, averaging_period=pb.AVERAGING_PERIOD_NOWCAST), reading(0, 170.0, pollutant=O3)
    )
    found = await acme.current()
    assert found.index.value == 157
    assert found.index.sub_indices[0].averaging_period == HOUR
    assert only(found, O3).basis == pb.BASIS_NOWCAST_REPORTED


async def test_the_nearer_station_counts_more_and_the_interval_says_how_sure_it_is(acme: Caller) -> None:
    await acme.register(station("near", lat=40.1), station("far", lat=39.2))
    nowcast = {"averaging_period": pb.AVERAGING_PERIOD_NOWCAST}
    await acme.ingest(reading(0, 10.0, "near", **nowcast), reading(0, 60.0, "far", **nowcast))
    found = await acme.current()
    condition = only(found)
    near, far = condition.contributions
    assert near.station_id == "near"
    assert near.weight > far.weight > 0
    assert near.weight + far.weight == pytest.approx(1.0)
    assert near.time == stamp(0)
    # The logarithms of what exceeds -6 µg/m³ are what is averaged.
    assert condition.concentration == pytest.approx(16.0**near.weight * 66.0**far.weight - 6.0)
    assert condition.interval_low < condition.concentration < condition.interval_high
    width = condition.interval_high - condition.interval_low
    assert condition.standard_error == pytest.approx(width / 2 / 1.2816, rel=1e-3)
    assert [each.station_id for each in found.stations] == ["near", "far"]


async def test_at_a_station_its_own_value_is_the_answer(acme: Caller) -> None:
    await acme.register(station("here"), station("far", lat=40.01))
    nowcast = {"averaging_period": pb.AVERAGING_PERIOD_NOWCAST}
    await acme.ingest(reading(0, 10.0, "here", **nowcast), reading(0, 60.0, "far", **nowcast))
    condition = only(await acme.current())
    assert condition.concentration == pytest.approx(10.0)
    assert len(condition.contributions) == 1
    assert not condition.HasField("standard_deviation")


async def test_units_are_brought_together(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(reading(0, 0.1, pollutant=NO2, unit=pb.UNIT_PARTS_PER_MILLION))
    condition = only(await acme.current(), NO2)
    assert condition.concentration == pytest.approx(100.0)
    assert condition.unit == pb.UNIT_PARTS_PER_BILLION


async def test_stations_over_the_antimeridian_and_at_the_pole_are_near(acme: Caller) -> None:
    await acme.register(station("date-line", lat=0.0, lng=179.95), station("pole", lat=89.9, lng=10.0))
    await acme.ingest(reading(0, 5.0, "date-line", pollutant=NO2), reading(0, 6.0, "pole", pollutant=NO2))
    assert only(await acme.current(lat=0.0, lng=-179.95), NO2).concentration == 5.0
    assert only(await acme.current(lat=89.95, lng=-170.0), NO2).concentration == 6.0


async def test_a_2025_moment_has_the_new_table_unless_the_old_is_asked_for(acme: Caller) -> None:
    hours = 24 * 365 * 5
    await acme.register(station())
    await acme.ingest(reading(hours, 12.0, averaging_period=pb.AVERAGING_PERIOD_NOWCAST))
    new, old = await acme.current(hours=hours + 1), await acme.current(hours=hours + 1, index_version="2015")
    assert (new.index.index_version, new.index.value) == ("2024", 56)
    assert (old.index.index_version, old.index.value) == ("2015", 50)


async def test_the_same_question_is_answered_from_the_cache(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(reading(0, 10.0, pollutant=NO2))
    first = await acme.current()
    await acme.ingest(reading(0, 90.0, pollutant=NO2))
    assert await acme.current() == first
    assert only(await acme.current(lat=40.0001), NO2).concentration == 90.0


async def test_a_place_by_name_is_resolved_by_the_geocoder_with_the_callers_token(
    acme: Caller, geocoder: tuple[Geocoder, int]
) -> None:
    await acme.register(station())
    await acme.ingest(reading(0, 10.0, pollutant=NO2))
    request = pb.GetCurrentConditionsRequest(q="Somewhere", at=stamp(0.5))
    found = await acme.call("GetCurrentConditions", request)
    assert (found.place, found.location.lat) == ("Somewhere, Nebraska", 40.0)
    assert geocoder[0].asked == [("Somewhere", acme.metadata[0][1])]


async def test_a_place_that_nobody_knows_is_not_found(anyone: Caller) -> None:
    request = pb.GetCurrentConditionsRequest(q="Nowhere", at=stamp(0.5))
    code, reason, _, message = await refused(anyone.call("GetCurrentConditions", request))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "PLACE_NOT_FOUND")
    assert "Nowhere" in message


async def test_without_any_station_it_says_so(anyone: Caller) -> None:
    code, reason, _, message = await refused(anyone.current())
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "NO_DATA_NEARBY")
    assert message == "no station is registered at all"


async def test_too_far_from_any_station_it_names_the_nearest(acme: Caller) -> None:
    await acme.register(station(name="Here"))
    await acme.ingest(reading(0))
    code, reason, _, message = await refused(acme.current(lat=41.0))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "NO_DATA_NEARBY")
    assert message.startswith("no station is within 50 km: the nearest station is here (Here), 111.0 km away")


async def test_when_the_readings_are_too_old_it_says_when_they_were_new(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(reading(0), reading(1))
    *_, message = await refused(acme.current(hours=30))
    assert message.startswith("no station within 50 km has reported in the 3 hours before 2020-08-21T06:00:00Z")
    assert message.endswith("last reported at 2020-08-20T01:00:00Z; ask with at=2020-08-20T01:00:00Z for the air then")


async def test_before_the_first_reading_it_says_when_that_was(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(reading(0))
    *_, message = await refused(acme.current(hours=-5))
    assert "its first report is of 2020-08-20T00:00:00Z" in message


async def test_a_station_that_never_reported_is_named_as_such(acme: Caller) -> None:
    await acme.register(station())
    *_, message = await refused(acme.current())
    assert message.endswith("it has never reported")


NONSENSE_QUESTIONS: list[tuple[dict[str, Any], str]] = [
    ({"lat": 91.0, "lng": 0.0}, "lat"),
    ({"lat": 0.0, "lng": float("nan")}, "lng"),
    ({"lat": 0.0, "lng": 0.0, "index": "none"}, "index"),
    ({"lat": 0.0, "lng": 0.0, "index_version": "1999"}, "index_version"),
    ({"lat": 0.0, "lng": 0.0, "radius_meters": 0.0}, "radius_meters"),
    ({"lat": 0.0, "lng": 0.0, "at": stamp(24 * 365 * 90)}, "at"),
    ({"lat": 0.0, "lng": 0.0, "at": stamp(-24 * 365 * 11)}, "at"),
    ({"lat": 0.0}, "lng"),
    ({"q": "Somewhere", "lat": 0.0, "lng": 0.0}, "q"),
    ({}, "q"),
]


async def test_refuses_a_question_that_makes_no_sense(anyone: Caller) -> None:
    for fields, field in NONSENSE_QUESTIONS:
        code, reason, named, _ = await refused(
            anyone.call("GetCurrentConditions", pb.GetCurrentConditionsRequest(**fields))
        )
        assert (code, reason, named) == (INVALID, "INVALID_FIELD", [field]), fields
