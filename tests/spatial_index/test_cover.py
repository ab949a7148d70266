"""Covers against trying every cell."""

import functools
import math
import random

import h3  # type: ignore[import-untyped]  # ships no types
import numpy as np
import pytest
import shapely

from meshkit.errors import InvalidInput, Reason
from spatial_index.area import Area, area_of_polygons, area_of_ring
from spatial_index.cover import Containment, cover, estimate_size

RESOLUTION = 2
SAN_FRANCISCO = np.array([(-122.52, 37.70), (-122.35, 37.70), (-122.35, 37.83), (-122.52, 37.83), (-122.52, 37.70)])


def star(lng: float, lat: float, radius: float, seed: int) -> np.ndarray:
    """Returns a ragged ring around a place."""
    chance = random.Random(seed)
    ring = []
    for index in range(24):
        angle, reach = 2 * math.pi * index / 24, radius * chance.uniform(0.4, 1)
        ring.append((math.remainder(lng + reach * math.cos(angle), 360), lat + reach * math.sin(angle)))
    return np.array([*ring, ring[0]])


def around_pole(lat: float, seed: int) -> np.ndarray:
    """Returns a ragged ring around the Earth near a latitude."""
    chance = random.Random(seed)
    ring = [(math.remainder(30.0 * index, 360), lat + chance.uniform(-5, 5)) for index in range(12)]
    return np.array([*ring, ring[0]])


def rectangle(west: float, south: float, east: float, north: float) -> np.ndarray:
    return np.array([(west, south), (east, south), (east, north), (west, north), (west, south)], dtype=np.float64)


RINGS = [
    *(star(30.0 * seed, 12.0 * seed - 60, 20, seed) for seed in range(10)),
    *(star(179.0, 25.0 * seed - 50, 25, seed) for seed in range(5)),
    *(around_pole(70, seed) for seed in range(3)),
    *(around_pole(-60, seed) for seed in range(3)),
    rectangle(-180, 10, 180, 20),
    rectangle(-180, 70, 180, 90),
    rectangle(-80, -90, 100, 90),
    rectangle(-170, -50, 150, 60),
    rectangle(10, 75, 50, 90),
]


def polygon_of(cell: str) -> shapely.Geometry:
    """Returns a cell with edges straight in longitude and latitude."""
    corners = [(lng, lat) for lat, lng in h3.cell_to_boundary(cell)]
    return area_of_ring(np.array([*corners, corners[0]]), cell).geometry


@functools.cache
def every_cell() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the names, centres and polygons of all cells of the tests' resolution."""
    cells = [child for base in h3.get_res0_cells() for child in h3.cell_to_children(base, RESOLUTION)]
    centers = np.array([h3.cell_to_latlng(cell) for cell in cells])
    return np.array(cells), centers, np.array([polygon_of(cell) for cell in cells])


def cells_of(area: Area, resolution: int, containment: Containment) -> set[str]:
    found = cover(area, resolution, containment, compact=False, max_cells=10**6)
    assert found.cell_count == len(found.cells) == len(set(found.cells))
    return set(found.cells)


@pytest.mark.parametrize("ring", RINGS)
def test_finds_the_cells_that_trying_every_cell_finds(ring: np.ndarray) -> None:
    area = area_of_ring(ring, "area")
    names, centers, polygons = every_cell()
    shapely.prepare(area.geometry)
    centred = names[shapely.intersects_xy(area.geometry, centers[:, 1], centers[:, 0])]
    assert cells_of(area, RESOLUTION, Containment.CENTER) == set(centred)
    assert cells_of(area, RESOLUTION, Containment.FULL) == set(names[shapely.covers(area.geometry, polygons)])
    assert cells_of(area, RESOLUTION, Containment.OVERLAPPING) == set(
        names[shapely.intersects(area.geometry, polygons)]
    )


@pytest.mark.parametrize("containment", Containment)
@pytest.mark.parametrize("ring", RINGS)
def test_the_estimate_errs_by_less_than_a_third(ring: np.ndarray, containment: Containment) -> None:
    area = area_of_ring(ring, "area")
    count = len(cells_of(area, 3, containment))
    assert estimate_size(area, 3, containment) == pytest.approx(count, rel=1 / 3, abs=10)


