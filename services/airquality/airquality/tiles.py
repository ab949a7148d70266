"""Tiles of the air in Web Mercator: where they lie, the heat map of one, and its areas of one category.

The tiles' scheme is that of OpenStreetMap: 2^z by 2^z, x from 180° west, y from 85.0511° north.
"""

import io
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import contourpy
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from airquality.index import NONE, has_table, sub_indices
from airquality.interpolation import positions
from airquality.standards import Standard
from airquality.surface import Surface
from airquality.units import AveragingPeriod
from meshkit.errors import InvalidInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIZE: Final = 256
"""Pixels on a side."""

_EQUATOR_METERS: Final = 40_075_016.686
# Between these the logarithm of a concentration is taken to be linear; kriging is smooth over a few pixels.
_HEAT_STEP: Final = 8
_CONTOUR_STEP: Final = 8
_CONTOUR_MARGIN: Final = 16
_CENTRES: Final[Floats] = np.arange(0.5, SIZE)
_NODES: Final[Floats] = np.arange(0.0, SIZE + 1, _HEAT_STEP)
_FEW_PIXELS: Final = 1_500
"""Up to as many pixels are computed each for itself."""


class Tile(NamedTuple):
    """A tile by zoom, column and row."""

    z: int
    x: int
    y: int

    def lat_lng(self, column: Floats, row: Floats) -> tuple[Floats, Floats]:
        """Returns latitudes and longitudes in degrees of places in pixels from the upper left corner."""
        scale = SIZE * 2.0**self.z
        lng = (self.x * SIZE + column) / scale * 360.0 - 180.0
        lat = np.degrees(np.arctan(np.sinh(math.pi * (1.0 - 2.0 * (self.y * SIZE + row) / scale))))
        return lat, lng

    def places(self, side: Floats) -> Floats:
        """Returns the places of a square grid row by row, (n², 3), as `airquality.interpolation.positions` gives them.

        Args:
            side: Columns, and as many rows, in pixels from the upper left corner, n.
        """
        lat, lng = self.lat_lng(side, side)
        return positions(lat[:, None], lng[None, :]).reshape(-1, 3)

    def pixels(self, lat: float, lng: float) -> tuple[float, float]:
        """Returns column and row of a place in pixels from the upper left corner; beyond 85.0511° far outside."""
        scale = SIZE * 2.0**self.z
        column = (lng + 180.0) / 360.0 * scale - self.x * SIZE
        # A place on the other side of the date line is as near as it is on the globe.
        column -= round((column - SIZE / 2) / scale) * scale
        sine = min(max(math.sin(math.radians(lat)), -0.999_999), 0.999_999)
        return column, (0.5 - math.atanh(sine) / (2 * math.pi)) * scale - self.y * SIZE

    def meters_per_pixel(self) -> float:
        """Returns the length of a pixel on the ground where it is the longest in the tile."""
        lat, _ = self.lat_lng(np.zeros(2), np.array([0.0, SIZE]))
        widest = 0.0 if lat[0] * lat[1] < 0 else float(np.abs(lat).min())
        return _EQUATOR_METERS * math.cos(math.radians(widest)) / SIZE / 2.0**self.z


class Shown(NamedTuple):
    """What a tile shows of the surfaces that it is made of."""

    standard: Standard
    version: int
    radius_meters: float


class Area(NamedTuple):
    """An area of one category.

    Attributes:
        category: The place of the category in the standard's, from 0.
        polygons: Its parts, each rings of (column, row) in pixels, the outer one first.
    """

    category: int
    polygons: list[list[Floats]]


def check_tile(z: int, x: int, y: int) -> Tile:
    """Returns a tile.

    Raises:
        InvalidInput: There is none with these numbers.
    """
    for field, value in (("x", x), ("file", y)):
        if value >= 1 << z:
            what = "its row " if field == "file" else ""
            raise InvalidInput(field, f"{what}must be less than {1 << z} at zoom {z}")
    return Tile(z, x, y)


def shown_surfaces(surfaces: Sequence[Surface], shown: Shown, pollutant: int) -> list[Surface]:
    """Returns the surfaces that the index has a table for, or that of one pollutant, in their order."""
    return [
        each
        for each in surfaces
        if pollutant in (0, each.pollutant)
        and has_table(shown.standard, shown.version, each.pollutant, each.averaging_period)
    ]


