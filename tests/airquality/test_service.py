from typing import Any

import grpc
import pytest

from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.postgres import Postgres
from tests.airquality.conftest import (
    CO,
    HOUR,
    NO2,
    NOWCAST,
    O3,
    PM25,
    As,
    Caller,
    Geocoder,
    at,
    reading,
    stamp,
    station,
)
from tests.refusals import refused_saying as refused
from tests.refusals import told

INVALID = grpc.StatusCode.INVALID_ARGUMENT
DEGREE_METERS = 111_000


def only(found: pb.CurrentConditions, pollutant: int = PM25) -> pb.PollutantCondition:
    """Returns what is said of one pollutant."""
    (condition,) = (each for each in found.pollutants if each.pollutant == pollutant)
    return condition


def concentration(pollutant: int, value: float, **more: Any) -> pb.Concentration:
    """Returns a concentration to compute an index of."""
    return pb.Concentration(pollutant=pb.Pollutant.ValueType(pollutant), value=value, **more)


# The air at a place


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


# Stations


async def test_a_tenant_sees_its_own_stations_and_the_public_ones(as_tenant: As) -> None:
    for tenant in ("acme", "other", "public"):
        await as_tenant(tenant).register(station(f"{tenant}-1"))
    assert [each.station_id for each in (await as_tenant("acme").stations()).stations] == ["acme-1", "public-1"]
    assert [each.station_id for each in (await as_tenant(None).stations()).stations] == ["public-1"]
    code, reason, *_ = await refused(as_tenant("acme").call("GetStation", pb.GetStationRequest(station_id="other-1")))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "STATION_NOT_FOUND")


async def test_a_private_station_says_nothing_to_strangers(as_tenant: As) -> None:
    await as_tenant("acme").register(station())
    await as_tenant("acme").ingest(reading(0, 10.0, pollutant=NO2))
    assert only(await as_tenant("acme").current(), NO2).concentration == 10.0
    *_, message = await refused(as_tenant("other").current())
    assert message == "no station is registered at all"


async def test_row_level_security_alone_hides_the_stations_of_others(as_tenant: As, database: Postgres) -> None:
    await as_tenant("acme").register(station())
    count = "SELECT count(*) FROM airquality.stations"
    assert await database.fetchval(count, tenant="acme") == 1
    assert await database.fetchval(count, tenant="other") == 0


async def test_a_station_shows_its_newest_values(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(
        reading(0, 1.0),
        reading(5, 2.0),
        reading(3, 9.0),
        reading(4, 3.0, pollutant=O3),
        reading(5, 2.5, averaging_period=pb.AVERAGING_PERIOD_NOWCAST),
    )
    found = await acme.call("GetStation", pb.GetStationRequest(station_id="here"))
    told = [(each.pollutant, each.averaging_period, each.value, each.time.seconds) for each in found.latest]
    assert told == [
        (PM25, HOUR, 2.0, int(at(5).timestamp())),
        (PM25, NOWCAST, 2.5, int(at(5).timestamp())),
        (O3, HOUR, 3.0, int(at(4).timestamp())),
    ]


async def test_stations_are_found_by_box_circle_provider_and_pollutant(acme: Caller) -> None:
    await acme.register(
        station("a", lat=10.0, lng=179.0),
        station("b", lat=10.0, lng=-179.0, provider="others"),
        station("c", lat=50.0, lng=0.0),
    )
    await acme.ingest(reading(0, station_id="c", pollutant=O3))

    async def names(**fields: Any) -> list[str]:
        return [each.station_id for each in (await acme.stations(**fields)).stations]

    over_the_date_line = {"south": 0, "west": 178, "north": 20, "east": -178}
    assert await names(bbox=over_the_date_line) == ["a", "b"]
    assert await names(bbox={"south": 0, "west": -10, "north": 60, "east": 10}) == ["c"]
    assert await names(provider="others") == ["b"]
    assert await names(pollutant=O3) == ["c"]
    assert await names(lat=10.0, lng=-179.9, radius_meters=3 * DEGREE_METERS) == ["b", "a"]
    assert await names(lat=10.0, lng=-179.9, radius_meters=3 * DEGREE_METERS, provider="tests") == ["a"]
    assert await names(lat=90.0, lng=0.0, radius_meters=1000) == []


@pytest.mark.parametrize("around", [{}, {"lat": 40.0, "lng": -100.0}], ids=["in order", "by distance"])
async def test_pages_of_stations_have_each_once(acme: Caller, around: dict[str, float]) -> None:
    await acme.register(*[station(f"s{number}", lat=40.0 + number % 3 / 100) for number in range(7)])
    found: list[str] = []
    token = ""
    while True:
        page = await acme.stations(page_size=3, page_token=token, **around)
        found += [each.station_id for each in page.stations]
        token = page.next_page_token
        if not token:
            break
    assert sorted(found) == [f"s{number}" for number in range(7)]


NONSENSE_STATIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"page_size": -1}, "INVALID_FIELD", "page_size"),
    ({"lat": 1.0}, "INVALID_FIELD", "lng"),
    ({"radius_meters": 5.0}, "INVALID_FIELD", "radius_meters"),
    ({"pollutant": 99}, "INVALID_FIELD", "pollutant"),
    ({"bbox": {"south": 5, "west": 1, "north": 1, "east": 2}}, "INVALID_FIELD", "bbox.south"),
    ({"bbox": {"south": 5, "west": 1, "north": 6}}, "INVALID_FIELD", "bbox.east"),
    ({"provider": "a\0b"}, "INVALID_FIELD", "provider"),
    ({"page_token": "bm9uc2Vuc2U"}, "INVALID_PAGE_TOKEN", "page_token"),
]


