"""Readers of AirNow's hourly files, OpenAQ's CSV and the EPA's daily files."""

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from airquality.importing.rows import Chunk, Chunks, Row, Skipped, pollutant_of, unit_of
from airquality.intervals import microseconds
from airquality.stations import Station
from airquality.units import AveragingPeriod

_CHUNK_ROWS: Final = 20_000
_AIRNOW_COLUMNS: Final = ("date", "time", "aqsid", "site", "offset", "parameter", "unit", "value", "source")
_HOUR: Final = timedelta(hours=1)

_EPA_VALUES: Final = {
    "Daily Mean PM2.5 Concentration": ("PM25", AveragingPeriod.TWENTY_FOUR_HOURS),
    "Daily Mean PM10 Concentration": ("PM10", AveragingPeriod.TWENTY_FOUR_HOURS),
    "Daily Max 8-hour Ozone Concentration": ("O3", AveragingPeriod.EIGHT_HOURS),
    "Daily Max 8-hour CO Concentration": ("CO", AveragingPeriod.EIGHT_HOURS),
    "Daily Max 1-hour NO2 Concentration": ("NO2", AveragingPeriod.HOUR),
    "Daily Max 1-hour SO2 Concentration": ("SO2", AveragingPeriod.HOUR),
}


class Unreadable(ValueError):
    """A file is not what its format says; the message tells why."""


class Parsed(NamedTuple):
    """One row of a file."""

    row: Row
    station: Station | None


Parse = Callable[[Mapping[str, str]], "Parsed | str"]
"""Returns what a row says, or why it is not kept."""


def airnow(path: Path, sites: Path | None) -> Chunks:
    """Reads an HourlyData file: pipes, no header, times of UTC at which the hours begin.

    Args:
        path: The file, plain or gzip.
        sites: AirNow's monitoring_site_locations.dat, for the places of stations; None where they are registered.
    """
    places = {} if sites is None else _airnow_sites(sites)

    def parse(row: Mapping[str, str]) -> Parsed | str:
        pollutant, unit = pollutant_of(row["parameter"]), unit_of(row["unit"])
        if pollutant is None:
            return f"parameter {row['parameter']}"
        if unit is None:
            return f"unit {row['unit']}"
        begin = datetime.strptime(f"{row['date']} {row['time']} +0000", "%m/%d/%y %H:%M %z")
        station_id = f"airnow-{row['aqsid']}"
        return Parsed(
            (station_id, pollutant, AveragingPeriod.HOUR, unit, microseconds(begin), float(row["value"])),
            places.get(station_id),
        )

    return _chunks(path, parse, delimiter="|", columns=_AIRNOW_COLUMNS)


def openaq(path: Path) -> Chunks:
    """Reads OpenAQ's CSV: that of its archive (v3) or of its older exports; both give the end of the hour."""

    def parse(row: Mapping[str, str]) -> Parsed | str:
        pollutant, unit = pollutant_of(row["parameter"]), unit_of(row.get("units") or row.get("unit") or "")
        if pollutant is None:
            return f"parameter {row['parameter']}"
        if unit is None:
            return f"unit {row.get('units') or row.get('unit')}"
        end = datetime.fromisoformat(row.get("datetime") or row["utc"])
        station_id = f"openaq-{row.get('location_id') or row['locationId']}"
        lat, lng = row.get("lat") or row["latitude"], row.get("lon") or row["longitude"]
        name = row["location"]
        station = Station(station_id, "openaq", name, "", float(lat), float(lng)) if lat and lng else None
        begin = microseconds(end if end.tzinfo else end.replace(tzinfo=UTC)) - microseconds(_epoch() + _HOUR)
        return Parsed((station_id, pollutant, AveragingPeriod.HOUR, unit, begin, float(row["value"])), station)

    return _chunks(path, parse, needed=("parameter", "value", "location"))


def epa_daily(path: Path, zone: ZoneInfo) -> Chunks:
    """Reads the EPA's daily files: one value a monitor and day of the local time in `zone`, at whose start it is put."""

    def parse(row: Mapping[str, str]) -> Parsed | str:
        column = next((each for each in _EPA_VALUES if each in row), None)
        if column is None:
            raise Unreadable(f"none of its columns is one of {', '.join(_EPA_VALUES)}")
        name, period = _EPA_VALUES[column]
        pollutant, unit = pollutant_of(name), unit_of(row.get("UNITS") or row.get("Units") or "")
        if pollutant is None or unit is None:
            return f"unit {row.get('UNITS') or row.get('Units')}"
        day = datetime.strptime(f"{row['Date']} +0000", "%m/%d/%Y %z").replace(tzinfo=zone)
        station_id = f"aqs-{row['Site ID']}-{row['POC']}"
        lat, lng = row.get("SITE_LATITUDE") or row["Site Latitude"], row.get("SITE_LONGITUDE") or row["Site Longitude"]
        site = row.get("Site Name") or row.get("Local Site Name") or ""
        station = Station(station_id, "aqs", site, "", float(lat), float(lng))
        return Parsed((station_id, pollutant, period, unit, microseconds(day), float(row[column])), station)

    return _chunks(path, parse, needed=("Date", "Site ID", "POC"))


def _epoch() -> datetime:
    return datetime.fromtimestamp(0, UTC)


def _airnow_sites(path: Path) -> dict[str, Station]:
    """Returns the stations of AirNow's list: columns by their place, AQSID first, latitude and longitude ninth and tenth."""
    sites = {}
    with _open(path)[0] as file:
        for row in csv.reader(file, delimiter="|"):
            station_id = f"airnow-{row[0]}"
            sites[station_id] = Station(station_id, "airnow", row[3], row[6], float(row[8]), float(row[9]))
    return sites


def _open(path: Path) -> tuple[io.TextIOWrapper, io.BufferedReader]:
    """Returns a file as text, and what tells how many bytes of it are read."""
    raw = path.open("rb")
    packed = raw.peek(2)[:2] == b"\x1f\x8b"
    return io.TextIOWrapper(gzip.GzipFile(fileobj=raw) if packed else raw, "utf-8-sig", newline=""), raw


def _chunks(
    path: Path, parse: Parse, *, delimiter: str = ",", columns: tuple[str, ...] = (), needed: tuple[str, ...] = ()
) -> Iterator[Chunk]:
    text, raw = _open(path)
    with text, raw:
        reader = csv.DictReader(text, fieldnames=columns or None, delimiter=delimiter)
        missing = [each for each in needed if each not in (reader.fieldnames or ())]
        if missing:
            raise Unreadable(f"lacks the columns {', '.join(missing)}")
        seen: set[str] = set()
        rows: list[Row] = []
        stations: list[Station] = []
        skipped = Skipped()
        for row in reader:
            try:
                parsed = parse(row)
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, Unreadable):
                    raise
                skipped.add(f"unreadable: {error}"[:80])
                continue
            if isinstance(parsed, str):
                skipped.add(parsed)
                continue
            rows.append(parsed.row)
            if parsed.station is not None and parsed.station.station_id not in seen:
                seen.add(parsed.station.station_id)
                stations.append(parsed.station)
            if len(rows) >= _CHUNK_ROWS:
                yield Chunk(rows, stations, skipped.counts, raw.tell())
                rows, stations, skipped = [], [], Skipped()
        yield Chunk(rows, stations, skipped.counts, raw.tell())
