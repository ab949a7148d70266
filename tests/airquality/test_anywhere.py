"""The present, from what is held in the process; tiles; and replies that are computed once and kept warm."""

import asyncio
import io
import math
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from PIL import Image
from prometheus_client import REGISTRY
from pydantic import SecretStr

from airquality.averages import Basis
from airquality.contributions import Contribution
from airquality.events import StoredReading
from airquality.hot import Replies, Warmth
from airquality.index import category_of
from airquality.settings import Settings
from airquality.standards import standard_of
from airquality.stations import Station
from airquality.surface import Surface
from airquality.tiles import Shown, Tile, areas, heat_map
from airquality.units import AveragingPeriod, Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.cache import Cache
from tests.airquality.conftest import NOWCAST, PM25, As, Caller, Events, reading, station
from tests.refusals import refused_saying as refused

EPA = standard_of("")
SHOWN = Shown(EPA, len(EPA.versions) - 1, 50_000.0)
CLEAR = (0, 0, 0, 0)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def fresh(value: float, minutes: float = 30.0, **more: Any) -> pb.Reading:
    """Returns a reported NowCast of some minutes ago."""
    message = reading(0, value, averaging_period=pb.AVERAGING_PERIOD_NOWCAST, **more)
    message.time.FromDatetime(now() - timedelta(minutes=minutes))
    return message


def told(value: float, minutes: float = 20.0, tenant: str = "public", **more: Any) -> StoredReading:
    """Returns the event of a reading that came in."""
    fields: dict[str, Any] = {
        "station_id": "here",
        "lat": 40.0,
        "lng": -100.0,
        "pollutant": PM25,
        "unit": "µg/m³",
    } | more
    return StoredReading(
        tenant=tenant, value=value, time=now() - timedelta(minutes=minutes), averaging_period=NOWCAST, **fields
    )


async def ask(caller: Caller, lat: float = 40.0, lng: float = -100.0) -> pb.CurrentConditions:
    """Asks for the air now, at a point so little apart each time that no reply was kept."""
    lng += next(COUNTER) * 1e-9
    found: pb.CurrentConditions = await caller.call(
        "GetCurrentConditions", pb.GetCurrentConditionsRequest(lat=lat, lng=lng)
    )
    return found


COUNTER = iter(range(1, 1_000_000))


async def until(caller: Caller, value: float) -> pb.CurrentConditions:
    """Asks until the answer is the value."""
    for _ in range(200):
        with suppress(grpc.aio.AioRpcError):  # as long as nothing is known
            found = await ask(caller)
            if found.pollutants[0].concentration == pytest.approx(value):
                return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"the answer never became {value}")


async def test_what_an_event_tells_is_the_air_now_without_the_store(operator: Caller, events: Events) -> None:
    events.tell(told(35.0))  # which is in no table
    found = await until(operator, 35.0)
    assert found.index.value > 0
    events.tell(told(80.0, minutes=10.0))
    await until(operator, 80.0)
    events.tell(told(5.0, minutes=40.0))  # late
    events.tell(told(90.0, minutes=10.0))  # a correction
    await until(operator, 90.0)


async def test_every_station_that_only_events_told_of_is_listed(operator: Caller, events: Events) -> None:
    events.tell(told(35.0, station_id="west", lng=-100.1), told(35.0, station_id="east", lng=-99.8))
    found = await until(operator, 35.0)
    assert [each.station_id for each in found.pollutants[0].contributions] == ["west", "east"]
    assert [each.station_id for each in found.stations] == ["west", "east"]
    assert found.stations[0].distance_meters == found.pollutants[0].contributions[0].distance_meters


async def test_the_present_is_read_from_the_store_before_any_event(operator: Caller) -> None:
    await operator.register(station())
    await operator.ingest(fresh(35.0))
    condition = (await ask(operator)).pollutants[0]
    assert condition.concentration == pytest.approx(35.0)
    assert condition.contributions[0].weight == 1.0
    assert 1700 < condition.age_seconds < 2000


async def test_a_tenants_own_stations_are_held_apart_from_the_public_ones(as_tenant: As, events: Events) -> None:
    acme, stranger = as_tenant("acme"), as_tenant("other")
    await as_tenant("public").register(station("public-one", lat=40.3))
    await as_tenant("public").ingest(fresh(10.0, station_id="public-one"))
    await acme.register(station("own"))
    await acme.ingest(fresh(70.0, station_id="own"))
    await until(acme, 70.0)
    events.tell(told(75.0, tenant="acme", station_id="own", minutes=5.0))
    await until(acme, 75.0)
    for other in (stranger, as_tenant("public"), as_tenant(None)):
        for _ in range(3):
            found = await ask(other)
            assert [each.station_id for each in found.stations] == ["public-one"]


