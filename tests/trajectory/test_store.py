import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from meshkit.postgres import Postgres
from tests.trajectory.conftest import at
from trajectory.positions import Position, Positions
from trajectory.repository import QUERIES, PositionRepository

OWNERS = {"find_load", "save_load"}


def positions(count: int, entity_id: str = "ship") -> Positions:
    """Returns positions of one entity, a minute apart."""
    return Positions.of(
        Position(entity_id, at(60 * index), index / 1000, 0.0, None, None, None, None, None) for index in range(count)
    )


async def plan(connection: Any, query: str, *arguments: object) -> str:
    """Returns the generic plan of a statement as JSON text: the one that serves once it was asked a few times."""
    await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    return str(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments))


async def test_the_services_role_prepares_its_statements(database: Postgres) -> None:
    for name in QUERIES.keys() - OWNERS:
        async with database.transaction(tenant="acme") as connection:
            await connection.prepare(QUERIES[name])


async def test_the_owner_prepares_the_loaders_statements(owner_url: Callable[[str], str]) -> None:
    connection = await asyncpg.connect(owner_url("trajectory"))
    for name in OWNERS:
        await connection.prepare(QUERIES[name])
    await connection.close()


async def test_reading_a_track_needs_its_rows_of_the_index_alone(
    database: Postgres, repository: PositionRepository
) -> None:
    await repository.add("acme", positions(2000))
    await repository.add("acme", positions(2000, "boat"))
    key = await repository.find_entity("acme", "ship")
    async with database.transaction(tenant="acme") as connection:
        found = await plan(connection, QUERIES["read_track"], key, at(0), at(600), 10)
        assert "Index Cond" in found
        condition = next(line for line in found.splitlines() if "Index Cond" in line)
        # Row-level security keeps conditions from the index that are not leakproof; both of these must be there.
        assert "entity_key" in condition
        assert '\\"time\\" >=' in condition
        assert '\\"time\\" <' in condition


async def test_a_window_reads_the_partitions_of_its_months_alone(
    database: Postgres, repository: PositionRepository
) -> None:
    days = [datetime(2020 + month // 12, 1 + month % 12, 15, tzinfo=UTC) for month in range(24)]
    await repository.add(
        "acme", Positions.of(Position("ship", day, 0.0, 0.0, None, None, None, None, None) for day in days)
    )
    key = await repository.find_entity("acme", "ship")
    async with database.transaction(tenant="acme") as connection:
        found = await plan(connection, QUERIES["read_track"], key, days[3], days[4] + timedelta(seconds=1), 10)
    assert "positions_2020_04" in found
    assert "positions_2020_05" in found
    assert "positions_2020_06" not in found or "Subplans Removed" in found


@pytest.mark.parametrize("statement", ["DELETE FROM trajectory.{}", "UPDATE trajectory.{} SET tenant_id = 'acme'"])
@pytest.mark.parametrize("table", ["positions", "entities"])
async def test_the_service_can_neither_change_nor_delete(database: Postgres, statement: str, table: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute(statement.format(table), tenant="acme")


async def test_nobody_writes_for_another_tenant(database: Postgres, repository: PositionRepository) -> None:
    await repository.add("acme", positions(1))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute(QUERIES["add_entities"], "public", ["ship"], tenant="acme")


async def test_partitions_show_nothing_past_the_policy(database: Postgres, repository: PositionRepository) -> None:
    await repository.add("acme", positions(3))
    assert await database.fetchval("SELECT count(*) FROM trajectory.positions", tenant="acme") == 3
    assert await database.fetchval("SELECT count(*) FROM trajectory.positions", tenant="other") == 0
    assert await database.fetchval("SELECT count(*) FROM trajectory.positions") == 0
    assert await database.fetchval("SELECT count(*) FROM trajectory.positions_2022_01", tenant="acme") == 0


async def test_all_times_before_2000_share_a_partition(database: Postgres, repository: PositionRepository) -> None:
    times = [datetime(year, 7, 4, tzinfo=UTC) for year in (1000, 1492, 1999, 2000, 2022)]
    await repository.add(
        "acme", Positions.of(Position("ship", time, 0.0, 0.0, None, None, None, None, None) for time in times)
    )
    rows = await database.fetch("SELECT tableoid::regclass::text AS name FROM trajectory.positions", tenant="acme")
    assert sorted(row["name"].split(".")[-1] for row in rows) == [
        "positions_2000_07",
        "positions_2022_07",
        *["positions_before_2000"] * 3,
    ]


async def test_a_batch_is_stored_whole_or_not_at_all(repository: PositionRepository) -> None:
    bad = Positions.of(
        [
            Position("ship", at(0), 0.0, 0.0, None, None, None, None, None),
            Position("ship", at(1), 0.0, 0.0, None, None, None, None, "no json"),
        ]
    )
    with pytest.raises(asyncpg.DataError):
        await repository.add("acme", bad)
    assert await repository.find_entity("acme", "ship") is None


async def test_attributes_come_back_for_the_times_asked(repository: PositionRepository) -> None:
    await repository.add(
        "acme",
        Positions.of(
            Position("ship", at(second), 0.0, 0.0, None, None, None, None, json.dumps({"n": str(second)}))
            for second in range(5)
        ),
    )
    key = await repository.find_entity("acme", "ship")
    assert key is not None
    found = await repository.read_attributes("acme", key, [at(1), at(3), at(7)])
    assert sorted(found.values(), key=str) == [{"n": "1"}, {"n": "3"}]
