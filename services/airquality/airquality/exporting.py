"""Exports readings: `python -m airquality.exporting --format csv|geojson|parquet --output FILE`.

A command and not an RPC: an export runs for minutes, where a call has a deadline, and goes into a file.
"""

import argparse
import asyncio
import csv
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self

import pyarrow as pa  # type: ignore[import-untyped]  # carries no types
import pyarrow.parquet  # type: ignore[import-untyped]  # carries no types
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from airquality.quality import Flag
from airquality.repository import QUERIES
from airquality.settings import Settings
from airquality.units import AveragingPeriod, Pollutant, Unit
from meshkit.errors import MeshError
from meshkit.identity import PUBLIC_TENANT
from meshkit.postgres import Postgres


class Row(NamedTuple):
    """One exported reading; in CSV and Parquet its fields are the columns, time in UTC."""

    station_id: str
    sensor_id: str
    lat: float
    lng: float
    pollutant: str
    averaging_period: str
    time: datetime
    value: float
    unit: str
    flags: str


_SCHEMA: Final = pa.schema(
    [
        ("station_id", pa.string()),
        ("sensor_id", pa.string()),
        ("lat", pa.float64()),
        ("lng", pa.float64()),
        ("pollutant", pa.string()),
        ("averaging_period", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("value", pa.float64()),
        ("unit", pa.string()),
        ("flags", pa.string()),
    ]
)


class File(Protocol):
    """A file of one format, used as a context."""

    def __enter__(self) -> Self:
        """Returns itself."""

    def write(self, rows: Sequence[Row]) -> None:
        """Writes rows, of which there is one at least."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Ends the file."""


class CsvFile:
    """Comma-separated values with a header."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(Row._fields)

    def __enter__(self) -> Self:
        return self

    def write(self, rows: Sequence[Row]) -> None:
        """Writes rows."""
        self._writer.writerows([*row[:6], _iso(row.time), *row[7:]] for row in rows)

    def __exit__(self, *_: object) -> None:
        self._file.close()


class GeoJsonFile:
    """A feature collection (RFC 7946) with a point a reading, one on a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._file.write('{"type": "FeatureCollection", "features": [')
        self._separator = "\n"

    def __enter__(self) -> Self:
        return self

    def write(self, rows: Sequence[Row]) -> None:
        """Writes rows."""
        for row in rows:
            properties = row._asdict() | {"time": _iso(row.time)}
            del properties["lat"], properties["lng"]
            point = {"type": "Point", "coordinates": [row.lng, row.lat]}
            feature = {"type": "Feature", "geometry": point, "properties": properties}
            self._file.write(self._separator + json.dumps(feature, ensure_ascii=False))
            self._separator = ",\n"

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._file.write("\n]}\n")
        self._file.close()


class ParquetFile:
    """Parquet, compressed with zstd."""

    def __init__(self, path: Path) -> None:
        self._writer = pa.parquet.ParquetWriter(path, _SCHEMA, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def write(self, rows: Sequence[Row]) -> None:
        """Writes rows."""
        columns: Any = list(zip(*rows, strict=True))
        self._writer.write_table(pa.table(columns, schema=_SCHEMA))

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._writer.close()


FORMATS: Final[dict[str, Callable[[Path], File]]] = {"csv": CsvFile, "geojson": GeoJsonFile, "parquet": ParquetFile}


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _flags(bits: int) -> str:
    return "|".join(str(flag.name) for flag in Flag if bits & flag)


async def _rows(database: Postgres, series: Any, start: datetime, end: datetime) -> list[Row]:
    """Returns the readings of one series."""
    station_id, sensor_id, lat, lng, holder, pollutant, period = series
    found = await database.fetch(QUERIES["find_series_readings"], holder, pollutant, period, start, end)
    names = (Pollutant(pollutant).name, AveragingPeriod(period).name)
    return [
        Row(station_id, sensor_id, lat, lng, *names, time, value, Unit(unit).name, _flags(flags))
        for time, value, unit, flags in found
    ]


async def export(settings: Settings, arguments: argparse.Namespace, console: Console) -> None:
    """Writes the file; one that is not finished keeps the name with `.part`."""
    west, south, east, north = arguments.bbox
    pollutant = Pollutant[arguments.pollutant] if arguments.pollutant else None
    wanted = (arguments.tenant, arguments.station, west, east, south, north, pollutant)
    database = Postgres(settings)
    await database.start()
    part, count = arguments.output.with_name(arguments.output.name + ".part"), 0
    try:
        every = await database.fetch(QUERIES["find_exported_series"], *wanted, tenant=arguments.tenant)
        bars = (TextColumn("series"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with FORMATS[arguments.format](part) as file, Progress(*bars, console=console) as progress:
            for series in progress.track(every):
                if rows := await _rows(database, series, arguments.start, arguments.end):
                    file.write(rows)
                    count += len(rows)
    finally:
        await database.close()
    part.replace(arguments.output)
    console.print(f"{count} readings are in {arguments.output}", highlight=False)


def _box(text: str) -> tuple[float, ...]:
    box = tuple(float(each) for each in text.split(","))
    if len(box) != 4 or box[1] > box[3]:  # noqa: PLR2004 -- four sides
        raise ValueError
    return box


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def main() -> None:
    """Exports, or ends with one clear line."""
    parser = argparse.ArgumentParser(prog="python -m airquality.exporting", description=__doc__)
    parser.add_argument("--tenant", default=PUBLIC_TENANT, help="who exports: own and public stations")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--station", action="append", default=[], help="only this station_id; may be repeated")
    parser.add_argument("--bbox", type=_box, default=(-180.0, -90.0, 180.0, 90.0), help="west,south,east,north")
    parser.add_argument("--pollutant", choices=[each.name for each in Pollutant])
    parser.add_argument("--start", type=_time, default=datetime(1980, 1, 1, tzinfo=UTC), help="first time, ISO 8601")
    parser.add_argument("--end", type=_time, default=datetime(9999, 1, 1, tzinfo=UTC), help="the time after the last")
    arguments, settings = parser.parse_args(), Settings.load()
    try:
        asyncio.run(export(settings, arguments, Console(soft_wrap=True)))
    except (OSError, MeshError) as error:
        sys.exit(f"airquality.exporting: {error}")


if __name__ == "__main__":
    main()