async def test_refuses_a_list_of_stations_that_makes_no_sense(anyone: Caller) -> None:
    for fields, reason, field in NONSENSE_STATIONS:
        assert (await refused(anyone.stations(**fields)))[:3] == (INVALID, reason, [field]), fields


async def test_refuses_a_station_whose_id_no_station_can_have(anyone: Caller) -> None:
    for method, request in [
        ("GetStation", pb.GetStationRequest(station_id="a\0b")),
        ("ListReadings", pb.ListReadingsRequest(station_id="a\0b")),
        ("GetHistory", pb.GetHistoryRequest(station_id="a\0b", start_time=stamp(0))),
    ]:
        assert (await refused(anyone.call(method, request)))[:3] == (INVALID, "INVALID_FIELD", ["station_id"]), method


async def test_refuses_the_page_token_of_another_query(acme: Caller) -> None:
    await acme.register(station("a"), station("b"))
    token = (await acme.stations(page_size=1)).next_page_token
    code, reason, fields, _ = await refused(acme.stations(page_size=1, page_token=token, provider="tests"))
    assert (code, reason, fields) == (INVALID, "INVALID_PAGE_TOKEN", ["page_token"])


# Readings


async def test_readings_come_newest_first_and_page_by_page(acme: Caller) -> None:
    await acme.register(station("a"), station("b", lat=40.01))
    sent = [
        reading(hour, float(hour), name, pollutant)
        for hour in range(5)
        for name in ("a", "b")
        for pollutant in (PM25, O3)
    ]
    await acme.ingest(*sent)
    found: list[pb.Reading] = []
    token = ""
    while True:
        page = await acme.readings(lat=40.0, lng=-100.0, page_size=3, page_token=token)
        found += page.readings
        token = page.next_page_token
        if not token:
            break
    assert len(found) == 20
    assert len({each.SerializeToString() for each in found}) == 20
    times = [each.time.seconds for each in found]
    assert times == sorted(times, reverse=True)


async def test_readings_are_filtered_by_pollutant_period_and_time(acme: Caller) -> None:
    await acme.register(station())
    await acme.ingest(
        *[reading(hour, float(hour)) for hour in range(5)],
        reading(2, 9.0, pollutant=O3),
        reading(2, 8.0, averaging_period=pb.AVERAGING_PERIOD_NOWCAST),
    )
    within = await acme.readings(
        station_id="here", pollutant=PM25, averaging_period=HOUR, start_time=stamp(1), end_time=stamp(3)
    )
    assert [each.value for each in within.readings] == [2.0, 1.0]


NONSENSE_READINGS: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
    ({"station_id": "nowhere"}, grpc.StatusCode.NOT_FOUND, "STATION_NOT_FOUND"),
    ({"lat": 0.0, "lng": 0.0}, grpc.StatusCode.NOT_FOUND, "NO_DATA_NEARBY"),
    ({}, INVALID, "INVALID_FIELD"),
    ({"station_id": "a", "lat": 0.0, "lng": 0.0}, INVALID, "INVALID_FIELD"),
    ({"station_id": "a", "start_time": stamp(1), "end_time": stamp(1)}, INVALID, "INVALID_FIELD"),
]


async def test_refuses_a_list_of_readings_that_makes_no_sense(anyone: Caller) -> None:
    for fields, code, reason in NONSENSE_READINGS:
        assert (await refused(anyone.readings(**fields)))[:2] == (code, reason), fields


# Indices


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


# History


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
