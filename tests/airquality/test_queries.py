import pytest

from airquality.repository import QUERIES
from meshkit.postgres import Postgres


@pytest.mark.parametrize("name", list(QUERIES))
async def test_the_database_understands_every_statement(database: Postgres, name: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(QUERIES["make_staging"])
        await connection.prepare(QUERIES[name])


async def test_row_level_security_keeps_the_index_on_locations(database: Postgres) -> None:
    async with database.transaction(tenant="acme") as connection:
        # Of a handful of rows no plan needs an index; without these there is no other way than the index.
        await connection.execute("SET LOCAL enable_seqscan = off")
        await connection.execute("SET LOCAL enable_sort = off")
        plan = await connection.fetch(
            "EXPLAIN "
            + QUERIES["find_near"]
            .replace("$1::text", "'acme'")
            .replace("$2::float8", "40")
            .replace("$3::float8", "-100")
            .replace("$4::float8", "50000")
            .replace("$5::int", "50")
        )
    text = "\n".join(row[0] for row in plan)
    assert "stations_location" in text
    assert "Order By" in text
