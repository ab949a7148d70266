"""Stations and their readings, asked of the real service."""

from typing import Any

import grpc
import pytest

from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.postgres import Postgres
from tests.airquality.conftest import (
    HOUR,
    NO2,
    NOWCAST,
    O3,
    PM25,
    As,
    Caller,
    at,
    reading,
    stamp,
    station,
)
from tests.refusals import refused_saying as refused

INVALID = grpc.StatusCode.INVALID_ARGUMENT
DEGREE_METERS = 111_000


def only(found: pb.CurrentConditions, pollutant: int = PM25) -> pb.PollutantCondition:
    """Returns what is said of one pollutant."""
    (condition,) = (each for each in found.pollutants if each.pollutant == pollutant)
    return condition


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
