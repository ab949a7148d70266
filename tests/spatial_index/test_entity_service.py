"""Entities through a real server: what is stored, found, refused, and by whom."""

import asyncio
import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import h3  # type: ignore[import-untyped]  # ships no types
import pyproj
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from geomesh.spatial_index.v1 import spatial_index_pb2 as pb
from geomesh.types.v1.types_pb2 import BoundingBox
from tests.spatial_index.conftest import As, Caller, area, entity, struct
from tests.spatial_index.refusals import explain, refused

GEOD = pyproj.Geod(ellps="WGS84")


def counts(reply: pb.UpsertEntitiesResponse) -> tuple[int, int, int]:
    return reply.accepted_count, reply.superseded_count, reply.rejected_count


async def test_returns_what_was_stored(acme: Caller) -> None:
    sent = entity(
        lat=-33.5,
        lng=151.25,
        seconds=0.123456,
        altitude=12.5,
        accuracy=3.0,
        speed=7.5,
        bearing=359.5,
        type="vessel",
        attributes=struct(name="Ærø", length=31, draft=2.5, moored=True, flag=""),
    )
    assert counts(await acme.upsert(sent)) == (1, 0, 0)
    sent.tenant = "acme"
    assert await acme.get() == sent


async def test_what_was_not_measured_stays_absent(acme: Caller) -> None:
    await acme.upsert(entity(altitude=0.0))
    found = await acme.get()
    assert found.HasField("altitude")
    assert not any(found.HasField(name) for name in ("accuracy", "speed", "bearing", "attributes"))
    assert found.type == ""


async def test_a_sent_tenant_is_ignored(acme: Caller) -> None:
    await acme.upsert(entity(tenant="globex"))
    assert (await acme.get()).tenant == "acme"


async def test_an_older_position_is_superseded_and_changes_nothing(acme: Caller) -> None:
    await acme.upsert(entity(seconds=10, lat=5.0))
    assert counts(await acme.upsert(entity(seconds=9.999999, lat=6.0))) == (1, 1, 0)
    assert (await acme.get()).location.lat == 5.0


async def test_a_position_of_the_same_time_corrects_the_stored_one(acme: Caller) -> None:
    await acme.upsert(entity(lat=5.0, speed=3.0))
    assert counts(await acme.upsert(entity(lat=6.0))) == (1, 0, 0)
    found = await acme.get()
    assert found.location.lat == 6.0
    assert not found.HasField("speed")
    (near,) = await acme.nearby(6.0, 2.0)
    assert near.distance_meters == pytest.approx(0.0, abs=1e-6)


async def test_a_bare_position_keeps_type_and_attributes(acme: Caller) -> None:
    await acme.upsert(entity(type="vessel", attributes=struct(flag="DK")))
    await acme.upsert(entity(seconds=1, lat=3.0))
    found = await acme.get()
    assert (found.location.lat, found.type, dict(found.attributes)) == (3.0, "vessel", {"flag": "DK"})


async def test_attributes_that_are_sent_replace_all_even_when_empty(acme: Caller) -> None:
    await acme.upsert(entity(type="vessel", attributes=struct(flag="DK", length=3)))
    await acme.upsert(entity(seconds=1, type="wreck", attributes=struct(depth=40)))
    found = await acme.get()
    assert (found.type, dict(found.attributes)) == ("wreck", {"depth": 40})
    await acme.upsert(entity(seconds=2, attributes=Struct()))
    assert not (await acme.get()).HasField("attributes")


async def test_of_the_same_id_twice_in_a_batch_the_newest_counts_then_the_last(acme: Caller) -> None:
    reply = await acme.upsert(
        entity(seconds=1, lat=1.0), entity(seconds=3, lat=2.0), entity(seconds=3, lat=3.0), entity(seconds=2, lat=4.0)
    )
    assert counts(reply) == (4, 3, 0)
    assert (await acme.get()).location.lat == 3.0