async def test_when_all_stations_are_stale_it_says_so(operator: Caller, events: Events) -> None:
    await operator.register(station())
    await operator.ingest(fresh(35.0, minutes=300))
    events.tell(told(35.0, minutes=300))
    code, reason, _, message = await refused(ask(operator))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "NO_DATA_NEARBY")
    assert "last reported at" in message


async def test_values_that_are_no_numbers_say_nothing_and_negative_ones_clean_air(
    operator: Caller, events: Events
) -> None:
    events.tell(told(math.nan, station_id="broken"), told(math.inf, station_id="mad", lat=40.01))
    events.tell(told(-3.0, lat=40.05))
    found = await until(operator, 0.0)
    assert [each.station_id for each in found.stations] == ["here"]
    assert found.index.value == 0


async def test_identical_stations_at_one_place_are_answered(operator: Caller, events: Events) -> None:
    events.tell(*[told(20.0, station_id=f"s{number}", lat=40.1) for number in range(10)])
    found = await until(operator, 20.0)
    assert sum(each.weight for each in found.pollutants[0].contributions) == pytest.approx(1.0)


async def test_a_cold_stampede_of_a_thousand_causes_one_computation(operator: Caller, events: Events) -> None:
    events.tell(told(20.0))
    await until(operator, 20.0)
    request = pb.GetCurrentConditionsRequest(lat=40.001, lng=-100.0)
    before = computed("current")
    replies = await asyncio.gather(*(operator.call("GetCurrentConditions", request) for _ in range(1000)))
    assert computed("current") - before == 1
    assert all(each == replies[0] for each in replies)
    tile = pb.GetTileRequest(z=6, x=14, file="24.png")
    before = computed("png")
    await asyncio.gather(*(operator.call("GetTile", tile) for _ in range(1000)))
    assert computed("png") - before == 1


def computed(kind: str) -> float:
    return REGISTRY.get_sample_value("geomesh_airquality_replies_computed_total", {"kind": kind}) or 0.0


# Hot replies


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[Callable[[], Cache]]:
    """Makes caches of processes that share one Redis."""
    made: list[Cache] = []

    def make() -> Cache:
        made.append(Cache(Settings(redis_url=SecretStr(redis_url))))
        return made[-1]

    yield make
    for each in made:
        await each.close()


WARMTH = Warmth(most=1, least_score=3.0, half_life_seconds=60.0, every_seconds=0.05, lead_seconds=8.0)


async def test_a_hot_question_is_renewed_before_its_reply_expires_and_a_cold_one_is_not(
    cache: Callable[[], Cache],
) -> None:
    asked = {"hot": 0, "cold": 0}

    def compute(key: str) -> Callable[[], Any]:
        async def count() -> bytes:
            asked[key] += 1
            return str(asked[key]).encode()

        return count

    replies = Replies(cache(), WARMTH)
    for _ in range(5):
        assert await replies.get("test", "hot", compute("hot"), 10.0) == b"1"
    await replies.get("test", "cold", compute("cold"), 10.0)
    assert replies.hot() == ["hot"]
    assert await replies.renew() == 0  # 9 s at least are left
    longer = Replies(replies._cache, WARMTH._replace(lead_seconds=60.0))  # noqa: SLF001
    for _ in range(5):
        await longer.get("test", "hot", compute("hot"), 10.0)
    assert await longer.renew() == 1
    assert await longer.get("test", "hot", compute("hot"), 10.0) == b"2"
    assert asked == {"hot": 2, "cold": 1}


async def test_of_two_processes_one_renews_and_the_other_takes_what_it_left(cache: Callable[[], Cache]) -> None:
    count = 0

    async def compute() -> bytes:
        nonlocal count
        count += 1
        return str(count).encode()

    caches = [cache(), cache()]
    both = [Replies(each, WARMTH) for each in caches]
    for replies in both:
        for _ in range(5):
            assert await replies.get("test", "shared", compute, 10.0) == b"1"
            await asyncio.gather(*caches[0]._writes)  # noqa: SLF001 -- until Redis has it
    ended = await asyncio.gather(*(each.renew("shared", compute, 10.0, lead_seconds=9.99) for each in caches))
    assert sorted(ended) == [False, True]
    assert count == 2


# Tiles


def surface(*stations: tuple[float, float, float]) -> Surface:
    """Returns the PM2.5 that stations (latitude, longitude, value) report."""
    time = now()
    return Surface(
        Pollutant.PM25,
        [
            Contribution(
                Station(f"s{number}", "tests", "", "", lat, lng, number),
                AveragingPeriod.NOWCAST,
                value,
                Basis.NOWCAST_REPORTED,
                time,
                value,
                {},
            )
            for number, (lat, lng, value) in enumerate(stations)
        ],
    )


