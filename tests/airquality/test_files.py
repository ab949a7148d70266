"""Importing files of others, exporting our own, and dropping what is old: each by its command."""

import asyncio
import csv
import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pyarrow as pa  # type: ignore[import-untyped]  # carries no types
import pyarrow.parquet  # type: ignore[import-untyped]  # carries no types
import pytest

from airquality.importing.rows import unit_of
from airquality.units import Unit

AIRNOW = """08/20/20|13:00|060750005|San Francisco|-8|OZONE|PPB|31|San Francisco Bay Area AQMD
08/20/20|13:00|060750005|San Francisco|-8|PM2.5|UG/M3|64.2|San Francisco Bay Area AQMD
08/20/20|13:00|060750005|San Francisco|-8|RHUM|PERCENT|80|San Francisco Bay Area AQMD
08/20/20|13:00|060750005|San Francisco|-8|SRAD|LANGLEY|0.3|San Francisco Bay Area AQMD
08/20/20|13:00|000000000|Nowhere|-8|PM2.5|UG/M3|1.0|Nobody
08/20/20|13:00|060750005|San Francisco|-8|NO2|PPB|abc|San Francisco Bay Area AQMD
"""
SITES = "060750005|OZONE|0005|San Francisco|Active|CA3|San Francisco Bay Area AQMD|R9|37.7658|-122.3978|4.9|-8.00|US\n"
OPENAQ = """location_id,sensors_id,location,datetime,lat,lon,parameter,units,value
2178,3916,Del Norte,2022-05-03T01:00:00-06:00,35.1353,-106.584702,pm25,µg/m³,7.9
2178,3917,Del Norte,2022-05-03T01:00:00-06:00,35.1353,-106.584702,o3,ppm,0.041
2178,3918,Del Norte,2022-05-03T01:00:00-06:00,35.1353,-106.584702,um003,particles/cm³,1.2
"""
EPA = """"Date","Source","Site ID","POC","Daily Mean PM2.5 Concentration","UNITS","Site Name","SITE_LATITUDE","SITE_LONGITUDE"
"01/01/2021","AQS","270031002","1","18","ug/m3 LC","Anoka County Airport","45.13767","-93.20761"
"""
TABLE = "site,when,pm,no2,x,y\n0060,2016-02-03 04:00:00,12.5,NA,51.5,-0.1\n0060,2016-02-03 05:00:00,13.5,40,51.5,-0.1\n"


@pytest.fixture
def environment(database_url: Callable[[str], str], owner_url: Callable[[str], str]) -> dict[str, str]:
    """What the commands are started with."""
    return os.environ | {
        "GEOMESH_AIRQUALITY_POSTGRES_DSN": database_url("airquality"),
        "GEOMESH_AIRQUALITY_OWNER_DSN": owner_url("airquality"),
    }


@pytest.fixture
async def owner(owner_url: Callable[[str], str]) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection that sees everything."""
    connection = await asyncpg.connect(owner_url("airquality"))
    yield connection
    await connection.close()


async def run(environment: dict[str, str], module: str, *arguments: str | Path, fails: bool = False) -> str:
    """Runs a command to its end and returns what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *map(str, arguments),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert (process.returncode != 0) == fails, output.decode()
    assert "Traceback" not in output.decode()
    return output.decode()


async def stored(owner: "asyncpg.Connection[asyncpg.Record]") -> list[tuple[str, int, int, str, float, int]]:
    """Returns station, pollutant, period, time, value and unit of all readings."""
    rows = await owner.fetch(
        "SELECT stations.station_id, pollutant, averaging_period, to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),"
        " value, unit FROM airquality.readings JOIN airquality.stations ON stations.id = readings.station_id"
        " ORDER BY 1, 2, 4"
    )
    return [tuple(row) for row in rows]


