"""Reads vessels as the US publishes their positions (MarineCadastre's CSV of AIS messages)."""

import csv
import gzip
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from spatial_index.entities import Entity

_METERS_PER_SECOND_PER_KNOT: Final = 1852 / 3600

# What transponders send when they do not know (ITU-R M.1371); whatever is above is no measurement either.
_NO_SPEED_KNOTS: Final = 102.3
_NO_DIRECTION_DEGREES: Final = 360.0

_NO_IMO_NUMBER: Final = "IMO0000000"

# Attributes and the columns they come from; empty ones, and lengths of 0, are unknown.
_TEXTS = {"name": "VesselName", "call_sign": "CallSign", "imo": "IMO", "transceiver_class": "TransceiverClass"}
_CODES = {"vessel_type": "VesselType", "navigation_status": "Status", "cargo": "Cargo"}
_METERS = {"length_meters": "Length", "width_meters": "Width", "draft_meters": "Draft"}


def read_vessels(path: Path) -> list[Entity]:
    """Returns the last position of each vessel in a gzipped file, entity ids being `mmsi-` and the vessel's number.

    Attributes, where known: `name`, `call_sign`, `imo`, `transceiver_class`, the AIS numbers `vessel_type`,
    `navigation_status` and `cargo`, `length_meters`, `width_meters`, `draft_meters`, and `heading` in degrees clockwise
    from north.
    """
    last: dict[str, Mapping[str, str]] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            known = last.get(row["MMSI"])
            # ISO 8601 without a zone: text compares as time does.
            if known is None or row["BaseDateTime"] >= known["BaseDateTime"]:
                last[row["MMSI"]] = row
    return [_vessel(row) for row in last.values()]


def _vessel(row: Mapping[str, str]) -> Entity:
    knots = _below(row["SOG"], _NO_SPEED_KNOTS)
    heading = _below(row["Heading"], _NO_DIRECTION_DEGREES)
    attributes: dict[str, str | float | bool] = {
        **{name: row[column] for name, column in _TEXTS.items() if row[column] not in {"", _NO_IMO_NUMBER}},
        **{name: int(row[column]) for name, column in _CODES.items() if row[column]},
        **{name: meters for name, column in _METERS.items() if (meters := _number(row[column]))},
    }
    if heading is not None:
        attributes["heading"] = heading
    return Entity(
        entity_id=f"mmsi-{row['MMSI']}",
        lat=float(row["LAT"]),
        lng=float(row["LON"]),
        time=datetime.fromisoformat(row["BaseDateTime"]).replace(tzinfo=UTC),
        speed=None if knots is None else knots * _METERS_PER_SECOND_PER_KNOT,
        bearing=_below(row["COG"], _NO_DIRECTION_DEGREES),
        type="vessel",
        attributes=attributes,
    )


def _below(text: str, limit: float) -> float | None:
    """Returns a measurement, or None where there is none."""
    value = float(text) if text else limit
    return value if 0 <= value < limit else None


def _number(text: str) -> float:
    """Returns a number, whole ones as JSON prints them; 0 where there is none."""
    value = float(text or 0)
    return int(value) if value.is_integer() else value