async def test_bad_items_are_reported_by_index_and_good_ones_kept(acme: Caller) -> None:
    late = entity("late")
    late.time.FromDatetime(datetime.now(UTC) + timedelta(minutes=10))
    reply = await acme.upsert(entity("a"), entity("b", lat=91.0), late, entity("c"), entity("no spaces"))
    assert counts(reply) == (2, 0, 3)
    assert [error.index for error in reply.errors] == [1, 2, 4]
    reasons = [explain(error.status) for error in reply.errors]
    assert [reason for reason, _ in reasons] == ["INVALID_FIELD", "TIME_IN_FUTURE", "INVALID_FIELD"]
    assert [list(fields) for _, fields in reasons] == [["location.lat"], ["time"], ["entity_id"]]
    assert await acme.within(bounding_box=BoundingBox(south=-90, north=90, west=-180, east=180)) == ["a", "c"]


@pytest.mark.parametrize("seconds", [0, 290])
async def test_a_clock_may_be_ahead_a_little(acme: Caller, seconds: int) -> None:
    ahead = entity()
    ahead.time.FromDatetime(datetime.now(UTC) + timedelta(seconds=seconds))
    assert counts(await acme.upsert(ahead)) == (1, 0, 0)


async def test_keeps_attributes_at_their_limits(acme: Caller) -> None:
    attributes = {"x" * 64: "y" * 256, **{f"n{index}": -1e300 for index in range(31)}}
    await acme.upsert(entity(attributes=struct(**attributes)))
    assert dict((await acme.get()).attributes) == attributes


@pytest.mark.parametrize("count", [0, 10_001])
async def test_refuses_a_batch_that_is_empty_or_too_large(acme: Caller, count: int) -> None:
    refusal = await refused(acme.upsert(*[pb.Entity()] * count))
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields.keys() == {"entities"}


async def test_a_stream_counts_over_all_its_chunks(acme: Caller) -> None:
    await acme.upsert(entity("old", seconds=100))
    reply = await acme.report(
        [entity("a"), entity("bad", lat=99)], [entity("old"), entity("b")], [entity("worse", lng=-181), entity("a")]
    )
    assert counts(reply) == (4, 1, 2)
    assert [error.index for error in reply.errors] == [1, 4]


async def test_a_stream_sent_again_changes_nothing(acme: Caller) -> None:
    chunks = [[entity("a", seconds=2, lat=4.0)], [entity("a", seconds=1, lat=5.0), entity("b")]]
    await acme.report(*chunks)
    before = [await acme.get("a"), await acme.get("b")]
    assert (await acme.report(*chunks)).rejected_count == 0
    assert [await acme.get("a"), await acme.get("b")] == before


async def test_a_stream_without_chunks_stores_nothing(acme: Caller) -> None:
    assert counts(await acme.report()) == (0, 0, 0)


async def test_a_stream_explains_a_thousand_errors_and_counts_all(acme: Caller) -> None:
    reply = await acme.report(*[[entity(lat=100.0)] * 700] * 2)
    assert counts(reply) == (0, 0, 1400)
    assert [error.index for error in reply.errors] == list(range(1000))


async def test_streams_with_the_same_entities_do_not_block_each_other(acme: Caller) -> None:
    ids = [f"e{index}" for index in range(300)]

    async def report(seed: int) -> pb.UpsertEntitiesResponse:
        order = random.Random(seed).sample(ids, len(ids))
        return await acme.report(*[[entity(name, seconds=seed) for name in order] for _ in range(3)])

    replies = await asyncio.gather(*(report(seed) for seed in range(8)))
    assert all(reply.accepted_count == 900 for reply in replies)
    newest = await asyncio.gather(*(acme.get(name) for name in ids[::50]))
    assert {found.time.ToDatetime(UTC) for found in newest} == {entity(seconds=7).time.ToDatetime(UTC)}