async def test_imports_an_hour_of_airnow(
    environment: dict[str, str], owner: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    (tmp_path / "hour.dat").write_text(AIRNOW)
    (tmp_path / "sites.dat").write_text(SITES)
    arguments = ("airnow", "--sites", tmp_path / "sites.dat", tmp_path / "hour.dat")
    told = await run(environment, "airquality.importing", *arguments)
    assert "3 readings are stored, 3 of them new or corrected" in told
    for reason in ("parameter SRAD", "station that is not registered", "unreadable: could not convert"):
        assert reason in told
    place = "airnow-060750005"
    assert await stored(owner) == [
        (place, 1, 1, "2020-08-20 13:00", 64.2, 1),
        (place, 3, 1, "2020-08-20 13:00", 31.0, 3),
        (place, 13, 1, "2020-08-20 13:00", 80.0, 7),
    ]
    assert "3 readings are stored, 0 of them" in await run(environment, "airquality.importing", *arguments)


async def test_imports_openaq_at_the_start_of_its_hours(
    environment: dict[str, str], owner: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    with gzip.open(tmp_path / "location.csv.gz", "wt", encoding="utf-8") as file:
        file.write(OPENAQ)
    assert "2 readings are stored" in await run(
        environment, "airquality.importing", "openaq", tmp_path / "location.csv.gz"
    )
    assert await stored(owner) == [
        ("openaq-2178", 1, 1, "2022-05-03 06:00", 7.9, 1),
        ("openaq-2178", 3, 1, "2022-05-03 06:00", 0.041, 4),
    ]


async def test_imports_days_of_the_epa_in_their_time_zone(
    environment: dict[str, str], owner: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    (tmp_path / "mn.csv").write_text(EPA)
    arguments = ("epa-daily", "--time-zone", "America/Chicago", tmp_path / "mn.csv")
    await run(environment, "airquality.importing", *arguments)
    assert await stored(owner) == [("aqs-270031002-1", 1, 3, "2021-01-01 06:00", 18.0, 1)]


MAPPING = (
    *("--map", "station_id=site", "--map", "time=when", "--map", "lat=x", "--map", "lng=y"),
    *("--column", "PM25=pm", "--column", "NO2=no2", "--set", "unit=ug/m3", "--time-zone", "Europe/London"),
)


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "table.parquet"])
async def test_imports_any_table_by_a_mapping(
    environment: dict[str, str], owner: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if name.endswith(".parquet"):
        rows = list(csv.DictReader(TABLE.splitlines()))
        pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(TABLE.encode()))
    else:
        path.write_text(TABLE)
    await run(environment, "airquality.importing", "table", *MAPPING, path)
    assert await stored(owner) == [
        ("0060", 1, 1, "2016-02-03 04:00", 12.5, 1),
        ("0060", 1, 1, "2016-02-03 05:00", 13.5, 1),
        ("0060", 4, 1, "2016-02-03 05:00", 40.0, 1),
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--map", "station_id=nobody"), "lacks the columns nobody"),
        (("--map", "station_id=site"), "map pollutant, time, value to a column or a constant"),
        (("--map", "colour=site"), "nothing is called colour"),
        ((*MAPPING, "--time-zone", "Mars/Olympus"), "must be a time zone"),
    ],
)
async def test_says_what_is_wrong_with_a_mapping(
    environment: dict[str, str], tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    (tmp_path / "table.csv").write_text(TABLE)
    found = await run(environment, "airquality.importing", "table", *arguments, tmp_path / "table.csv", fails=True)
    assert told in found


async def test_what_is_exported_can_be_imported(
    environment: dict[str, str], owner: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    (tmp_path / "table.csv").write_text(TABLE)
    await run(environment, "airquality.importing", "table", *MAPPING, tmp_path / "table.csv")
    before = await stored(owner)
    for kind in ("csv", "geojson", "parquet"):
        told = await run(environment, "airquality.exporting", "--format", kind, "--output", tmp_path / f"all.{kind}")
        assert "3 readings are in" in told
    features = json.loads((tmp_path / "all.geojson").read_text())["features"]
    assert [each["properties"]["value"] for each in features] == [12.5, 13.5, 40.0]
    assert features[0]["geometry"] == {"type": "Point", "coordinates": [-0.1, 51.5]}
    for kind in ("csv", "parquet"):
        await owner.execute("DELETE FROM airquality.readings; DELETE FROM airquality.days")
        fields = ("station_id", "time", "pollutant", "value", "unit", "averaging_period", "lat", "lng")
        mapping = [part for field in fields for part in ("--map", f"{field}={field}")]
        await run(environment, "airquality.importing", "table", *mapping, tmp_path / f"all.{kind}")
        assert await stored(owner) == before


async def test_exports_only_what_was_asked_for(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(TABLE)
    await run(environment, "airquality.importing", "table", *MAPPING, tmp_path / "table.csv")
    for filters in (
        ("--pollutant", "NO2"),
        ("--start", "2016-02-03T05:00", "--end", "2016-02-03T06:00", "--pollutant", "PM25"),
        ("--station", "0060", "--bbox=-1,51,0,52", "--end", "2016-02-03T05:00"),
    ):
        arguments = ("--format", "csv", "--output", tmp_path / "some.csv", *filters)
        assert "1 readings are in" in await run(environment, "airquality.exporting", *arguments)
    arguments = ("--format", "csv", "--output", tmp_path / "some.csv", "--tenant", "acme", "--station", "other")
    assert "0 readings are in" in await run(environment, "airquality.exporting", *arguments)


async def test_drops_what_is_older_than_is_kept(
    environment: dict[str, str], owner: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    (tmp_path / "table.csv").write_text(TABLE)
    await run(environment, "airquality.importing", "table", *MAPPING, tmp_path / "table.csv")
    assert "dropped: nothing" in await run(environment, "airquality.retention")
    kept = environment | {"GEOMESH_AIRQUALITY_READINGS_RETENTION_DAYS": "365"}
    assert "dropped: readings_2016_02" in await run(kept, "airquality.retention")
    assert await owner.fetchval("SELECT count(*) FROM airquality.readings") == 0
    assert await owner.fetchval("SELECT sum(hour_count) FROM airquality.days") == 3
    kept["GEOMESH_AIRQUALITY_HISTORY_RETENTION_DAYS"] = "3650"
    assert datetime.now(UTC).year > 2026 or "dropped: nothing" in await run(kept, "airquality.retention")


async def test_remembers_what_an_older_version_stored(
    environment: dict[str, str], owner: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    (tmp_path / "table.csv").write_text(TABLE)
    await run(environment, "airquality.importing", "table", *MAPPING, tmp_path / "table.csv")
    every = "SELECT * FROM airquality.days ORDER BY station_id, pollutant"
    before = await owner.fetch(every)
    await owner.execute("DELETE FROM airquality.days")
    assert "3 readings are remembered" in await run(environment, "airquality.remembering")
    assert await owner.fetch(every) == before != []
    await run(environment, "airquality.remembering")
    assert await owner.fetch(every) == before


@pytest.mark.parametrize(("name", "unit"), [("µg/m³", 1), ("ug/m3 LC", 1), ("PPB", 3), ("°C", 6), ("furlong", None)])
def test_units_are_known_by_their_names_in_files(name: str, unit: int | None) -> None:
    assert unit_of(name) == (None if unit is None else Unit(unit))
