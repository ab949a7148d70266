"""The statements against the database: plans, row-level security, radius."""

import json
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from meshkit.postgres import Postgres
from spatial_index import geocentric
from spatial_index.entities import Entity, Filters
from spatial_index.repository import QUERIES, EntityRepository

NOW = datetime(2024, 5, 1, tzinfo=UTC)
EVER = datetime.min.replace(tzinfo=UTC)
NO_FILTER: tuple[Any, ...] = ([], [], [], EVER)
OWNERS = {"find_load", "save_load"}
MANY = 20_000


def scattered(count: int) -> list[Entity]:
    chance = random.Random(1)
    return [
        Entity(
            f"e{index}",
            math.degrees(math.asin(chance.uniform(-1, 1))),
            chance.uniform(-180, 180),
            NOW,
            type="rare" if index % 1000 == 0 else "common",
        )
        for index in range(count)
    ]


async def plan(database: Postgres, query: str, *args: Any) -> str:
    """Returns the plan that Postgres settles on, with what it did."""
    async with database.transaction(tenant="acme") as connection:
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {QUERIES[query]}", *args)
    return str(rows[0][0])


def nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the nodes of a plan."""
    return [node, *(each for child in node.get("Plans", ()) for each in nodes(child))]


@pytest.mark.parametrize("name", sorted(QUERIES))
async def test_the_database_understands_every_statement(
    database: Postgres, owner_url: Callable[[str], str], name: str
) -> None:
    if name in OWNERS:
        connection = await asyncpg.connect(owner_url("spatial-index"))
        await connection.prepare(QUERIES[name])
        await connection.close()
    else:
        async with database.transaction(tenant="acme") as connection:
            await connection.prepare(QUERIES[name])


async def test_the_service_cannot_touch_the_loaders_book(database: Postgres) -> None:
    async with database.transaction(tenant="acme") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT sha256 FROM spatial_index.load")


async def test_row_level_security_alone_hides_the_rows_of_other_tenants(
    database: Postgres, repository: EntityRepository
) -> None:
    for tenant in ("acme", "globex", "public"):
        await repository.upsert(tenant, [Entity(f"of-{tenant}", 1.0, 2.0, NOW)])
    rows = await database.fetch("SELECT entity_id FROM spatial_index.entity ORDER BY entity_id", tenant="acme")
    assert [row["entity_id"] for row in rows] == ["of-acme", "of-public"]


@pytest.mark.parametrize("tenant", ["globex", "public"])
async def test_row_level_security_alone_refuses_rows_for_other_tenants(database: Postgres, tenant: str) -> None:
    async with database.transaction(tenant="acme") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.execute(
                """INSERT INTO spatial_index.entity (tenant_id, entity_id, lat, lng, geocentric, time, type)
                VALUES ($1, 'x', 1, 2, public.cube(ARRAY[1.0, 2.0, 3.0]), now(), '')""",
                tenant,
            )


async def test_searches_keep_their_index_under_row_level_security(
    database: Postgres, repository: EntityRepository, owner_url: Callable[[str], str]
) -> None:
    await repository.upsert("acme", scattered(MANY))
    owner = await asyncpg.connect(owner_url("spatial-index"))
    await owner.execute("ANALYZE spatial_index.entity")
    await owner.close()
    here = geocentric.point(10.0, 20.0)

    nearest = await plan(database, "find_nearest", ["acme", "public"], here, 10.0, 20.0, 12, math.inf, *NO_FILTER)
    (scan,) = (
        node
        for node in nodes(json.loads(nearest)[0]["Plan"])
        if "Scan" in node["Node Type"] and "Relation Name" in node
    )
    assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", "entity_geocentric")
    assert "tenant_id" in scan["Index Cond"]
    assert "<->" in scan["Order By"]
    # Twice, once for each tenant, and no row too many.
    assert scan["Actual Loops"] == 2
    assert scan["Actual Rows"] <= 12

    low, high = geocentric.box(10.0, 20.0, 11.0, 21.0)
    boxes = await plan(database, "find_in_boxes", ["acme", "public"], [f"{low},{high}"], "", "", 102, *NO_FILTER)
    (scan,) = (node for node in nodes(json.loads(boxes)[0]["Plan"]) if "Index Name" in node)
    assert scan["Index Name"] == "entity_geocentric"
    assert "<@" in scan["Index Cond"]
    assert scan["Actual Rows"] < MANY / 100


async def test_a_narrow_search_with_a_rare_filter_ends_at_its_radius(
    database: Postgres, repository: EntityRepository
) -> None:
    await repository.upsert("acme", scattered(MANY))
    here = geocentric.point(10.0, 20.0)
    rare: tuple[Any, ...] = (["nowhere"], [], [], EVER)
    found = await plan(database, "find_nearest", ["acme"], here, 10.0, 20.0, 12, 100_000.0, *rare)
    tried = sum(node.get("Rows Removed by Filter", 0) for node in nodes(json.loads(found)[0]["Plan"]))
    assert tried < MANY / 100


@pytest.mark.parametrize("radius", [0.0, 1.0, 1_000.0, 5_000_000.0])
async def test_what_is_within_the_radius_is_never_left_out(repository: EntityRepository, radius: float) -> None:
    await repository.upsert("acme", [*scattered(200), Entity("here", 10.0, 20.0, NOW)])
    everything = await repository.nearest("acme", 10.0, 20.0, count=1_000, radius_meters=math.inf, filters=Filters())
    assert len(everything) == 201
    near = await repository.nearest("acme", 10.0, 20.0, count=1_000, radius_meters=radius, filters=Filters())
    wanted = {each.entity.entity_id for each in everything if each.distance_meters <= radius}
    assert "here" in wanted
    assert wanted <= {each.entity.entity_id for each in near}
