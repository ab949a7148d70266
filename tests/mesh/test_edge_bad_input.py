"""Bad input meets the right status, with the field named and the reason given, and leaves nothing behind."""

import datetime as dt
from typing import Any

import httpx
import pytest

from tests.gateway.error_form import error_of, violated_fields

CELL = "8928308280fffff"
MEGABYTE = 1024 * 1024

BOW_TIE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
OVER_THE_ANTIMERIDIAN = {"type": "Polygon", "coordinates": [[[179, -1], [-179, -1], [-179, 1], [179, 1], [179, -1]]]}
OVER_THE_POLE = {"type": "Polygon", "coordinates": [[[0, 85], [90, 85], [180, 85], [-90, 85], [0, 85]]]}


@pytest.mark.parametrize(
    ("path", "parameters", "field"),
    [
        ("/v1/cells:encode", {"lat": 91, "lng": 0}, "lat"),
        ("/v1/cells:encode", {"lat": 0, "lng": "NaN"}, "lng"),
        ("/v1/cells:encode", {"lat": 0, "lng": "Infinity"}, "lng"),
        ("/v1/cells:encode", {"lat": 0}, "lng"),
        ("/v1/cells:encode", {"lat": 0, "lng": 0, "resolution": 16}, "resolution[0]"),
        ("/v1/cells:encode", {"lat": 0, "lng": 0, "depth": 3}, "depth"),
        (f"/v1/cells/{CELL}:disk", {"k": 100_000}, "k"),
        ("/v1/cells/8928308280fffffff", {}, "cell"),
        ("/v1/cells/zzz", {}, "cell"),
        ("/v1/reverse", {"lat": -91, "lng": 0}, "lat"),
        ("/v1/places:search", {"q": ""}, "q"),
        ("/v1/entities:nearby", {"lat": 0, "lng": 181}, "lng"),
        ("/v1/airquality/current", {"lat": 37, "lng": -122, "at": "yesterday"}, "at"),
    ],
)
async def test_names_the_field(client: httpx.AsyncClient, path: str, parameters: dict[str, Any], field: str) -> None:
    response = await client.get(path, params=parameters)
    assert field in violated_fields(error_of(response, 400, "INVALID_FIELD"))


async def test_text_that_is_not_utf8_is_the_callers_mistake(client: httpx.AsyncClient) -> None:
    error_of(await client.get("/v1/geocode?q=%ff%fe"), 400, "MALFORMED_REQUEST")


async def test_refuses_a_polygon_that_crosses_itself(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/cells:cover", json={"area": BOW_TIE, "resolution": 5})
    details = error_of(response, 400, "INVALID_GEOMETRY")
    assert violated_fields(details)[0].startswith("area")


@pytest.mark.parametrize("area", [OVER_THE_ANTIMERIDIAN, OVER_THE_POLE])
async def test_covers_what_lies_over_the_antimeridian_or_a_pole(
    client: httpx.AsyncClient, area: dict[str, Any]
) -> None:
    response = await client.post("/v1/cells:cover", json={"area": area, "resolution": 3})
    assert response.status_code == 200, response.text
    assert 1 <= response.json()["cellCount"] <= 1000


async def test_refuses_more_cells_than_anyone_can_use(client: httpx.AsyncClient) -> None:
    continent = {"type": "Polygon", "coordinates": [[[-10, 35], [40, 35], [40, 70], [-10, 70], [-10, 35]]]}
    response = await client.post("/v1/cells:cover", json={"area": continent, "resolution": 15})
    error_of(response, 400, "RESULT_TOO_LARGE")


async def test_refuses_a_page_token_of_another_query(client: httpx.AsyncClient) -> None:
    first = await client.get("/v1/stations", params={"page_size": 2})
    token = first.json()["nextPageToken"]
    assert token
    response = await client.get("/v1/stations", params={"page_size": 2, "provider": "another", "page_token": token})
    error_of(response, 400, "INVALID_PAGE_TOKEN")


async def test_refuses_an_end_before_its_start(client: httpx.AsyncClient) -> None:
    times = {"start_time": "2020-08-21T00:00:00Z", "end_time": "2020-08-20T00:00:00Z"}
    stations = (await client.get("/v1/stations", params={"page_size": 1})).json()["stations"]
    parameters = times | {"station_id": stations[0]["stationId"]}
    details = error_of(await client.get("/v1/airquality/history", params=parameters), 400, "INVALID_FIELD")
    assert violated_fields(details)[0] in {"end_time", "start_time"}


def reading(**changes: Any) -> dict[str, Any]:
    hour = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
    return {
        "stationId": "edge-test",
        "pollutant": "POLLUTANT_PM25",
        "value": 12.5,
        "unit": "UNIT_MICROGRAMS_PER_CUBIC_METER",
        "time": (hour - dt.timedelta(hours=2)).isoformat(),
        **changes,
    }


async def with_station(user: httpx.AsyncClient) -> None:
    station = {"stationId": "edge-test", "provider": "edge", "location": {"lat": 1.0, "lng": 2.0}}
    response = await user.post("/v1/stations:batch", json={"stations": [station]})
    assert response.json()["errors"] == [], response.text


async def test_reports_bad_readings_by_index_and_keeps_the_good(user: httpx.AsyncClient) -> None:
    await with_station(user)
    tomorrow = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
    readings = [reading(), reading(unit="UNIT_PARTS_PER_BILLION"), reading(time=tomorrow), reading(value="NaN")]
    response = await user.post("/v1/readings:batch", json={"readings": readings})
    assert response.status_code == 200, response.text
    reply = response.json()
    assert reply["acceptedCount"] == "1"
    reasons = {
        error["index"]: detail["reason"]
        for error in reply["errors"]
        for detail in error["status"]["details"]
        if detail["@type"].endswith("ErrorInfo")
    }
    assert reasons == {"1": "UNIT_MISMATCH", "2": "TIME_IN_FUTURE", "3": "INVALID_FIELD"}
    stored = await user.get("/v1/readings", params={"station_id": "edge-test", "page_size": 10})
    assert [each["value"] for each in stored.json()["readings"]] == [12.5]


@pytest.mark.parametrize(
    ("body", "reason"),
    [("{", "MALFORMED_REQUEST"), ('{"entities": "all"}', "INVALID_FIELD"), ('{"entities": []}', "INVALID_FIELD")],
)
async def test_refuses_a_body_that_says_nothing(user: httpx.AsyncClient, body: str, reason: str) -> None:
    error_of(await user.post("/v1/entities:batch", content=body), 400, reason)


async def test_refuses_a_body_above_ten_megabytes_and_stores_nothing_of_it(user: httpx.AsyncClient) -> None:
    entity = {"entityId": "huge", "location": {"lat": 1, "lng": 2}, "attributes": {"text": "a" * 10 * MEGABYTE}}
    error_of(await user.post("/v1/entities:batch", json={"entities": [entity]}), 413, "REQUEST_TOO_LARGE")
    error_of(await user.get("/v1/entities/huge"), 404, "ENTITY_NOT_FOUND")


async def test_does_not_know_an_unknown_route(client: httpx.AsyncClient) -> None:
    error_of(await client.get("/v1/weather"), 404, "ROUTE_NOT_FOUND")
