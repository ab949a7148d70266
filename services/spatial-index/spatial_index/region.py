"""Regions in which entities are looked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import h3  # type: ignore[import-untyped]  # ships no types
import numpy as np
import shapely
from numpy.typing import NDArray

from spatial_index import geocentric
from spatial_index.area import Area

_ANTIMERIDIAN = 180.0
_POLE = 90.0

_MOST_BOXES = 32
"""Boxes that one search goes through; a region of more parts is searched in larger ones."""

_OVERHANG = 1.25
"""Radius that holds a cell with all its descendants, over that of the cell.

The centre of a child is at most 1/sqrt(7) of the cell's width from the cell's, and so on: in the plane the sum stays
below 1.06. The rest is for the distortion of H3's projection.
"""


class Region(Protocol):
    """A part of the Earth, borders included."""

    def contains(self, lats: NDArray[np.float64], lngs: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Returns which of the locations (degrees, shape (n,)) lie in it."""
        ...

    def boxes(self) -> list[geocentric.Box]:
        """Returns few boxes in space that together hold all of it, and more."""
        ...


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle of latitudes and longitudes in degrees; `west` greater than `east` crosses the antimeridian."""

    south: float
    west: float
    north: float
    east: float

    def contains(self, lats: NDArray[np.float64], lngs: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Returns which locations lie in it; a pole that it touches does, whatever its longitude."""
        spans: NDArray[np.bool_] = self._spans(lngs) | (np.abs(lats) == _POLE)
        # The antimeridian has two names.
        spans |= (np.abs(lngs) == _ANTIMERIDIAN) & self._spans(-lngs)
        return (self.south <= lats) & (lats <= self.north) & spans

    def boxes(self) -> list[geocentric.Box]:
        """Returns one box."""
        return [geocentric.box(self.south, self.west, self.north, self.east)]

    def _spans(self, lngs: NDArray[np.float64]) -> NDArray[np.bool_]:
        after_west, before_east = self.west <= lngs, lngs <= self.east
        return after_west & before_east if self.west <= self.east else after_west | before_east


@dataclass(frozen=True, slots=True)
class Polygons:
    """The inside of polygons."""

    area: Area

    def contains(self, lats: NDArray[np.float64], lngs: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Returns which locations lie in it; a pole that it touches does, whatever its longitude."""
        geometry = self.area.geometry
        shapely.prepare(geometry)
        held: NDArray[np.bool_] = shapely.intersects_xy(geometry, lngs, lats)
        edge = np.abs(lngs) == _ANTIMERIDIAN
        held[edge] |= shapely.intersects_xy(geometry, -lngs[edge], lats[edge])
        _, south, _, north = geometry.bounds
        held |= (lats == _POLE) & (north == _POLE)
        held |= (lats == -_POLE) & (south == -_POLE)
        return held

    def boxes(self) -> list[geocentric.Box]:
        """Returns a box for each slice of each polygon, joined where they are too many."""
        bounds = (piece.bounds for piece in self.area.slices())
        return _joined([geocentric.box(south, west, north, east) for west, south, east, north in bounds])


@dataclass(frozen=True, slots=True)
class Cells:
    """A set of H3 cells, of one or several resolutions; the finest of these decides what belongs to it."""

    cells: Sequence[str]

    def contains(self, lats: NDArray[np.float64], lngs: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Returns which locations have a cell at the finest resolution that is in the set or descends from one."""
        members = set(self.cells)
        resolutions = sorted({h3.get_resolution(cell) for cell in members}, reverse=True)
        finest = resolutions[0]

        def held(lat: float, lng: float) -> bool:
            cell = h3.latlng_to_cell(lat, lng, finest)
            return any(h3.cell_to_parent(cell, resolution) in members for resolution in resolutions)

        found = [held(lat, lng) for lat, lng in zip(lats.tolist(), lngs.tolist(), strict=True)]
        return np.array(found, dtype=np.bool_)

    def boxes(self) -> list[geocentric.Box]:
        """Returns a box around each cell and its descendants, joined where they are too many."""
        # In the order of their names, in which neighbours mostly follow each other.
        return _joined([_box_around(cell) for cell in sorted(set(self.cells))])


def _box_around(cell: str) -> geocentric.Box:
    center = np.array(geocentric.point(*h3.cell_to_latlng(cell)))
    corners = np.array([geocentric.point(*corner) for corner in h3.cell_to_boundary(cell)])
    radius = float(np.max(np.linalg.norm(corners - center, axis=1))) * _OVERHANG
    x, y, z = center.tolist()
    return (x - radius, y - radius, z - radius), (x + radius, y + radius, z + radius)


def _joined(boxes: list[geocentric.Box]) -> list[geocentric.Box]:
    """Returns at most `_MOST_BOXES` boxes that hold those given, each around some that follow each other."""
    size = -(-len(boxes) // _MOST_BOXES)
    return [reduce(geocentric.join, boxes[start : start + size]) for start in range(0, len(boxes), size)]
