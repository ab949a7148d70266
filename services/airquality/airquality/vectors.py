"""What a vector tile holds: areas of one category, and the stations."""

import json
from collections.abc import Sequence
from typing import Any, Final

from airquality.feature import Feature
from airquality.index import NONE, category_of, sub_indices
from airquality.standards import Standard
from airquality.surface import Surface
from airquality.tiles import SIZE, Area, Shown, Tile
from airquality.units import LABELS, USUAL_UNITS

CONTOURS: Final = "contours"
STATIONS: Final = "stations"
# A station's symbol may stand over the edge.
_MARGIN: Final = 16.0


def features(tile: Tile, found: Sequence[Area], surfaces: Sequence[Surface], shown: Shown) -> list[Feature]:
    """Returns everything on a tile."""
    return [*(_area(each, shown.standard) for each in found), *_stations(tile, surfaces, shown)]


def _area(area: Area, standard: Standard) -> Feature:
    category = standard.categories[area.category]
    polygons = ",".join(
        "("
        + ",".join("(" + ",".join(f"{x:.2f} {SIZE - y:.2f}" for x, y in ring.tolist()) + ")" for ring in rings)
        + ")"
        for rings in area.polygons
    )
    properties = {
        "category": category.number,
        "name": category.name,
        "color": category.color,
        "lowest": category.lowest,
    }
    return Feature(CONTOURS, f"MULTIPOLYGON({polygons})", json.dumps(properties))


def _stations(tile: Tile, surfaces: Sequence[Surface], shown: Shown) -> list[Feature]:
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for surface in surfaces:
        parts = surface.contributions
        count = len(parts)
        computed = sub_indices(
            shown.standard,
            shown.version,
            [surface.pollutant] * count,
            [surface.averaging_period] * count,
            [part.value for part in parts],
        )
        for part, index in zip(parts, computed.values.tolist(), strict=True):
            column, row = tile.pixels(part.station.lat, part.station.lng)
            if not (-_MARGIN <= column <= SIZE + _MARGIN and -_MARGIN <= row <= SIZE + _MARGIN) or index == NONE:
                continue
            known = found.get(part.station.station_id)
            if known is not None and known[1]["index"] >= index:
                continue
            category = category_of(shown.standard, index)
            properties = {
                "station_id": part.station.station_id,
                "name": part.station.name,
                "provider": part.station.provider,
                "pollutant": surface.pollutant.name,
                "value": round(part.value, 2),
                "unit": LABELS[USUAL_UNITS[surface.pollutant]],
                "time": f"{part.time:%Y-%m-%dT%H:%M:%SZ}",
                "index": index,
                "category": category.number,
                "color": category.color,
            }
            found[part.station.station_id] = (f"POINT({column:.2f} {SIZE - row:.2f})", properties)
    return [Feature(STATIONS, shape, json.dumps(properties)) for shape, properties in found.values()]