def test_full_cells_are_among_the_centred_and_those_among_the_overlapping() -> None:
    area = area_of_ring(SAN_FRANCISCO, "area")
    full, centred, overlapping = (
        cells_of(area, 9, each) for each in (Containment.FULL, Containment.CENTER, Containment.OVERLAPPING)
    )
    assert full < centred < overlapping
    assert len(centred) == pytest.approx(area.square_meters() / h3.cell_area(next(iter(full)), unit="m^2"), rel=0.02)


def test_adjacent_areas_share_no_cell_by_centre_and_leave_no_gap() -> None:
    left = cells_of(area_of_ring(rectangle(10, 40, 20, 50), "area"), 5, Containment.CENTER)
    right = cells_of(area_of_ring(rectangle(20, 40, 30, 50), "area"), 5, Containment.CENTER)
    both = cells_of(area_of_ring(rectangle(10, 40, 30, 50), "area"), 5, Containment.CENTER)
    assert not left & right
    assert left | right == both


def test_a_compacted_cover_holds_the_same_cells() -> None:
    area = area_of_ring(SAN_FRANCISCO, "area")
    plain = cover(area, 10, Containment.CENTER, compact=False, max_cells=50_000)
    compacted = cover(area, 10, Containment.CENTER, compact=True, max_cells=50_000)
    assert compacted.cell_count == plain.cell_count == len(plain.cells)
    assert len(compacted.cells) < len(plain.cells) / 4
    assert set(h3.uncompact_cells(compacted.cells, 10)) == set(plain.cells)


def test_holes_stay_uncovered() -> None:
    shell, hole = rectangle(0, 0, 20, 20), rectangle(5, 5, 15, 15)
    ring = cells_of(area_of_polygons([[shell, hole]], ["area"]), 4, Containment.CENTER)
    whole = cells_of(area_of_ring(shell, "area"), 4, Containment.CENTER)
    assert whole - ring == cells_of(area_of_ring(hole, "area"), 4, Containment.CENTER)


@pytest.mark.parametrize(
    ("lat", "lng", "resolution"),
    [(10.0, 20.0, 0), (10.0, 20.0, 9), (-45.0, 179.9999, 5), (89.9, 0.0, 3), (0.0, -180.0 + 0.0005, 7)],
)
def test_a_tiny_area_is_overlapped_by_the_cells_of_its_corners_and_few_more(
    lat: float, lng: float, resolution: int
) -> None:
    ring = star(lng, lat, 0.0004, 1)
    found = cells_of(area_of_ring(ring, "area"), resolution, Containment.OVERLAPPING)
    corners = {h3.latlng_to_cell(lat, lng, resolution) for lng, lat in ring.tolist()}
    assert corners <= found
    assert len(found) <= len(corners) + 2


def test_the_whole_world_is_covered_by_all_cells() -> None:
    world = area_of_ring(rectangle(-180, -90, 180, 90), "area")
    for containment in Containment:
        assert len(cells_of(world, 2, containment)) == h3.get_num_cells(2)
        assert len(cover(world, 2, containment, compact=True, max_cells=10**6).cells) == 122


def test_refuses_a_continent_of_the_finest_cells_at_once_and_says_what_fits() -> None:
    continent = area_of_ring(rectangle(-20, -35, 50, 35), "area")
    with pytest.raises(InvalidInput) as refusal:
        cover(continent, 15, Containment.CENTER, compact=True, max_cells=50_000)
    assert refusal.value.reason == Reason.RESULT_TOO_LARGE
    (violation,) = refusal.value.violations
    assert violation.field == "resolution"
    assert violation.description.endswith("the finest resolution that fits is 4")
    assert cover(continent, 4, Containment.CENTER, compact=True, max_cells=50_000).cell_count <= 50_000


def test_says_when_no_resolution_fits() -> None:
    world = area_of_ring(rectangle(-180, -90, 180, 90), "area")
    with pytest.raises(InvalidInput, match="so does every resolution"):
        cover(world, 3, Containment.CENTER, compact=False, max_cells=50)