async def test_tenants_see_their_own_and_the_public_entities(as_tenant: As, operator: Caller, anyone: Caller) -> None:
    acme, globex = as_tenant("acme"), as_tenant("globex")
    await operator.upsert(entity("buoy"), entity("shared", lat=1.5))
    await acme.upsert(entity("ours"), entity("shared", lat=1.25))
    assert {found.entity.entity_id for found in await globex.nearby(1.0, 2.0)} == {"buoy", "shared"}
    assert {found.entity.entity_id for found in await anyone.nearby(1.0, 2.0)} == {"buoy", "shared"}
    names = [(found.entity.entity_id, found.entity.tenant) for found in await acme.nearby(1.0, 2.0)]
    assert names == [("buoy", "public"), ("ours", "acme"), ("shared", "acme"), ("shared", "public")]
    assert (await acme.get("shared")).tenant == "acme"
    assert (await acme.get("buoy")).tenant == "public"
    assert (await globex.get("shared")).tenant == "public"
    for caller in (globex, anyone):
        refusal = await refused(caller.get("ours"))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "ENTITY_NOT_FOUND")


@pytest.mark.parametrize("owner", ["globex", "public"])
async def test_the_entities_of_others_cannot_be_deleted(as_tenant: As, owner: str) -> None:
    await as_tenant(owner).upsert(entity())
    refusal = await refused(as_tenant("acme").call("DeleteEntity", pb.DeleteEntityRequest(entity_id="ship")))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "ENTITY_NOT_FOUND")
    assert (await as_tenant(owner).get()).tenant == owner


async def test_deletes_an_entity(acme: Caller) -> None:
    await acme.upsert(entity(seconds=100))
    await acme.call("DeleteEntity", pb.DeleteEntityRequest(entity_id="ship"))
    assert (await refused(acme.get())).reason == "ENTITY_NOT_FOUND"
    refusal = await refused(acme.call("DeleteEntity", pb.DeleteEntityRequest(entity_id="ship")))
    assert refusal.code == grpc.StatusCode.NOT_FOUND
    await acme.upsert(entity(seconds=1))
    assert (await acme.get()).location.lat == 1.0


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("UpsertEntities", pb.UpsertEntitiesRequest(entities=[entity()])),
        ("DeleteEntity", pb.DeleteEntityRequest(entity_id="ship")),
    ],
)
async def test_writes_need_a_token_with_the_permission(as_tenant: As, method: str, request_: Message) -> None:
    refusal = await refused(as_tenant(None).call(method, request_))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    refusal = await refused(as_tenant("acme", "public").call(method, request_))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")


async def test_a_stream_needs_a_token(anyone: Caller) -> None:
    assert (await refused(anyone.report([entity()]))).reason == "TOKEN_MISSING"


@pytest.mark.parametrize(
    "here", [(0.0, 0.0), (89.9, 10.0), (-90.0, 0.0), (10.0, 180.0), (-45.0, -179.9), (52.5, 13.4), (90.0, -77.0)]
)
async def test_the_nearest_are_those_that_measuring_all_distances_finds(
    acme: Caller, here: tuple[float, float]
) -> None:
    chance = random.Random(7)
    places = {
        f"e{index}": (math.degrees(math.asin(chance.uniform(-1, 1))), chance.uniform(-180, 180))
        for index in range(1000)
    }
    await acme.upsert(*(entity(name, lat, lng) for name, (lat, lng) in places.items()))
    lat, lng = here
    distances = {name: GEOD.inv(lng, lat, there[1], there[0])[2] for name, there in places.items()}
    nearest = sorted(distances, key=lambda name: distances[name])
    found = await acme.nearby(lat, lng, limit=50)
    assert [each.entity.entity_id for each in found] == nearest[:50]
    for each in found:
        assert each.distance_meters == pytest.approx(distances[each.entity.entity_id], abs=0.001)
    radius = distances[nearest[20]] + 0.01
    within = await acme.nearby(lat, lng, limit=1000, radius_meters=radius)
    assert [each.entity.entity_id for each in within] == nearest[:21]
    everything = await acme.nearby(lat, lng, limit=1000)
    assert [each.entity.entity_id for each in everything] == nearest


