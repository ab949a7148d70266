"""What belongs to a region, and the boxes that hold it."""

import math
import random

import h3  # type: ignore[import-untyped]  # ships no types
import numpy as np
import pytest
import shapely

from spatial_index import geocentric
from spatial_index.area import Area, area_of_ring
from spatial_index.region import Cells, Polygons, Rectangle, Region


def scattered(count: int) -> list[tuple[float, float]]:
    chance = random.Random(2)
    places = [(math.degrees(math.asin(chance.uniform(-1, 1))), chance.uniform(-180, 180)) for _ in range(count)]
    return [*places, (90.0, 12.0), (-90.0, -12.0), (0.0, 180.0), (0.0, -180.0), (5.0, 180.0)]


def held(region: Region, *locations: tuple[float, float]) -> list[bool]:
    """Returns which locations (latitude, longitude) belong to a region."""
    lats, lngs = np.array(locations, dtype=np.float64).T
    found: list[bool] = region.contains(lats, lngs).tolist()
    return found


def in_boxes(boxes: list[geocentric.Box], lat: float, lng: float) -> bool:
    place = geocentric.point(lat, lng)
    return any(all(a <= x <= b for a, x, b in zip(low, place, high, strict=True)) for low, high in boxes)


def polygons(*positions: tuple[float, float]) -> Polygons:
    return Polygons(area_of_ring(np.array([*positions, positions[0]], dtype=np.float64), "area"))


def test_a_rectangle_holds_its_borders_and_nothing_beyond() -> None:
    region = Rectangle(10, 20, 11, 21)
    assert held(region, (10, 20), (11, 21), (10.5, 20.5)) == [True] * 3
    assert held(region, (9.999999, 20.5), (11.000001, 20.5), (10.5, 19.999999), (10.5, 21.000001)) == [False] * 4


def test_a_rectangle_across_the_antimeridian_holds_both_sides() -> None:
    region = Rectangle(-10, 170, 10, -170)
    assert held(region, (0, 175), (0, -175), (0, 180), (0, -180), (0, 170), (0, -170)) == [True] * 6
    assert held(region, (0, 0), (0, 169), (0, -169), (11, 180)) == [False] * 4


@pytest.mark.parametrize(("west", "east"), [(170.0, 180.0), (-180.0, -170.0)])
def test_longitude_180_is_minus_180(west: float, east: float) -> None:
    edge = polygons((west, -1), (east, -1), (east, 1), (west, 1))
    for region in (Rectangle(-1, west, 1, east), edge):
        assert held(region, (0, 180), (0, -180), (1, 180), (2, 180)) == [True, True, True, False]


def test_a_pole_belongs_to_what_touches_it_whatever_the_longitude() -> None:
    for region in (Rectangle(80, 0, 90, 10), polygons((0, 80), (10, 80), (10, 90), (0, 90))):
        assert held(region, (90, 0), (90, 100), (90, -180), (-90, 5), (85, 100)) == [True, True, True, False, False]
    for region in (Rectangle(-90, 0, -80, 10), polygons((0, -80), (10, -80), (10, -90), (0, -90))):
        assert held(region, (-90, -100), (90, 5)) == [True, False]
    assert held(Rectangle(80, 0, 89.9, 10), (90, 5)) == [False]


def test_a_polygon_holds_its_borders_and_not_its_holes() -> None:
    shape = shapely.Polygon(shapely.box(0, 0, 10, 10).exterior, [shapely.box(4, 4, 6, 6).exterior])
    region = Polygons(Area(shape))
    assert held(region, (0, 0), (5, 0), (3, 3), (4, 5), (5, 5), (10.1, 5)) == [True, True, True, True, False, False]


def test_a_set_of_cells_holds_what_encodes_to_one_of_them() -> None:
    members = {h3.latlng_to_cell(lat, lng, 1) for lat, lng in scattered(30)}
    places = scattered(2000)
    wanted = [h3.latlng_to_cell(lat, lng, 1) in members for lat, lng in places]
    assert 0 < sum(wanted) < len(places)
    assert held(Cells(list(members)), *places) == wanted


def test_in_a_set_of_several_resolutions_the_finest_decides() -> None:
    parent = "8828308281fffff"
    children = h3.cell_to_children(parent, 9)
    far = h3.latlng_to_cell(0.0, 0.0, 9)
    chance = random.Random(4)
    lat, lng = h3.cell_to_latlng(parent)
    places = [(lat + chance.uniform(-0.01, 0.01), lng + chance.uniform(-0.01, 0.01)) for _ in range(2000)]
    as_children = held(Cells([*children, far]), *places)
    assert held(Cells([parent, far]), *places) == as_children
    # Alone, its own border decides, which is another one.
    assert held(Cells([parent]), *places) != as_children


def test_many_cells_make_few_boxes() -> None:
    cells = h3.grid_disk("8928308280fffff", 30)
    boxes = Cells(cells).boxes()
    assert len(boxes) <= 32
    assert all(in_boxes(boxes, *h3.cell_to_latlng(cell)) for cell in cells)


@pytest.mark.parametrize(
    "origin", ["8029fffffffffff", "8009fffffffffff", "8001fffffffffff", "8428309ffffffff", "8928308280fffff"]
)
def test_the_box_of_a_cell_holds_its_descendants(origin: str) -> None:
    finest = min(h3.get_resolution(origin) + 5, 15)
    region = Cells([origin])
    (low, high) = np.array(region.boxes()[0])
    corners = [
        geocentric.point(*corner)
        for child in h3.cell_to_children(origin, finest)
        for corner in h3.cell_to_boundary(child)
    ]
    assert np.all((low <= corners) & (corners <= high))


@pytest.mark.parametrize(
    "region",
    [
        Rectangle(-10, -20, 30, 40),
        Rectangle(-60, 100, 60, -100),
        Rectangle(70, -180, 90, 180),
        Rectangle(-90, -180, 90, 180),
        polygons((0, 0), (60, 10), (30, 50)),
        polygons((150, -20), (-150, -20), (-150, 20), (150, 20)),
        polygons((-120, 50), (0, 40), (120, 50)),
        polygons((0, -60), (120, -60), (-120, -60)),
        Polygons(Area(shapely.MultiPolygon([shapely.box(x, -5, x + 3, 5) for x in range(-180, 180, 5)]))),
        Cells(["8029fffffffffff", "8009fffffffffff", "81283ffffffffff"]),
    ],
    ids=["box", "wide", "cap", "world", "triangle", "antimeridian", "north", "south", "many", "cells"],
)
def test_the_boxes_hold_every_location_that_the_region_holds(region: Region) -> None:
    places = scattered(3000)
    inside = [place for place, is_held in zip(places, held(region, *places), strict=True) if is_held]
    assert inside
    boxes = region.boxes()
    assert len(boxes) <= 32
    assert all(in_boxes(boxes, lat, lng) for lat, lng in inside)
