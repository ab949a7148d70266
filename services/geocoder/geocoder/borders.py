"""Which country a point of land or coastal water belongs to, from two sources that each know one half.

country-coder's polygons follow the land borders closely but run far out to sea; Natural Earth's follow the coast but are
coarse at borders and leave small islands out. Held against the 234,908 places of GeoNames, whose country is known,
99.9 % lie in the right polygon of country-coder (none outside of all) and 96.8 % in that of Natural Earth (2.6 % outside
of all). So country-coder says which country, and Natural Earth where its land ends.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

COUNTRY_FILE: Final = "country-coder_borders.geojson.gz"
COAST_FILE: Final = "naturalearth_countries-50m.topojson.gz"

# Coasts at 1:50 million are off by up to some kilometres; a harbour must not lie at sea.
_COAST_TOLERANCE_DEGREES: Final = 0.05
_SLIVER_DEGREES: Final = 0.02
# GeoNames places carry these countries, and the two sources must agree. Elsewhere country-coder's own codes do.
_GEONAMES_VIEW: Final = {"Crimea": "UA", "Northern Cyprus": "CY"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a country.

    Attributes:
        country_code: ISO 3166-1 alpha-2.
        is_land: Whether it is land; else the sea before its coast, out to some hundred kilometres.
        area: Polygons in degrees, longitude first.
    """

    country_code: str
    is_land: bool
    area: BaseGeometry


def country_pieces(folder: Path, country_codes: frozenset[str]) -> Iterator[Piece]:
    """Yields the land and the coastal waters of every country.

    Args:
        folder: Where the two files are.
        country_codes: The codes that GeoNames uses; territories without one count to the country they belong to.
    """
    coast = _land(folder / COAST_FILE)
    shapely.prepare(coast)
    for code, area in sorted(_countries(folder / COUNTRY_FILE, country_codes).items()):
        land = _polygons(shapely.intersection(area, coast))
        water = _polygons(shapely.difference(area, coast))
        if not land.is_empty:
            yield Piece(code, is_land=True, area=land)
        if not water.is_empty:
            yield Piece(code, is_land=False, area=water)


def point_inside(folder: Path, country_code: str) -> tuple[float, float]:
    """Returns latitude and longitude in degrees of a point well inside a country, for those where nobody lives."""
    area = _countries(folder / COUNTRY_FILE, frozenset({country_code}))[country_code]
    largest = max(shapely.get_parts(area), key=shapely.area)
    point = shapely.point_on_surface(largest)
    return round(float(shapely.get_y(point)), 5), round(float(shapely.get_x(point)), 5)


def _countries(path: Path, country_codes: frozenset[str]) -> dict[str, BaseGeometry]:
    features = json.loads(gzip.decompress(path.read_bytes()))["features"]
    parts: defaultdict[str, list[BaseGeometry]] = defaultdict(list)
    for feature in features:
        code = _country_code(feature["properties"], country_codes)
        if feature["geometry"] is not None and code:
            parts[code].append(
                shapely.make_valid(shapely.transform(shape(feature["geometry"]), _up_to_the_antimeridian))
            )
    return {code: _polygons(shapely.union_all(geometries)) for code, geometries in parts.items()}


def _up_to_the_antimeridian(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Closes the slivers that the source leaves there, so that a point on the meridian lies within its country."""
    lng = positions[:, 0]
    near = np.abs(lng) > 180 - _SLIVER_DEGREES
    return np.column_stack((np.where(near, np.copysign(180.0, lng), lng), positions[:, 1]))


def _country_code(properties: Mapping[str, Any], country_codes: frozenset[str]) -> str:
    """Returns the code that GeoNames gives places there; empty for land that no country claims."""
    own = [_GEONAMES_VIEW.get(properties["nameEn"]), properties.get("iso1A2")]
    belongs_to = [*properties.get("groups", ()), properties.get("country")]
    return next((code for code in (*own, *belongs_to) if code in country_codes and code != "EU"), "")


def _land(path: Path) -> BaseGeometry:
    """Returns all land of the earth, widened by the tolerance."""
    topology = json.loads(gzip.decompress(path.read_bytes()))
    arcs = [_arc(each, topology.get("transform")) for each in topology["arcs"]]
    polygons = []
    for country in topology["objects"]["countries"]["geometries"]:
        nested = {"Polygon": [country.get("arcs")], "MultiPolygon": country.get("arcs")}.get(country["type"], [])
        for rings in nested:
            outer, *holes = (_ring(each, arcs) for each in rings)
            polygons.append(_clip(shapely.Polygon(outer, holes)))
    widened: BaseGeometry = shapely.buffer(shapely.union_all(polygons), _COAST_TOLERANCE_DEGREES, quad_segs=2)
    return widened


def _arc(steps: list[list[int]], transform: Mapping[str, Any] | None) -> NDArray[np.float64]:
    if transform is None:
        return np.asarray(steps, dtype=np.float64)
    moved: NDArray[np.float64] = np.cumsum(np.asarray(steps), axis=0) * transform["scale"] + transform["translate"]
    return moved


def _ring(indices: list[int], arcs: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Joins arcs to a ring that does not jump at the antimeridian: there it goes on beyond 180 degrees."""
    joined = [arcs[index] if index >= 0 else arcs[~index][::-1] for index in indices]
    ring = np.concatenate([joined[0], *(arc[1:] for arc in joined[1:])])
    continuous = ring.copy()
    continuous[:, 0] = np.unwrap(ring[:, 0], period=360.0)
    # A ring around a pole does not close when it is unrolled; the source closes it along the pole itself.
    return continuous if np.isclose(continuous[0, 0], continuous[-1, 0]) else ring


def _clip(polygon: BaseGeometry) -> BaseGeometry:
    """Brings what lies beyond 180 degrees back to the other side."""
    valid = shapely.make_valid(polygon)
    parts = [
        translate(shapely.clip_by_rect(valid, turn - 180, -90, turn + 180, 90), xoff=-turn) for turn in (-360, 0, 360)
    ]
    return shapely.union_all([part for part in parts if not part.is_empty])


def _polygons(geometry: BaseGeometry) -> BaseGeometry:
    """Drops the points and lines that an overlay leaves where two areas only touch."""
    parts = shapely.get_parts(shapely.make_valid(geometry))
    return shapely.MultiPolygon([part for part in shapely.get_parts(parts) if part.geom_type == "Polygon"])
