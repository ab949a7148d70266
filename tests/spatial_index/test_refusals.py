"""What is refused, and which field is blamed."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from geomesh.spatial_index.v1 import spatial_index_pb2 as pb
from geomesh.types.v1.types_pb2 import BoundingBox
from meshkit.batch import partition
from meshkit.paging import PageToken, Position
from spatial_index.convert import check_entity
from tests.spatial_index.conftest import START, Caller, area, entity, struct
from tests.spatial_index.refusals import explain, refused

BARE = pytest.mark.asyncio(loop_scope="module")

SQUARE = area((0, 0), (1, 0), (1, 1), (0, 1))
BOX = BoundingBox(south=0, north=1, west=0, east=1)


def refusals(*entities: pb.Entity) -> list[tuple[str, dict[str, str]]]:
    """Returns the reason and the fields of each entity that a batch would refuse."""
    found = partition(entities, lambda message: check_entity(message, START + timedelta(minutes=5)))
    return [explain(error.status) for error in found.errors]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"lat": 90.000001}, "location.lat"),
        ({"lat": math.nan}, "location.lat"),
        ({"lng": math.inf}, "location.lng"),
        ({"lng": 180.5}, "location.lng"),
        ({"altitude": -15001.0}, "altitude"),
        ({"accuracy": -1.0}, "accuracy"),
        ({"speed": -0.5}, "speed"),
        ({"speed": math.nan}, "speed"),
        ({"bearing": 360.0}, "bearing"),
        ({"type": "x" * 65}, "type"),
        ({"type": "nul\0"}, "type"),
        ({"entity_id": ""}, "entity_id"),
        ({"entity_id": "-dash-first"}, "entity_id"),
        ({"entity_id": "a/slash"}, "entity_id"),
        ({"entity_id": "newline\n"}, "entity_id"),
        ({"entity_id": "x" * 129}, "entity_id"),
    ],
)
def test_refuses_an_entity_that_breaks_a_rule(fields: dict[str, Any], named: str) -> None:
    ((reason, blamed),) = refusals(entity(**fields), entity())
    assert (reason, list(blamed)) == ("INVALID_FIELD", [named])


@pytest.mark.parametrize(
    "fields",
    [
        {"lat": -90.0, "lng": 180.0},
        {"entity_id": "A1._~@-" + "x" * 121},
        {"type": "x" * 64},
        {"bearing": 0.0, "speed": 0.0, "accuracy": 0.0, "altitude": -15000.0},
        {"seconds": 300.0},
        {"seconds": (datetime(1000, 1, 1, tzinfo=UTC) - START).total_seconds()},
    ],
)
def test_takes_an_entity_at_the_limits_of_the_rules(fields: dict[str, Any]) -> None:
    assert refusals(entity(**fields)) == []


@pytest.mark.parametrize("missing", ["location", "time"])
def test_refuses_an_entity_without_a_place_or_time(missing: Any) -> None:
    message = entity()
    message.ClearField(missing)
    ((_, blamed),) = refusals(message)
    assert list(blamed) == [missing]


# Postgres would store the first moment of the year 1 as minus infinity, which no clock can show.
@pytest.mark.parametrize("time", [datetime(1, 1, 1, tzinfo=UTC), datetime(999, 12, 31, 23, 59, 59, tzinfo=UTC)])
def test_refuses_a_time_before_the_year_1000(time: datetime) -> None:
    message = entity()
    message.time.FromDatetime(time)
    ((reason, blamed),) = refusals(message)
    assert (reason, list(blamed)) == ("INVALID_FIELD", ["time"])


@pytest.mark.parametrize("seconds", [300.000001, 86_400.0])
def test_refuses_a_time_beyond_the_clock_skew(seconds: float) -> None:
    ((reason, blamed),) = refusals(entity(seconds=seconds))
    assert (reason, list(blamed)) == ("TIME_IN_FUTURE", ["time"])


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({f"n{index}": 1 for index in range(33)}, "attributes"),
        ({"": 1}, "attributes"),
        ({"a:b": 1}, "attributes"),
        ({"x" * 65: 1}, "attributes"),
        ({"nul\0": 1}, "attributes"),
        ({"long": "x" * 257}, "attributes.long"),
        ({"nul": "\0"}, "attributes.nul"),
        ({"none": None}, "attributes.none"),
        ({"list": [1]}, "attributes.list"),
        ({"deep": {"er": 1}}, "attributes.deep"),
        ({"size": math.nan}, "attributes.size"),
        ({"size": -math.inf}, "attributes.size"),
    ],
)
def test_refuses_attributes_that_are_not_flat_small_and_finite(attributes: dict[str, Any], named: str) -> None:
    ((reason, blamed),) = refusals(entity(attributes=struct(**attributes)))
    assert (reason, list(blamed)) == ("INVALID_FIELD", [named])


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"lat": 91.0}, "lat"),
        ({"lat": math.nan}, "lat"),
        ({"lng": -180.1}, "lng"),
        ({"limit": -1}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"radius_meters": -1.0}, "radius_meters"),
        ({"radius_meters": math.nan}, "radius_meters"),
        ({"radius_meters": math.inf}, "radius_meters"),
        ({"type": [""]}, "type[0]"),
        ({"type": ["x"] * 33}, "type"),
        ({"attribute": ["flag"]}, "attribute[0]"),
        ({"attribute": ["flag:DK", ":DK"]}, "attribute[1]"),
        ({"attribute": ["a:b"] * 17}, "attribute"),
        ({"max_age": Duration(seconds=-1)}, "max_age"),
        ({"max_age": Duration(seconds=3155760001)}, "max_age"),
    ],
)
@BARE
async def test_refuses_a_search_that_breaks_a_rule(bare: Caller, fields: dict[str, Any], named: str) -> None:
    refusal = await refused(bare.call("FindNearby", pb.FindNearbyRequest(**{"lat": 1.0, "lng": 2.0} | fields)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert list(refusal.fields) == [named]
    if named.partition("[")[0] in pb.FindWithinRequest.DESCRIPTOR.fields_by_name:
        refusal = await refused(bare.call("FindWithin", pb.FindWithinRequest(bounding_box=BOX, **fields)))
        assert list(refusal.fields) == [named]


@BARE
async def test_refuses_to_search_without_a_place(bare: Caller) -> None:
    refusal = await refused(bare.call("FindNearby", pb.FindNearbyRequest()))
    assert refusal.fields.keys() == {"lat", "lng"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "region"),
        ({"bounding_box": BoundingBox(south=1, west=0, north=0, east=0)}, "bounding_box"),
        ({"bounding_box": BoundingBox(south=-91, west=0, north=0, east=0)}, "bounding_box.south"),
        ({"bounding_box": BoundingBox(south=0, west=0, north=0, east=181)}, "bounding_box.east"),
        ({"bounding_box": BoundingBox(south=0, west=0, north=1)}, "bounding_box.east"),
        ({"cells": pb.CellSet()}, "cells.cells"),
        ({"cells": pb.CellSet(cells=["8928308280fffff", "8928308280FFFFF"])}, "cells.cells[1]"),
        ({"cells": pb.CellSet(cells=["8928308280fffff"] * 10_001)}, "cells.cells"),
        ({"area": pb.Geometry(type="Point")}, "area.type"),
        ({"area": pb.Geometry(type="Polygon")}, "area.coordinates"),
        ({"area": area((0, 0), (1, 1), (1, 0), (0, 1))}, "area.coordinates[0]"),
        ({"area": SQUARE, "page_size": -1}, "page_size"),
        ({"area": SQUARE, "page_token": "x" * 4097}, "page_token"),
    ],
)
@BARE
async def test_refuses_a_region_that_is_none(bare: Caller, fields: dict[str, Any], named: str) -> None:
    refusal = await refused(bare.call("FindWithin", pb.FindWithinRequest(**fields)))
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert any(field.startswith(named) for field in refusal.fields), refusal.fields


@pytest.mark.parametrize("token", ["x", "%%%", "AAAA", "ä"])
@BARE
async def test_refuses_a_damaged_page_token(bare: Caller, token: str) -> None:
    request = pb.FindWithinRequest(bounding_box=BOX, page_token=token)
    refusal = await refused(bare.call("FindWithin", request))
    assert (refusal.reason, list(refusal.fields)) == ("INVALID_PAGE_TOKEN", ["page_token"])


@pytest.mark.parametrize(
    "position",
    [("one",), ("one", 2), (1.5, "two"), ("a", "b", "c"), (datetime(2024, 1, 1, tzinfo=UTC), "x")],
)
@BARE
async def test_refuses_a_forged_page_token(bare: Caller, position: Position) -> None:
    request = pb.FindWithinRequest(bounding_box=BOX)
    request.page_token = PageToken.encode(position, query=request)
    refusal = await refused(bare.call("FindWithin", request))
    assert (refusal.reason, list(refusal.fields)) == ("INVALID_PAGE_TOKEN", ["page_token"])


@pytest.mark.parametrize("method", ["GetEntity", "DeleteEntity"])
@BARE
async def test_refuses_an_id_that_is_none(bare: Caller, method: str) -> None:
    request = getattr(pb, f"{method}Request")(entity_id="no spaces")
    refusal = await refused(bare.call(method, request))
    assert refusal.reason in {"INVALID_FIELD", "TOKEN_MISSING"}
    assert (refusal.reason == "TOKEN_MISSING") == (method == "DeleteEntity")
