import asyncio
import csv
import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from airquality.conditions import CurrentConditions, Question
from airquality.load import LICENCE, TABLES, read_sites
from airquality.repository import AirQualityRepository
from airquality.standards import standard_of
from meshkit.postgres import Postgres

DATA = Path(__file__).parents[2] / "data"
STATIONS = 40
DAYS = ("2020-08-18", "2020-08-19", "2020-08-20")

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some stations and days of the committed sample."""
    folder = tmp_path_factory.mktemp("data")
    sites = read_lines(DATA / "airnow2020_sites.csv.gz")
    write_lines(folder / "airnow2020_sites.csv.gz", sites[: STATIONS + 1])
    kept = {line.split(",")[0] for line in sites[1 : STATIONS + 1]}
    for table in TABLES:
        header, *lines = read_lines(DATA / table.name)
        chosen = [line for line in lines if line[:10] in DAYS and line.split(",")[1] in kept]
        write_lines(folder / table.name, [header, *chosen])
    return folder


def read_lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def write_lines(path: Path, lines: list[str]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


@pytest.fixture
def environment(data: Path, database_url: Callable[[str], str], owner_url: Callable[[str], str]) -> dict[str, str]:
    """What the loader is started with."""
    return os.environ | {
        "GEOMESH_AIRQUALITY_POSTGRES_DSN": database_url("airquality"),
        "GEOMESH_AIRQUALITY_OWNER_DSN": owner_url("airquality"),
        "GEOMESH_AIRQUALITY_DATA_DIR": str(data),
    }


@pytest.fixture
async def owner(owner_url: Callable[[str], str]) -> AsyncIterator[Connection]:
    """A connection that sees everything."""
    connection = await asyncpg.connect(owner_url("airquality"))
    yield connection
    await connection.close()


async def load(environment: dict[str, str]) -> str:
    """Runs the loader to its end and returns what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "airquality.load", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def expected_rows(data: Path) -> int:
    """Returns how many values the files hold: two a row but for those that are missing."""
    count = 0
    for table in TABLES:
        with gzip.open(data / table.name, "rt", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                count += sum(float(row[name]) != -999 for name in ("raw_concentration", "nowcast_or_value"))
    return count


async def count(owner: Connection) -> int:
    return int(await owner.fetchval("SELECT count(*) FROM airquality.readings"))


async def test_loads_every_value_once_and_names_source_and_licence(
    environment: dict[str, str], data: Path, owner: Connection
) -> None:
    assert LICENCE in await load(environment)
    assert await count(owner) == expected_rows(data) > 2500
    assert await owner.fetchval("SELECT count(*) FROM airquality.stations WHERE tenant_id = 'public'") == STATIONS
    assert "already loaded" in await load(environment)
    assert await count(owner) == expected_rows(data)


async def test_goes_on_where_it_was_killed(
    environment: dict[str, str], data: Path, owner: Connection, owner_url: Callable[[str], str]
) -> None:
    barrier = await asyncpg.connect(owner_url("airquality"))
    waiting = barrier.transaction()
    await waiting.start()
    # The loader waits at its third day, until this transaction ends, to see whether somebody else loads that one.
    await barrier.execute(
        "INSERT INTO airquality.loads (source, part, digest, row_count) VALUES ('airnow-2020-08', $1, '', 0)",
        f"{TABLES[0].name} {DAYS[2]}",
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "airquality.load", env=environment)
    async with asyncio.timeout(60):
        while not await owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert process.returncode is None
            await asyncio.sleep(0.02)
    process.kill()
    await process.wait()
    await barrier.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND usename = current_user AND wait_event_type = 'Lock'"
    )
    await waiting.rollback()
    await barrier.close()
    parts = [row["part"] for row in await owner.fetch("SELECT part FROM airquality.loads ORDER BY part")]
    assert parts == [f"{TABLES[0].name} {day}" for day in DAYS[:2]] + ["sites"]
    killed_at = await count(owner)
    assert 0 < killed_at < expected_rows(data)
    await load(environment)
    assert await count(owner) == expected_rows(data)


async def test_a_changed_file_is_loaded_again_and_corrects(
    environment: dict[str, str], data: Path, owner: Connection, tmp_path: Path
) -> None:
    await load(environment)
    shutil.copytree(data, tmp_path, dirs_exist_ok=True)
    name = TABLES[0].name
    header, first, *others = read_lines(data / name)
    fields = first.split(",")
    write_lines(tmp_path / name, [header, ",".join([*fields[:2], "77.7", *fields[3:]]), *others])
    await load(environment | {"GEOMESH_AIRQUALITY_DATA_DIR": str(tmp_path)})
    assert await owner.fetchval("SELECT count(*) FROM airquality.readings WHERE value = 77.7") == 1
    assert await count(owner) == expected_rows(data)


def test_says_which_file_is_missing(environment: dict[str, str], tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "airquality.load"],
        env=environment | {"GEOMESH_AIRQUALITY_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert "lacks airnow2020_sites.csv.gz" in process.stderr
    assert "Traceback" not in process.stderr


async def test_at_every_station_the_index_is_the_official_one(
    environment: dict[str, str], data: Path, database: Postgres
) -> None:
    await load(environment)
    conditions = CurrentConditions(AirQualityRepository(database), max_age_seconds=3600, radius_meters=1000)
    places = {each.station_id: each for each in read_sites(data)}
    standard = standard_of("us_epa")
    version = standard.version_of("2015")
    compared = 0
    for table in TABLES:
        for line in read_lines(data / table.name)[1::29]:
            utc, own_id, _, _, official, _ = line.split(",")
            if float(official) == -999:
                continue
            at = datetime.fromisoformat(utc).replace(tzinfo=UTC)
            place = places[f"airnow-{own_id}"]
            found = await conditions.at(Question("public", place.lat, place.lng, at, standard, version))
            assert found.assessment is not None
            (value,) = (each.value for each in found.assessment.sub_indices if each.pollutant is table.pollutant)
            assert value == float(official)
            compared += 1
    assert compared > 40


def test_the_committed_sample_has_the_whole_network() -> None:
    stations = read_sites(DATA)
    assert len(stations) == 1415
    assert len({station.station_id for station in stations}) == 1415
    assert all(station.agency for station in stations)