async def test_orders_by_the_ellipsoid_where_a_sphere_is_wrong(acme: Caller) -> None:
    # A degree of latitude is 110.6 km at the equator, one of longitude 111.3 km; on a sphere they are equal.
    await acme.upsert(entity("east", 0.0, 0.998), entity("north", 1.0, 0.0))
    assert [found.entity.entity_id for found in await acme.nearby(0.0, 0.0)] == ["north", "east"]


async def test_chords_and_geodesics_may_order_differently_far_away(acme: Caller) -> None:
    # Nearly antipodal: by chord the pole's side is nearer, while geodesics go over the flat poles.
    chance = random.Random(3)
    places = [(chance.uniform(-3, 3), 180 - abs(chance.uniform(0, 3))) for _ in range(60)]
    await acme.upsert(*(entity(f"e{index}", lat, lng) for index, (lat, lng) in enumerate(places)))
    distances = [GEOD.inv(0.0, 0.0, lng, lat)[2] for lat, lng in places]
    found = await acme.nearby(0.0, 0.0, limit=1)
    assert found[0].distance_meters == pytest.approx(min(distances), abs=0.001)


async def test_many_entities_at_one_place_are_no_trouble(acme: Caller) -> None:
    await acme.upsert(*(entity(f"e{index:03}") for index in range(300)), entity("far", 1.0, 3.0))
    found = await acme.nearby(1.0, 2.0, limit=5)
    assert [each.distance_meters for each in found] == pytest.approx([0.0] * 5, abs=1e-6)
    found = await acme.nearby(1.0, 2.0, limit=1000)
    assert [each.entity.entity_id for each in found] == [*(f"e{index:03}" for index in range(300)), "far"]


async def test_returns_ten_unless_told_otherwise(acme: Caller) -> None:
    await acme.upsert(*(entity(f"e{index}", lat=index) for index in range(12)))
    assert len(await acme.nearby(0.0, 2.0)) == 10
    assert len(await acme.nearby(0.0, 2.0, limit=11)) == 11


async def test_a_radius_of_nothing_finds_what_is_there(acme: Caller) -> None:
    await acme.upsert(entity(lat=10.0, lng=20.0), entity("near", lat=10.00001, lng=20.0))
    found = await acme.nearby(10.0, 20.0, radius_meters=0.0)
    assert [each.entity.entity_id for each in found] == ["ship"]


async def test_filters_by_type_attributes_and_age(acme: Caller) -> None:
    fresh = entity("fresh", type="bus", attributes=struct(line="A:1", number=31, electric=True, share=0.25))
    fresh.time.FromDatetime(datetime.now(UTC))
    await acme.upsert(
        fresh,
        entity("tram", type="tram", attributes=struct(line="A:1", number=32)),
        entity("van", type="van"),
    )

    async def found(**fields: Any) -> set[str]:
        near = {each.entity.entity_id for each in await acme.nearby(1.0, 2.0, **fields)}
        box = BoundingBox(south=0, north=2, west=1, east=3)
        assert set(await acme.within(bounding_box=box, **fields)) == near
        return near

    assert await found() == {"fresh", "tram", "van"}
    assert await found(type=["bus"]) == {"fresh"}
    assert await found(type=["bus", "van"]) == {"fresh", "van"}
    assert await found(attribute=["line:A:1"]) == {"fresh", "tram"}
    assert await found(attribute=["line:A:1", "number:31"]) == {"fresh"}
    assert await found(attribute=["number:31.0"]) == set()
    assert await found(attribute=["electric:true"]) == {"fresh"}
    assert await found(attribute=["share:0.25"]) == {"fresh"}
    assert await found(attribute=["unknown:"]) == set()
    assert await found(type=["tram"], attribute=["number:31"]) == set()
    assert await found(max_age=Duration(seconds=3600)) == {"fresh"}
    assert await found(max_age=Duration(seconds=3155760000)) == {"fresh", "tram", "van"}