def heat_map(tile: Tile, surfaces: Sequence[Surface], shown: Shown) -> bytes:
    """Returns a PNG of SIZE by SIZE pixels in the colours of the index, transparent where there is no value."""
    worst = np.full(SIZE * SIZE, NONE)
    for surface in surfaces:
        supported = np.flatnonzero(_distances(tile, surface, shown.radius_meters) <= shown.radius_meters)
        if not supported.size:
            continue
        if supported.size <= _FEW_PIXELS:
            values = surface.over(tile.places(_CENTRES)[supported], shown.radius_meters).values
        else:
            values = _smooth(tile, surface, shown.radius_meters).ravel()[supported]
        finite = np.isfinite(values)
        supported, values = supported[finite], values[finite]
        worst[supported] = np.maximum(worst[supported], _index(surface, shown, values))
    return _png(worst.reshape(SIZE, SIZE), shown.standard)


def areas(tile: Tile, surfaces: Sequence[Surface], shown: Shown) -> list[Area]:
    """Returns the areas of each category, a little over the tile's edge, so that those of two tiles meet."""
    side = np.arange(-_CONTOUR_MARGIN, SIZE + _CONTOUR_MARGIN + 1, _CONTOUR_STEP, dtype=np.float64)
    places = tile.places(side)
    worst = np.full(len(places), NONE)
    for surface in surfaces:
        values = surface.over(places, shown.radius_meters).values
        known = np.flatnonzero(np.isfinite(values))
        worst[known] = np.maximum(worst[known], _index(surface, shown, values[known]))
    field = np.ma.masked_less(worst.reshape(len(side), len(side)).astype(np.float64), 0.0)
    if field.count() == 0:
        return []
    generator = contourpy.contour_generator(side, side, field, fill_type=contourpy.FillType.OuterOffset)
    found = []
    for number, category in enumerate(shown.standard.categories):
        highest = math.inf if category.highest is None else category.highest + 0.5
        filled = generator.filled(category.lowest - 0.5, min(highest, 1e9))
        points, offsets = filled[0], filled[1]
        polygons = [
            [ring for ring in np.split(part, bounds[1:-1]) if len(ring) > 3]  # noqa: PLR2004 -- closed: a triangle
            for part, bounds in zip(points, offsets, strict=True)
            if part is not None and bounds is not None
        ]
        polygons = [rings for rings in polygons if rings]
        if polygons:
            found.append(Area(number, polygons))
    return found


def _distances(tile: Tile, surface: Surface, radius_meters: float) -> Floats:
    """Returns the distance of the nearest station from each pixel, infinite far beyond the radius.

    Where a step of the grid is short against the radius it is interpolated.
    """
    spacing = tile.meters_per_pixel() * _HEAT_STEP
    if spacing > radius_meters / 4:
        return surface.distances(tile.places(_CENTRES), radius_meters)
    far = radius_meters + 2 * spacing
    return _between_nodes(np.minimum(surface.distances(tile.places(_NODES), far), far)).ravel()


def _smooth(tile: Tile, surface: Surface, radius_meters: float) -> Floats:
    """Returns the values of all pixels from those of a grid; NaN where the grid has none."""
    spacing = tile.meters_per_pixel() * _HEAT_STEP
    values = surface.over(tile.places(_NODES), radius_meters + 2 * spacing).values
    missing = np.isnan(values)
    weight = _between_nodes(1.0 - missing)
    logarithms = _between_nodes(np.where(missing, 0.0, np.log1p(np.where(missing, 0.0, values))))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.expm1(logarithms / weight))


def _between_nodes(values: Floats) -> Floats:
    """Returns the values of all pixels, (SIZE, SIZE), bilinearly from those of the nodes."""
    nodes = values.reshape(len(_NODES), len(_NODES))
    place = _CENTRES / _HEAT_STEP
    left = place.astype(np.int64)
    share = place - left
    wide = nodes[:, left] * (1.0 - share) + nodes[:, left + 1] * share
    return np.asarray(wide[left] * (1.0 - share)[:, None] + wide[left + 1] * share[:, None])


def _index(surface: Surface, shown: Shown, values: Floats) -> Ints:
    number = len(values)
    period: AveragingPeriod = surface.averaging_period
    found = sub_indices(
        shown.standard, shown.version, np.full(number, surface.pollutant), np.full(number, period), values
    )
    return found.values


def _png(worst: Ints, standard: Standard) -> bytes:
    """Paints each pixel in the colour of its category; the first colour of the palette is none."""
    bounds = [category.highest for category in standard.categories if category.highest is not None]
    painted = np.where(worst == NONE, 0, np.searchsorted(np.array(bounds), worst) + 1).astype(np.uint8)
    image = Image.fromarray(painted, mode="P")
    colors = [int(category.color[at : at + 2], 16) for category in standard.categories for at in (1, 3, 5)]
    image.putpalette([0, 0, 0, *colors])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0, compress_level=3)
    return file.getvalue()
