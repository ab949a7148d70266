"""Loads the committed sample of AirNow: `python -m airquality.load`.

It goes on where it was stopped, a day of a pollutant at a time, and does nothing when everything is loaded.
"""

import asyncio
import csv
import gzip
import hashlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from airquality.intervals import microseconds
from airquality.live import outbox
from airquality.readings import Readings, Taken, acceptable
from airquality.recorder import Recorder
from airquality.repository import AirQualityRepository
from airquality.settings import Settings
from airquality.stations import Station
from airquality.units import AveragingPeriod, Pollutant, Unit
from meshkit.identity import PUBLIC_TENANT
from meshkit.postgres import Postgres

SOURCE: Final = "airnow-2020-08"
LICENCE: Final = (
    "AirNow, August 2020: hourly PM2.5 and ozone of monitors in the western and central United States. Source: US EPA"
    " AirNow program and its state, local and tribal partners; public domain; preliminary data, not for regulation."
)

_SITES: Final = "airnow2020_sites.csv.gz"
_MISSING: Final = -999.0
_SITES_PART: Final = "sites"


class Table(NamedTuple):
    """A file of readings, one row an hour and monitor, sorted by time."""

    name: str
    pollutant: Pollutant
    unit: Unit


TABLES: Final = (
    Table("airnow2020_PM25_aug.csv.gz", Pollutant.PM25, Unit.MICROGRAMS_PER_CUBIC_METER),
    Table("airnow2020_OZONE_aug.csv.gz", Pollutant.O3, Unit.PARTS_PER_BILLION),
)


def read_sites(data_dir: Path) -> list[Station]:
    """Returns the monitors."""
    with gzip.open(data_dir / _SITES, "rt", encoding="utf-8", newline="") as file:
        return [
            Station(
                _station_id(row["fullaqsid"]),
                "airnow",
                row["site"],
                row["agency"],
                float(row["lat"]),
                float(row["lon"]),
            )
            for row in csv.DictReader(file)
        ]


def read_days(data_dir: Path, table: Table, numbers: dict[str, int]) -> Iterator[tuple[str, Readings]]:
    """Yields each day's readings: the hourly value and the provider's NowCast, those that are there.

    Args:
        data_dir: Where the files lie.
        table: Which one to read.
        numbers: The monitors' numbers in the database by their station_id.
    """
    with gzip.open(data_dir / table.name, "rt", encoding="utf-8", newline="") as file:
        for day, rows in groupby(csv.DictReader(file), key=lambda row: row["utc"][:10]):
            hours: dict[str, int] = {}
            columns: list[tuple[int, int, float, float]] = []
            for row in rows:
                hour = row["utc"]
                if hour not in hours:
                    hours[hour] = microseconds(datetime.fromisoformat(hour).replace(tzinfo=UTC))
                number = numbers[_station_id(row["fullaqsid"])]
                nowcast = float(row["nowcast_or_value"])
                columns.append((number, hours[hour], float(row["raw_concentration"]), nowcast))
            yield day, _readings(table, columns)


def _readings(table: Table, rows: list[tuple[int, int, float, float]]) -> Readings:
    number, time, raw, nowcast = (np.array(column) for column in zip(*rows, strict=True))
    both = Readings(
        station=np.concatenate([number, number]),
        pollutant=np.full(2 * len(rows), table.pollutant, dtype=np.int64),
        averaging_period=np.repeat(
            np.array([AveragingPeriod.HOUR, AveragingPeriod.NOWCAST], dtype=np.int64), len(rows)
        ),
        unit=np.full(2 * len(rows), table.unit, dtype=np.int64),
        time=np.concatenate([time, time]),
        value=np.concatenate([raw, nowcast]),
    )
    present = both.take(both.value != _MISSING)
    good = acceptable(present, Taken(microseconds(datetime.now(UTC))))
    return present.take(good).last_by_key()


async def load(settings: Settings, console: Console) -> None:
    """Loads what is not loaded yet."""
    console.print(LICENCE, highlight=False)
    database = Postgres(settings.model_copy(update={"postgres_dsn": settings.owner_dsn}))
    await database.start()
    try:
        await _load(
            AirQualityRepository(database), Recorder(database, outbox.append_recent), settings.data_dir, console
        )
    finally:
        await database.close()


async def _load(repository: AirQualityRepository, recorder: Recorder, data_dir: Path, console: Console) -> None:
    loaded = await recorder.find_loaded(SOURCE)
    digests = {name: await asyncio.to_thread(_digest, data_dir / name) for name in (_SITES, *(t.name for t in TABLES))}
    whole = {_SITES_PART: digests[_SITES], **{table.name: digests[table.name] for table in TABLES}}
    if all(loaded.get(part) == digest for part, digest in whole.items()):
        console.print("airquality: already loaded")
        return
    stations = read_sites(data_dir)
    await repository.upsert_stations(PUBLIC_TENANT, stations)
    numbers = await recorder.find_writable(PUBLIC_TENANT, [station.station_id for station in stations])
    await recorder.note_loaded(SOURCE, _SITES_PART, digests[_SITES], len(stations))
    bars = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bars, console=console) as progress:
        for table in TABLES:
            if loaded.get(table.name) != digests[table.name]:
                await _load_table(recorder, data_dir, table, numbers, digests[table.name], loaded, progress)
    console.print(f"airquality: {len(stations)} stations loaded with their readings")


async def _load_table(
    recorder: Recorder,
    data_dir: Path,
    table: Table,
    numbers: dict[str, int],
    digest: str,
    loaded: dict[str, str],
    progress: Progress,
) -> None:
    task = progress.add_task(f"{table.pollutant.name} readings", total=None)
    count = 0
    for day, readings in read_days(data_dir, table, numbers):
        part = f"{table.name} {day}"
        if loaded.get(part) != digest:
            await recorder.load_part(PUBLIC_TENANT, SOURCE, part, digest, readings)
        count += len(readings)
        progress.update(task, completed=count)
    progress.update(task, total=count)
    await recorder.note_loaded(SOURCE, table.name, digest, count)


def _station_id(own_id: str) -> str:
    return f"airnow-{own_id}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Loads, or ends with one clear line."""
    settings = Settings.load()
    missing = [name for name in (_SITES, *(table.name for table in TABLES)) if not (settings.data_dir / name).is_file()]
    if missing:
        sys.exit(f"airquality.load: {settings.data_dir} lacks {', '.join(missing)}")
    if not settings.owner_dsn.get_secret_value():
        sys.exit("airquality.load: GEOMESH_AIRQUALITY_OWNER_DSN must be set")
    asyncio.run(load(settings, Console(soft_wrap=True)))


if __name__ == "__main__":
    main()
