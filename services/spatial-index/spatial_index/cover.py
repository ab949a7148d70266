"""Covers an area with cells of the H3 grid."""

import math
from enum import Enum
from typing import NamedTuple

import h3  # type: ignore[import-untyped]  # ships no types
import numpy as np
import shapely

from meshkit.errors import InvalidInput, Reason
from spatial_index.area import Area, area_of_ring

_HEXAGON = 3 * math.sqrt(3) / 2
"""Area of a regular hexagon of edge 1."""

_CROSSINGS = 6 / (math.pi * _HEXAGON)
"""Cells of a hexagonal grid that a line of the length of one edge newly enters, on average over all directions.

By Cauchy's formula it is the perimeter of a cell over pi times its area.
"""

_SAMPLES = 64


class Containment(Enum):
    """Which cells cover an area; the values are H3's names."""

    CENTER = "center"
    FULL = "full"
    OVERLAPPING = "overlap"


class Cover(NamedTuple):
    """The cells that cover an area.

    Attributes:
        cells: Names, in no particular order.
        cell_count: How many they were before compaction.
    """

    cells: list[str]
    cell_count: int


def cover(area: Area, resolution: int, containment: Containment, *, compact: bool, max_cells: int) -> Cover:
    """Returns the cells of a resolution that cover an area, compacted on demand.

    Raises:
        InvalidInput: With RESULT_TOO_LARGE, when it would take more than about `max_cells` cells before compaction.
    """
    size = estimate_size(area, resolution, containment)
    if size > max_cells:
        raise InvalidInput("resolution", _too_fine(area, containment, size, max_cells), reason=Reason.RESULT_TOO_LARGE)
    cells = _cells(area, resolution, containment)
    return Cover(h3.compact_cells(cells) if compact else list(cells), len(cells))


def estimate_size(area: Area, resolution: int, containment: Containment) -> int:
    """Returns about how many cells cover an area, from its size and perimeter alone."""
    cell_area = _local_cell_area(area, resolution)
    inside = area.square_meters() / cell_area
    on_border = area.perimeter_meters() / math.sqrt(cell_area / _HEXAGON) * _CROSSINGS
    match containment:
        case Containment.CENTER:
            size = inside
        case Containment.FULL:
            # Not the difference, because a narrow area has more cells on its border than within.
            size = inside * inside / (inside + on_border / 2)
        case Containment.OVERLAPPING:
            size = inside + on_border / 2 + 1
    all_cells: int = h3.get_num_cells(resolution)
    return min(round(size), all_cells)


def _too_fine(area: Area, containment: Containment, size: int, max_cells: int) -> str:
    for resolution in range(15, -1, -1):
        if estimate_size(area, resolution, containment) <= max_cells:
            return f"takes about {size} cells, more than {max_cells}; the finest resolution that fits is {resolution}"
    return f"takes about {size} cells, more than {max_cells}, and so does every resolution"


def _local_cell_area(area: Area, resolution: int) -> float:
    """Returns the mean area in square metres of the cells at some corners of an area: they differ by half on Earth."""
    corners = shapely.get_coordinates(area.geometry)
    corners = corners[:: math.ceil(len(corners) / _SAMPLES)]
    places = [h3.latlng_to_cell(lat, lng, resolution) for lng, lat in corners.tolist()]
    return math.fsum(h3.cell_area(cell, unit="m^2") for cell in places) / len(places)


def _cells(area: Area, resolution: int, containment: Containment) -> set[str]:
    cells = _union(area, resolution, containment)
    if containment is Containment.FULL:
        # H3 sees the cuts between the slices as borders: it leaves out the cells on them.
        doubtful = list(_union(area, resolution, Containment.CENTER) - cells)
        shapely.prepare(area.geometry)
        within = shapely.covers(area.geometry, [_polygon(cell) for cell in doubtful])
        cells.update(np.array(doubtful)[within].tolist())
    elif containment is Containment.OVERLAPPING:
        # H3 finds no cell for an area that lies within one, and may miss one that an area only dips into.
        cells.update(
            h3.latlng_to_cell(lat, lng, resolution) for lng, lat in shapely.get_coordinates(area.geometry).tolist()
        )
    return cells


def _union(area: Area, resolution: int, containment: Containment) -> set[str]:
    """Returns the cells that H3 finds for the slices of an area: it takes no polygon of more than half a turn."""
    cells: set[str] = set()
    for piece in area.slices():
        holes = [_lat_lng(hole) for hole in piece.interiors]
        shape = h3.LatLngPoly(_lat_lng(piece.exterior), *holes)
        cells.update(h3.h3shape_to_cells_experimental(shape, resolution, containment.value))
    return cells


def _lat_lng(ring: shapely.LinearRing) -> list[tuple[float, float]]:
    return [(lat, lng) for lng, lat in shapely.get_coordinates(ring).tolist()]


def _polygon(cell: str) -> shapely.Geometry:
    """Returns a cell as an area with edges straight in longitude and latitude."""
    corners = [(lng, lat) for lat, lng in h3.cell_to_boundary(cell)]
    return area_of_ring(np.array([*corners, corners[0]]), cell).geometry
