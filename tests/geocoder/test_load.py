"""The loader, on a world of five places."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from rich.console import Console

from geocoder.gazetteer import Entry, local_names_of, names_of
from geocoder.load import Load, Report, gazetteer_version
from geocoder.places import Layer, NameKind
from geocoder.repository import GazetteerRepository
from geocoder.settings import Settings
from meshkit.postgres import Postgres
from tests.geocoder.conftest import DATA


def world(names: tuple[str, ...] = ("München", "Nairobi")) -> list[Entry]:
    """Returns a country and some towns."""
    towns = [
        Entry(f"test.{name}", Layer.LOCALITY, "P", name, "DE", population=1000 - number, lat=48.0, lng=11.0 + number)
        for number, name in enumerate(names)
    ]
    return [
        Entry("test.DE", Layer.COUNTRY, "A", "Germany", "DE", codes=["DE"], local_names={"fr": "Allemagne"}),
        *towns,
    ]


def load(dsn: str, read: Callable[[Path, Report], list[Entry]] = lambda _folder, _report: world()) -> Load:
    """Returns a run that reads that world, and tells nobody how far it is."""
    return Load(dsn, DATA, Console(file=io.StringIO()), read)


async def fetch(dsn: str, sql: str) -> list[asyncpg.Record]:
    """Returns rows as the schema's owner."""
    connection = await asyncpg.connect(dsn)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(sql)
    finally:
        await connection.close()
    return rows


async def test_loads_once_and_then_has_nothing_to_do(owner_url: Callable[[str], str]) -> None:
    dsn = owner_url("geocoder")
    assert await load(dsn).run()
    assert not await load(dsn).run()
    rows = await fetch(dsn, "SELECT id, name FROM geocoder.places ORDER BY id")
    assert [tuple(row) for row in rows] == [(1, "Germany"), (2, "München"), (3, "Nairobi")]
    keys = await fetch(dsn, "SELECT key FROM geocoder.names WHERE place = 2 ORDER BY key")
    assert [row["key"] for row in keys] == ["muenchen", "munchen"]


async def test_goes_on_where_it_was_interrupted(owner_url: Callable[[str], str]) -> None:
    dsn = owner_url("geocoder")
    interrupted = load(dsn)
    interrupted._statements["index_places_locality"] = "SELECT 1 / 0"  # noqa: SLF001 -- what a broken connection does
    with pytest.raises(ExceptionGroup):
        await interrupted.run()
    assert await fetch(dsn, "SELECT id FROM geocoder.places") == []
    done = {row["step"] for row in await fetch(dsn, "SELECT step FROM geocoder.load_steps")}
    assert "places" in done
    assert "publish" not in done

    def never(_folder: Path, _report: Report) -> list[Entry]:
        raise AssertionError("the sources were read again")

    assert await load(dsn, never).run()
    assert len(await fetch(dsn, "SELECT id FROM geocoder.places")) == 3


async def test_readers_see_the_old_gazetteer_until_the_new_one_is_whole(owner_url: Callable[[str], str]) -> None:
    dsn = owner_url("geocoder")
    await load(dsn).run()
    await fetch(dsn, "DELETE FROM geocoder.load_steps")
    second = load(dsn, lambda _folder, _report: world(("Zürich",)))
    second._statements["publish"] = "SELECT 1 / 0"  # noqa: SLF001 -- as above
    with pytest.raises(asyncpg.DivisionByZeroError):
        await second.run()
    towns = "SELECT name FROM geocoder.places WHERE layer = 4 ORDER BY id"
    assert [row["name"] for row in await fetch(dsn, towns)] == ["München", "Nairobi"]
    await load(dsn).run()
    assert [row["name"] for row in await fetch(dsn, towns)] == ["Zürich"]


async def test_a_service_learns_of_another_gazetteer(
    owner_url: Callable[[str], str], database_url: Callable[[str], str]
) -> None:
    dsn = owner_url("geocoder")
    await load(dsn).run()
    database = Postgres(Settings(postgres_dsn=SecretStr(database_url("geocoder"))))
    repository = GazetteerRepository(database, watch_seconds=0.05)
    await database.start()
    await repository.start()
    try:
        before = await repository.version()
        assert (await repository.directory()).areas("allemagne")
        assert await repository.translations("fr") == {"test.DE": "Allemagne"}
        another = load(dsn, lambda _folder, _report: [Entry("test.FR", Layer.COUNTRY, "A", "France", "FR")])
        another._version = "another"  # noqa: SLF001 -- what other sources would have
        await another.run()
        async with asyncio.timeout(10):
            while await repository.version() == before:  # noqa: ASYNC110 -- asked, not told
                await asyncio.sleep(0.02)
        assert await repository.version() == "another"
        assert not (await repository.directory()).areas("allemagne")
        assert (await repository.directory()).areas("france")
        assert await repository.translations("fr") == {}
    finally:
        await repository.close()
        await database.close()


async def test_the_services_own_role_may_read_what_was_loaded_and_write_nothing_away(
    owner_url: Callable[[str], str], database_url: Callable[[str], str]
) -> None:
    await load(owner_url("geocoder")).run()
    connection = await asyncpg.connect(database_url("geocoder"))
    try:
        assert await connection.fetchval("SELECT count(*) FROM geocoder.places") == 3
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DROP TABLE geocoder.places")
    finally:
        await connection.close()


def test_the_version_changes_with_the_data(tmp_path: Path) -> None:
    (tmp_path / "gazetteer").mkdir()
    (tmp_path / "gazetteer" / "places").write_text("Munich")
    before = gazetteer_version(tmp_path)
    assert gazetteer_version(tmp_path) == before
    (tmp_path / "gazetteer" / "places").write_text("Nairobi")
    assert gazetteer_version(tmp_path) != before


def names(*alternate: str, name: str = "Hong Kong") -> dict[str, NameKind]:
    """Returns the kinds of a place's names by key."""
    entry = Entry("test", Layer.LOCALITY, "P", name, "HK", alternate_names=list(alternate))
    return {key: kind for kind, key, _ in names_of(entry)}


def test_a_name_unlike_all_others_is_marked() -> None:
    kinds = names("Hongkong", "Hong-Kong City", "Victoria", "香港")
    assert kinds["hong kong"] is NameKind.MAIN
    assert kinds["hongkong"] is NameKind.OTHER
    assert kinds["victoria"] is NameKind.UNLIKE
    assert kinds["香港"] is NameKind.OTHER


def test_city_may_be_left_out_of_a_main_name() -> None:
    assert names("New York", name="New York City")["new york"] is NameKind.MAIN


def test_the_name_with_accents_is_kept() -> None:
    entry = Entry("test", Layer.LOCALITY, "P", "Munich", "DE", alternate_names=["Munchen", "München"])
    assert {key: name for _, key, name in names_of(entry)}["munchen"] == "München"


def test_a_script_of_one_language_tells_the_language() -> None:
    entry = Entry("test", Layer.LOCALITY, "P", "Munich", "DE", alternate_names=["ミュンヘン", "Мюнхен", "뮌헨"])
    assert local_names_of(entry) == {"ja": "ミュンヘン", "ko": "뮌헨"}