def painted(tile: Tile, *stations: tuple[float, float, float]) -> Image.Image:
    return Image.open(io.BytesIO(heat_map(tile, [surface(*stations)], SHOWN))).convert("RGBA")


def color(value: int) -> tuple[int, ...]:
    official = category_of(EPA, value).color
    return (*(int(official[at : at + 2], 16) for at in (1, 3, 5)), 255)


@pytest.mark.parametrize("zoom", [3, 5, 7, 9, 12])
def test_a_station_is_surrounded_by_its_official_colour_and_then_by_nothing(zoom: int) -> None:
    lat, lng = 40.0, -100.3
    column = int((lng + 180) / 360 * 2**zoom)
    row = int((0.5 - math.atanh(math.sin(math.radians(lat))) / (2 * math.pi)) * 2**zoom)
    tile = Tile(zoom, column, row)
    image = painted(tile, (lat, lng, 60.0))
    x, y = tile.pixels(lat, lng)
    assert image.getpixel((int(x), int(y))) == color(155)
    for dx, dy in ((0, 0), (255, 0), (0, 255), (255, 255)):
        corner_lat, corner_lng = (float(each) for each in tile.lat_lng(np.array(dx + 0.5), np.array(dy + 0.5)))
        meters = math.hypot((corner_lat - lat) * 111_100, (corner_lng - lng) * 85_300)
        if not 48_000 < meters < 52_000:
            assert (image.getpixel((dx, dy)) == CLEAR) == (meters > 50_000)


def test_a_station_at_the_antimeridian_colours_the_tiles_on_both_sides() -> None:
    at_the_line = (0.1, 179.95, 60.0)
    west, east = painted(Tile(8, 255, 127), at_the_line), painted(Tile(8, 0, 127), at_the_line)
    assert west.getpixel((250, 240)) == color(155)
    assert east.getpixel((2, 240)) == color(155)
    assert east.getpixel((200, 240)) == CLEAR


def test_the_northernmost_tile_shows_a_station_beyond_the_edge_of_the_map() -> None:
    image = painted(Tile(8, 128, 0), (85.2, 0.5, 60.0))
    assert image.getpixel((60, 0)) == color(155)
    assert painted(Tile(0, 0, 0), (90.0, 0.0, 60.0)).getpixel((128, 128)) == CLEAR


def test_without_stations_a_tile_is_clear() -> None:
    image = Image.open(io.BytesIO(heat_map(Tile(3, 1, 2), [], SHOWN))).convert("RGBA")
    assert image.getcolors() == [(65_536, CLEAR)]


def test_contours_enclose_the_categories_that_are_painted() -> None:
    stations = ((40.0, -100.3, 60.0), (40.5, -100.9, 5.0))
    found = areas(Tile(8, 56, 96), [surface(*stations)], SHOWN)
    assert {EPA.categories[each.category].name for each in found} >= {"Good", "Moderate"}
    assert all(
        len(ring) > 3 and (ring[0] == ring[-1]).all() for each in found for part in each.polygons for ring in part
    )


async def test_a_vector_tile_has_the_stations_and_the_contours(operator: Caller) -> None:
    await operator.register(station(), station("other", lat=40.2))
    message = [
        reading(0, value, name, averaging_period=pb.AVERAGING_PERIOD_NOWCAST)
        for name, value in (("here", 9.0), ("other", 90.0))
    ]
    await operator.ingest(*message)
    at = Timestamp()
    at.FromDatetime(datetime(2020, 8, 20, 0, 30, tzinfo=UTC))
    body = await operator.call("GetTile", pb.GetTileRequest(z=6, x=14, file="24.mvt", at=at))
    assert body.content_type == "application/vnd.mapbox-vector-tile"
    for part in (b"contours", b"stations", b"station_id", b"here", b"other", b"Unhealthy"):
        assert part in body.data
    empty = await operator.call("GetTile", pb.GetTileRequest(z=6, x=40, file="24.mvt", at=at))
    assert empty.data == b""


async def test_a_tenants_tile_shows_its_own_stations_to_nobody_else(as_tenant: As) -> None:
    acme = as_tenant("acme")
    await acme.register(station("secret"))
    await acme.ingest(reading(0, 60.0, "secret", averaging_period=pb.AVERAGING_PERIOD_NOWCAST))
    at = Timestamp()
    at.FromDatetime(datetime(2020, 8, 20, 0, 30, tzinfo=UTC))
    request = pb.GetTileRequest(z=6, x=14, file="24.mvt", at=at)
    assert b"secret" in (await acme.call("GetTile", request)).data
    assert (await as_tenant("other").call("GetTile", request)).data == b""
