"""Imports files: `python -m airquality.importing airnow|openaq|epa-daily|table FILE…`.

What is stored already is recognized, so that an import that was stopped is started again as it was.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from airquality.importing.publishers import Unreadable, airnow, epa_daily, openaq
from airquality.importing.rows import Chunk, Chunks, readings_of
from airquality.importing.tables import Mapped, read
from airquality.intervals import microseconds, zone_of
from airquality.live import outbox
from airquality.readings import Taken
from airquality.recorder import Recorder
from airquality.repository import AirQualityRepository
from airquality.settings import Settings
from airquality.stations import MOST_MOVED_METERS
from meshkit.errors import InvalidInput
from meshkit.identity import PUBLIC_TENANT
from meshkit.postgres import Postgres


class Importer:
    """Stores what readers read."""

    def __init__(self, database: Postgres, tenant: str) -> None:
        self._repository = AirQualityRepository(database)
        self._recorder = Recorder(database, outbox.append_recent)
        self._tenant = tenant
        self._numbers: dict[str, int] = {}
        self.stored = self.changed = 0
        self.refused: dict[str, int] = {}

    async def take(self, chunk: Chunk) -> None:
        """Stores a chunk."""
        for reason, count in chunk.skipped.items():
            self._refuse(reason, count)
        if chunk.stations:
            moved = await self._repository.find_moved(self._tenant, chunk.stations, MOST_MOVED_METERS)
            for station_id in moved:
                self._refuse(f"station {station_id} has moved: its old place is kept", 1)
            stay = [each for each in chunk.stations if each.station_id not in moved]
            if stay:
                await self._repository.upsert_stations(self._tenant, stay)
        names = {row[0] for row in chunk.rows} - set(self._numbers)
        if names:
            self._numbers |= await self._recorder.find_writable(self._tenant, names)
        strangers = sum(row[0] not in self._numbers for row in chunk.rows)
        known = [row for row in chunk.rows if row[0] in self._numbers]
        if strangers:
            self._refuse("station that is not registered and has no place in the file", strangers)
        if known:
            readings, bad = readings_of(known, self._numbers, Taken(microseconds(datetime.now(UTC))))
            if bad:
                self._refuse("value, unit or time that cannot be", bad)
            if len(readings):
                self.stored += len(readings)
                self.changed += await self._recorder.store_readings(self._tenant, readings)

    def _refuse(self, reason: str, count: int) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + count


async def run(settings: Settings, tenant: str, files: Sequence[tuple[Path, Chunks]], console: Console) -> None:
    """Imports files one after another and prints what became of them."""
    database = Postgres(settings.model_copy(update={"postgres_dsn": settings.owner_dsn}))
    await database.start()
    try:
        importer = Importer(database, tenant)
        bars = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*bars, console=console) as progress:
            for path, chunks in files:
                task = progress.add_task(path.name, total=path.stat().st_size)
                for chunk in chunks:
                    await importer.take(chunk)
                    progress.update(task, completed=chunk.done)
                progress.update(task, completed=path.stat().st_size)
    finally:
        await database.close()
    console.print(
        f"{importer.stored} readings are stored, {importer.changed} of them new or corrected", highlight=False
    )
    for reason, count in sorted(importer.refused.items(), key=lambda each: -each[1])[:20]:
        console.print(f"  not stored: {count}: {reason}", highlight=False)


def _chunks(arguments: argparse.Namespace, path: Path) -> Chunks:
    if arguments.format == "airnow":
        return airnow(path, arguments.sites)
    if arguments.format == "openaq":
        return openaq(path)
    zone = zone_of(arguments.time_zone)
    if arguments.format == "epa-daily":
        return epa_daily(path, zone)
    pairs = {name: dict(each.split("=", 1) for each in getattr(arguments, name)) for name in ("map", "set", "column")}
    return read(path, Mapped(pairs["map"], pairs["set"], pairs["column"], arguments.provider, zone))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m airquality.importing", description=__doc__)
    parser.add_argument("--tenant", default=PUBLIC_TENANT, help="whose readings they become")
    formats = parser.add_subparsers(dest="format", required=True)
    hourly = formats.add_parser("airnow", help="AirNow's HourlyData files")
    hourly.add_argument("--sites", type=Path, help="AirNow's monitoring_site_locations.dat")
    formats.add_parser("openaq", help="OpenAQ's CSV files")
    daily = formats.add_parser("epa-daily", help="the EPA's daily files")
    table = formats.add_parser("table", help="any CSV or Parquet file")
    table.add_argument("--map", action="append", default=[], metavar="FIELD=COLUMN", help="what a column means")
    table.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="what all rows have")
    table.add_argument("--column", action="append", default=[], metavar="POLLUTANT=COLUMN", help="of wide tables")
    table.add_argument("--provider", default="import", help="who publishes the readings")
    for each in (daily, table):
        each.add_argument("--time-zone", default="UTC", help="of times that name none")
    for each in formats.choices.values():
        each.add_argument("files", nargs="+", type=Path)
    return parser.parse_args()


def main() -> None:
    """Imports, or ends with one clear line."""
    arguments, settings = _arguments(), Settings.load()
    if not settings.owner_dsn.get_secret_value():
        sys.exit("airquality.importing: GEOMESH_AIRQUALITY_OWNER_DSN must be set")
    try:
        files = [(path, _chunks(arguments, path)) for path in arguments.files]
        asyncio.run(run(settings, arguments.tenant, files, Console(soft_wrap=True)))
    except (Unreadable, InvalidInput, OSError, ValueError) as error:
        sys.exit(f"airquality.importing: {error}")


if __name__ == "__main__":
    main()
