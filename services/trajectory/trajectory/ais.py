"""Reads vessel positions as the US publishes them (MarineCadastre's CSV of AIS messages)."""

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from trajectory.positions import Attributes, Position

METERS_PER_SECOND_PER_KNOT: Final = 1852 / 3600

# What transponders send when they do not know (ITU-R M.1371); whatever is above is no measurement either.
_NO_SPEED_KNOTS: Final = 102.3
_NO_COURSE_DEGREES: Final = 360.0
_NO_HEADING_DEGREES: Final = 360.0


def read_ais(path: Path) -> Iterator[Position]:
    """Yields the positions of a gzipped file in its order, entity ids being `mmsi-` and the vessel's number.

    Attributes, where known: `heading` in degrees, and `navigation_status`, the AIS number from 0 to 15.
    """
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from map(_position, csv.DictReader(file))


def _position(row: Mapping[str, str]) -> Position:
    knots = _below(row["SOG"], _NO_SPEED_KNOTS)
    heading = _below(row["Heading"], _NO_HEADING_DEGREES)
    attributes: Attributes = {} if heading is None else {"heading": heading}
    if row["Status"]:
        attributes["navigation_status"] = int(row["Status"])
    return Position(
        entity_id=f"mmsi-{row['MMSI']}",
        time=datetime.fromisoformat(row["BaseDateTime"]).replace(tzinfo=UTC),
        lat=float(row["LAT"]),
        lng=float(row["LON"]),
        altitude=None,
        accuracy=None,
        speed=None if knots is None else knots * METERS_PER_SECOND_PER_KNOT,
        bearing=_below(row["COG"], _NO_COURSE_DEGREES),
        attributes=json.dumps(attributes) if attributes else None,
    )


def _below(text: str, limit: float) -> float | None:
    value = float(text) if text else limit
    return value if 0 <= value < limit else None
