"""The stores that every other test stands on."""

from collections.abc import Callable

import asyncpg
import pytest
import redis


async def test_a_service_signs_in_to_its_own_migrated_schema(database_url: Callable[[str], str]) -> None:
    connection = await asyncpg.connect(database_url("auth"))
    try:
        assert await connection.fetchval("SELECT current_user || ' in ' || current_schema") == "geomesh_auth in auth"
    finally:
        await connection.close()


async def test_a_service_may_not_change_its_schema_nor_its_migrations_record(
    database_url: Callable[[str], str],
) -> None:
    connection = await asyncpg.connect(database_url("auth"))
    try:
        for statement in (
            "CREATE TABLE auth.mine ()",
            "CREATE TABLE public.mine ()",
            "DELETE FROM auth.schema_migrations",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("round_", [1, 2])
async def test_a_test_finds_nothing_that_another_wrote(
    round_: int, owner_url: Callable[[str], str], redis_url: str
) -> None:
    connection = await asyncpg.connect(owner_url("auth"))
    try:
        await connection.execute("CREATE TABLE auth.left_behind ()")  # fails in the second round if it is seen there
    finally:
        await connection.close()
    with redis.Redis.from_url(redis_url) as client:
        assert client.set("left behind", round_, nx=True)