async def test_finds_within_each_kind_of_region(acme: Caller) -> None:
    await acme.upsert(
        entity("in", 10.0, 10.0),
        entity("edge", 11.0, 10.0),
        entity("out", 12.0, 10.0),
        entity("west", 0.0, -179.5),
        entity("line", 0.0, 180.0),
        entity("east", 0.0, 179.5),
        entity("pole", 90.0, 45.0),
    )
    assert await acme.within(bounding_box=BoundingBox(south=9, west=9, north=11, east=11)) == ["edge", "in"]
    assert await acme.within(bounding_box=BoundingBox(south=-1, west=179, north=1, east=-179)) == [
        "east",
        "line",
        "west",
    ]
    assert await acme.within(area=area((9, 9), (11, 9), (11, 11), (9, 11))) == ["edge", "in"]
    assert await acme.within(area=area((179, -1), (-179, -1), (-179, 1), (179, 1))) == ["east", "line", "west"]
    assert await acme.within(area=area((-120, 80), (0, 80), (120, 80))) == ["pole"]
    cells = [h3.latlng_to_cell(10.0, 10.0, 7), h3.latlng_to_cell(90.0, 0.0, 3)]
    assert await acme.within(cells=pb.CellSet(cells=cells[:1])) == ["in"]
    assert await acme.within(cells=pb.CellSet(cells=[*cells, *cells])) == ["in", "pole"]


async def test_pages_hold_every_entity_once_in_the_order_of_ids(acme: Caller, operator: Caller) -> None:
    chance = random.Random(5)
    inside = [f"e{index:03}" for index in range(100)]
    await acme.upsert(*(entity(name, chance.uniform(0, 2), chance.uniform(0, 2)) for name in inside))
    # In the box around the triangle, but not in it.
    await acme.upsert(*(entity(f"x{index:03}", 9.9, 0.1 + index / 1000) for index in range(150)))
    await operator.upsert(entity("e050", 1.0, 1.0), entity("a", 1.0, 1.0))
    request = pb.FindWithinRequest(area=area((0, 0), (10, 0), (10, 10), (0, 3)), page_size=7)
    names: list[tuple[str, str]] = []
    pages = 0
    while True:
        reply = await acme.call("FindWithin", request)
        names += [(found.entity_id, found.tenant) for found in reply.entities]
        pages += 1
        if not reply.next_page_token:
            break
        assert len(reply.entities) == 7
        request.page_token = reply.next_page_token
    assert names == sorted([*((name, "acme") for name in inside), ("e050", "public"), ("a", "public")])
    assert pages == 15


async def test_a_page_that_takes_all_has_no_next(acme: Caller) -> None:
    await acme.upsert(*(entity(f"e{index}") for index in range(4)))
    box = BoundingBox(south=0, north=2, west=1, east=3)
    reply = await acme.call("FindWithin", pb.FindWithinRequest(bounding_box=box, page_size=4))
    assert (len(reply.entities), reply.next_page_token) == (4, "")


async def test_a_page_may_be_asked_to_be_larger_than_it_gets(acme: Caller) -> None:
    await acme.upsert(*(entity(f"e{index:04}") for index in range(1005)))
    request = pb.FindWithinRequest(bounding_box=BoundingBox(south=0, north=2, west=1, east=3), page_size=5000)
    reply = await acme.call("FindWithin", request)
    assert len(reply.entities) == 1000
    request.page_token = reply.next_page_token
    assert len((await acme.call("FindWithin", request)).entities) == 5
    request.page_size = 0
    assert len((await acme.call("FindWithin", request)).entities) == 5
    request.page_token = ""
    assert len((await acme.call("FindWithin", request)).entities) == 100


async def test_refuses_the_page_token_of_another_query(acme: Caller) -> None:
    await acme.upsert(entity("a"), entity("b"))
    box = BoundingBox(south=0, north=2, west=1, east=3)
    token = (await acme.call("FindWithin", pb.FindWithinRequest(bounding_box=box, page_size=1))).next_page_token
    other = pb.FindWithinRequest(bounding_box=box, page_size=1, page_token=token, type=["vessel"])
    refusal = await refused(acme.call("FindWithin", other))
    assert (refusal.reason, list(refusal.fields)) == ("INVALID_PAGE_TOKEN", ["page_token"])
