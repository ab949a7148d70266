"""What is said of cells."""

import math
from itertools import pairwise

import h3  # type: ignore[import-untyped]  # ships no types
import pytest

from meshkit.errors import InvalidInput
from spatial_index.cells import describe, disk, require_cell, ring

SAN_FRANCISCO = "8928308280fffff"
PENTAGON = h3.get_pentagons(9)[0]


def test_describes_a_cell() -> None:
    cell = describe(SAN_FRANCISCO)
    assert (cell.name, cell.resolution, cell.parent) == (SAN_FRANCISCO, 9, "8828308281fffff")
    assert (cell.children_count, cell.pentagon, cell.base_cell) == (7, False, 20)
    assert cell.center == pytest.approx((37.7767, -122.4185), abs=1e-3)
    assert len(cell.boundary) == 6
    assert cell.area_square_meters == pytest.approx(109_398, abs=1)
    # A regular hexagon of that area.
    assert cell.edge_length_meters == pytest.approx(math.sqrt(109_398 * 2 / 3 / math.sqrt(3)), rel=0.02)


def test_the_corners_of_a_cell_go_counter_clockwise() -> None:
    corners = describe(SAN_FRANCISCO).boundary
    turns = zip(corners, corners[1:] + corners[:1], strict=True)
    assert sum(lng0 * lat1 - lng1 * lat0 for (lat0, lng0), (lat1, lng1) in turns) > 0


def test_a_pentagon_has_five_edges_and_six_children() -> None:
    cell = describe(h3.get_pentagons(8)[0])
    assert (cell.pentagon, len(cell.boundary), cell.children_count) == (True, 5, 6)
    assert cell.edge_length_meters == pytest.approx(490, rel=0.2)


def test_the_coarsest_cells_have_no_parent_and_the_finest_no_children() -> None:
    assert describe("8029fffffffffff").parent == ""
    assert describe("8f28308280e6c59").children_count == 0


def test_the_areas_of_all_base_cells_make_up_the_earth() -> None:
    cells = [describe(cell) for cell in h3.get_res0_cells()]
    assert sum(cell.area_square_meters for cell in cells) == pytest.approx(4 * math.pi * 6_371_007.180918475**2)
    assert sorted(cell.base_cell for cell in cells) == list(range(122))


def test_a_cell_has_one_name() -> None:
    assert require_cell(SAN_FRANCISCO, "cell") == SAN_FRANCISCO


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("8928308280FFFFF", "must be written 8928308280fffff"),
        ("0x8928308280fffff", "must be written 8928308280fffff"),
        ("08928308280fffff", "must be written 8928308280fffff"),
        (" 8928308280fffff", "must be written 8928308280fffff"),
        ("8928308280fffff\n", "must be written 8928308280fffff"),
        ("1928308280fffff", "is no cell of the H3 grid"),
        ("8928308280ffffe", "is no cell of the H3 grid"),
        ("89283470c27ffff0", "must be an H3 cell"),
        ("115283473fffffff", "is a directed edge"),
        (h3.cell_to_vertexes("8928308280fffff")[0], "is a vertex"),
        ("9q8yykc8ysy0", "must be an H3 cell"),
        ("849VQHGJ+4M", "must be an H3 cell"),
        ("٨928308280fffff", "must be an H3 cell"),
        ("8" * 64, "must be an H3 cell"),
        ("", "must be an H3 cell"),
    ],
)
def test_refuses_what_names_no_cell_and_says_what_it_is(text: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        require_cell(text, "cells[3]")
    (violation,) = refusal.value.violations
    assert violation.field == "cells[3]"
    assert violation.description.startswith(hint)


@pytest.mark.parametrize("k", [0, 1, 2, 10, 100])
def test_a_disk_of_hexagons_has_the_size_of_the_formula(k: int) -> None:
    cells = disk(SAN_FRANCISCO, k)
    assert len(cells) == len(set(cells)) == 3 * k * (k + 1) + 1
    assert len(ring(SAN_FRANCISCO, k)) == (6 * k or 1)


def test_the_cells_of_a_disk_come_nearest_first() -> None:
    steps = [h3.grid_distance(SAN_FRANCISCO, cell) for cell in disk(SAN_FRANCISCO, 5)]
    assert steps[0] == 0
    assert steps == sorted(steps)


@pytest.mark.parametrize("k", [1, 2, 3, 7])
@pytest.mark.parametrize("origin", [PENTAGON, h3.grid_ring(PENTAGON, 2)[0], h3.grid_ring(PENTAGON, 5)[3]])
def test_disks_and_rings_at_a_pentagon_hold_the_cells_at_that_many_steps(origin: str, k: int) -> None:
    rings = [{origin}]
    seen = {origin}
    for _ in range(k):
        rings.append({near for cell in rings[-1] for near in h3.grid_disk(cell, 1)} - seen)
        seen |= rings[-1]
    assert set(ring(origin, k)) == rings[k]
    found = disk(origin, k)
    assert (set(found), len(found)) == (seen, len(seen))
    starts = [sum(map(len, rings[:steps])) for steps in range(k + 2)]
    assert [set(found[start:end]) for start, end in pairwise(starts)] == rings
