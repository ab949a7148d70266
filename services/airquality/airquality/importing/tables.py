"""The reader of any CSV or Parquet file, told which of its columns mean what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa  # type: ignore[import-untyped]  # carries no types
import pyarrow.csv  # type: ignore[import-untyped]  # carries no types
import pyarrow.parquet  # type: ignore[import-untyped]  # carries no types

from airquality.importing.publishers import Unreadable
from airquality.importing.rows import Chunk, Chunks, Row, Skipped, period_of, pollutant_of, unit_of
from airquality.intervals import microseconds
from airquality.stations import Station

FIELDS: Final = (
    "station_id",
    "time",
    "pollutant",
    "value",
    "unit",
    "averaging_period",
    "lat",
    "lng",
    "name",
    "agency",
)
"""What a column, or a constant, can be."""

_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Mapped:
    """Which columns of a table mean what.

    Attributes:
        columns: Columns by what they are, of FIELDS.
        constants: What is the same for all rows, of FIELDS.
        pollutants: Columns that hold one pollutant each, by its name, for tables with several in a row.
        provider: Who publishes the readings.
        zone: The time zone of times that name none.
    """

    columns: Mapping[str, str]
    constants: Mapping[str, str]
    pollutants: Mapping[str, str]
    provider: str
    zone: ZoneInfo

    def check(self, names: Sequence[str]) -> None:
        """Returns when a table with these columns can be read.

        Raises:
            Unreadable: It cannot.
        """
        wanted = [*self.columns.values(), *self.pollutants.values()]
        missing = [each for each in wanted if each not in names]
        if missing:
            raise Unreadable(f"lacks the columns {', '.join(missing)}; it has {', '.join(names)}")
        given = {*self.columns, *self.constants}
        unknown = given - set(FIELDS)
        if unknown:
            raise Unreadable(f"nothing is called {', '.join(sorted(unknown))}; there are {', '.join(FIELDS)}")
        needed = {"station_id", "time"} | (set() if self.pollutants else {"pollutant", "value"})
        if needed - given:
            raise Unreadable(f"map {', '.join(sorted(needed - given))} to a column or a constant")


def read(path: Path, mapped: Mapped) -> Chunks:
    """Reads a table, Parquet by its name's end, else CSV, plain or gzip."""
    seen: set[str] = set()
    if path.suffix == ".parquet":
        file = pa.parquet.ParquetFile(path)
        mapped.check(file.schema_arrow.names)
        size, total = path.stat().st_size, max(file.metadata.num_rows, 1)
        done = 0
        for batch in file.iter_batches():
            done += batch.num_rows
            yield _chunk(batch, mapped, seen, size * done // total)
        return
    with path.open("rb") as raw:
        stream = pa.CompressedInputStream(raw, "gzip") if path.suffix == ".gz" else raw
        # Everything as text: a site called 0060 must keep its zeros.
        options = pa.csv.ReadOptions(block_size=_BLOCK_BYTES)
        header = _header(path)
        mapped.check(header)
        convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True)
        for batch in pa.csv.open_csv(stream, read_options=options, convert_options=convert):
            yield _chunk(batch, mapped, seen, raw.tell())


def _header(path: Path) -> list[str]:
    with path.open("rb") as raw:
        stream = pa.CompressedInputStream(raw, "gzip") if path.suffix == ".gz" else raw
        names: list[str] = pa.csv.open_csv(stream).schema.names
        return names


def _chunk(batch: Any, mapped: Mapped, seen: set[str], done: int) -> Chunk:
    table: dict[str, list[Any]] = batch.to_pydict()
    rows: list[Row] = []
    stations: list[Station] = []
    skipped = Skipped()
    for place in range(batch.num_rows):
        fields = dict(mapped.constants) | {name: table[column][place] for name, column in mapped.columns.items()}
        try:
            rows += _rows(fields, {name: table[column][place] for name, column in mapped.pollutants.items()}, mapped)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            skipped.add(f"unreadable: {error}"[:80])
            continue
        station_id = str(fields["station_id"])
        if station_id not in seen and fields.get("lat") and fields.get("lng"):
            seen.add(station_id)
            names = (str(fields.get("name") or ""), str(fields.get("agency") or ""))
            place_of = (float(fields["lat"]), float(fields["lng"]))
            stations.append(Station(station_id, mapped.provider, *names, *place_of))
    return Chunk(rows, stations, skipped.counts, done)


def _rows(fields: Mapping[str, Any], wide: Mapping[str, Any], mapped: Mapped) -> list[Row]:
    """Returns the readings of one row, none for empty values.

    Raises:
        KeyError, TypeError, ValueError: A field cannot be read.
    """
    time = _time(fields["time"], mapped.zone)
    period = period_of(fields.get("averaging_period") or "HOUR")
    found = wide.items() if wide else [(fields["pollutant"], fields["value"])]
    rows = []
    for name, value in found:
        pollutant = pollutant_of(name)
        if pollutant is None:
            raise ValueError(f"pollutant {name}")
        unit = 0
        if fields.get("unit"):
            named = unit_of(fields["unit"])
            if named is None:
                raise ValueError(f"unit {fields['unit']}")
            unit = named
        if value not in (None, "", "NA"):
            rows.append((str(fields["station_id"]), int(pollutant), int(period), int(unit), time, float(value)))
    return rows


def _time(given: Any, zone: ZoneInfo) -> int:
    """Returns a time in microseconds since 1970: ISO 8601, or seconds since 1970 as a number."""
    if isinstance(given, int | float):
        return microseconds(datetime.fromtimestamp(given, UTC))
    when = given if isinstance(given, datetime) else datetime.fromisoformat(str(given).strip())
    return microseconds(when if when.tzinfo else when.replace(tzinfo=zone))
