"""What is in the loaded gazetteer, and how Postgres reads it."""

import pytest

from geocoder.repository import QUERIES
from meshkit.postgres import Postgres

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", list(QUERIES))
async def test_the_database_understands_every_statement(database: Postgres, name: str) -> None:
    async with database.transaction() as connection:
        await connection.prepare(QUERIES[name])


async def test_holds_the_places_and_names_of_the_world(database: Postgres) -> None:
    rows = await database.fetch("SELECT layer, count(*) FROM geocoder.places GROUP BY layer")
    layers = {row["layer"]: row["count"] for row in rows}
    assert layers[1] == 250
    assert layers[2] > 3_700
    assert layers[3] > 30_000
    assert layers[4] == 234_908
    assert layers[8] > 41_000
    assert await database.fetchval("SELECT count(*) FROM geocoder.names") > 1_250_000


async def test_ids_are_ranks_by_importance_without_gaps(database: Postgres) -> None:
    unordered = await database.fetchval(
        "SELECT count(*) FROM geocoder.places AS a JOIN geocoder.places AS b ON b.id = a.id + 1"
        " WHERE b.importance > a.importance"
    )
    assert unordered == 0
    assert await database.fetchval("SELECT max(id) - count(*) FROM geocoder.places") == 0


async def test_nearly_every_place_lies_within_the_borders_of_its_country(database: Postgres) -> None:
    right = await database.fetchval(
        "SELECT avg((EXISTS (SELECT FROM geocoder.borders AS b WHERE b.country_code = p.country_code"
        " AND public.ST_Intersects(b.area, p.location::public.geometry)))::int)"
        " FROM geocoder.places AS p WHERE p.layer = 4 AND p.id % 20 = 0"
    )
    assert right > 0.998


async def test_almost_no_place_lies_in_two_countries(database: Postgres) -> None:
    twice = await database.fetchval(
        "SELECT count(*) FROM geocoder.places AS p WHERE p.layer = 4 AND p.id % 20 = 0 AND 1 < (SELECT"
        " count(DISTINCT b.country_code) FROM geocoder.borders AS b"
        " WHERE public.ST_Intersects(b.area, p.location::public.geometry))"
    )
    assert twice <= 2


async def test_every_country_has_a_location_and_a_border(database: Postgres) -> None:
    lost = await database.fetch(
        "SELECT p.country_code FROM geocoder.places AS p WHERE p.layer = 1 AND (abs(p.lat) + abs(p.lng) = 0"
        " OR NOT EXISTS (SELECT FROM geocoder.borders AS b WHERE b.country_code = p.country_code))"
    )
    assert [row["country_code"] for row in lost] == []


@pytest.mark.parametrize(
    ("query", "arguments", "index"),
    [
        ("complete", ("s", "t", None, None, None, None), "names_main_prefix_1"),
        ("complete", ("santa", "santb", None, None, None, None), "names_key"),
        ("find_similar", ("copenhagn", 0.35, [], *[None] * 10, 400), "names_trigrams"),
        ("find_named", ([0], ["paris"], [None], *[None] * 10, 20), "names_key"),
        ("find_around", (48.8, 2.3, 50_000.0, 8, False, None, 22_224.0), "places_locality"),
        ("find_around", (48.8, 2.3, 50_000.0, 8, False, None, 22_224.0), "borders_"),
        ("find_place", ("geonames.2867714", None), "places_place_id"),
        ("find_directory", (), "names_division"),
    ],
)
async def test_answers_come_from_an_index(
    database: Postgres, query: str, arguments: tuple[object, ...], index: str
) -> None:
    async with database.transaction() as connection:
        # As the service has it after a few calls: a plan that knows no parameter.
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        plan = await connection.fetch(f"EXPLAIN {QUERIES[query]}", *arguments)
    text = "\n".join(row[0] for row in plan)
    assert index in text
    assert "Seq Scan on names" not in text
    assert "Seq Scan on places" not in text
