"""Cells of the H3 grid: their names, measures and relatives."""

import re
from dataclasses import dataclass

import h3  # type: ignore[import-untyped]  # ships no types

from meshkit.errors import InvalidInput

_CANONICAL = re.compile(r"[0-9a-f]{15}")
_FINEST = 15


@dataclass(frozen=True, slots=True)
class Cell:
    """What H3 knows of a cell. Sizes are on H3's sphere.

    Attributes:
        name: The index in lower-case hexadecimal.
        resolution: 0 to 15.
        center: Latitude and longitude in degrees.
        boundary: Latitudes and longitudes of the corners, counter-clockwise, the first not repeated.
        area_square_meters: The area.
        edge_length_meters: The mean length of the edges.
        parent: The cell one resolution coarser; empty at resolution 0.
        children_count: How many cells one resolution finer descend from it; 0 at resolution 15.
        pentagon: Whether it is one of the twelve pentagons of its resolution.
        base_cell: Number of its ancestor of resolution 0, 0 to 121.
    """

    name: str
    resolution: int
    center: tuple[float, float]
    boundary: tuple[tuple[float, float], ...]
    area_square_meters: float
    edge_length_meters: float
    parent: str
    children_count: int
    pentagon: bool
    base_cell: int


def require_cell(text: str, field: str) -> str:
    """Returns the name of a cell as it came.

    A cell has one name, so that names can be compared as they are.

    Raises:
        InvalidInput: It names no cell, or not in the canonical spelling; `field` is blamed.
    """
    if _CANONICAL.fullmatch(text) and h3.is_valid_cell(text):
        return text
    raise InvalidInput(field, _misnomer(text))


def describe(cell: str) -> Cell:
    """Returns what is known of a cell."""
    resolution = h3.get_resolution(cell)
    edges = h3.origin_to_directed_edges(cell)
    return Cell(
        name=cell,
        resolution=resolution,
        center=h3.cell_to_latlng(cell),
        boundary=h3.cell_to_boundary(cell),
        area_square_meters=h3.cell_area(cell, unit="m^2"),
        edge_length_meters=sum(h3.edge_length(edge, unit="m") for edge in edges) / len(edges),
        parent=h3.cell_to_parent(cell) if resolution else "",
        children_count=h3.cell_to_children_size(cell, resolution + 1) if resolution < _FINEST else 0,
        pentagon=h3.is_pentagon(cell),
        base_cell=h3.get_base_cell_number(cell),
    )


def disk(cell: str, k: int) -> list[str]:
    """Returns the cells within `k` steps of a cell, itself first, then ring by ring."""
    # Not grid_disk, whose order is that of the rings only as long as it meets no pentagon.
    return [member for steps in range(k + 1) for member in ring(cell, steps)]


def ring(cell: str, k: int) -> list[str]:
    """Returns the cells exactly `k` steps away from a cell."""
    members: list[str] = h3.grid_ring(cell, k)
    return members


def _misnomer(text: str) -> str:
    """Says what is wrong with a name."""
    canonical = text.strip().lower().removeprefix("0x").lstrip("0")
    if not _CANONICAL.fullmatch(canonical):
        if re.fullmatch(r"[0-9a-f]{16}", canonical) and h3.is_valid_directed_edge(canonical):
            return "is a directed edge of the H3 grid, not a cell"
        if re.fullmatch(r"[0-9a-f]{16}", canonical) and h3.is_valid_vertex(canonical):
            return "is a vertex of the H3 grid, not a cell"
        return "must be an H3 cell: 15 lower-case hexadecimal digits"
    if h3.is_valid_cell(canonical):
        return f"must be written {canonical}"
    return "is no cell of the H3 grid"
