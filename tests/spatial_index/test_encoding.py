"""Names of locations against vectors of the grids' own authors."""

import csv
import gzip
import math
from collections.abc import Iterator
from pathlib import Path

import h3  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshkit.settings import CHECKOUT
from spatial_index.cells import describe
from spatial_index.encoding import EVERY_GRID, Grids, encode

COMMITTED = Path(__file__).parent / "vectors"
SHARED = CHECKOUT.parent / "shared/data/grid_vectors"
ALL_VECTORS = pytest.mark.skipif(not SHARED.is_dir(), reason="the full vectors are not on this machine")

POINT_FILES = ("rand05centers.txt.gz", "rand09centers.txt.gz")
CENTER_FILES = ("res00ic.txt", "res01ic.txt")
BOUNDARY_FILES = ("res00cells.txt", "res01cells.txt.gz", "rand05cells.txt.gz", "rand09cells.txt.gz")


def lines(path: Path) -> list[str]:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode().splitlines()


def turn(lng: float) -> float:
    """Returns a longitude within -180 to 180."""
    return math.remainder(lng, 360)


def assert_points(text: list[str]) -> None:
    for line in text:
        cell, lat, lng = line.split()
        grids = Grids([h3.get_resolution(cell)])
        assert encode(float(lat), turn(float(lng)), grids).cells == [cell]


def assert_centers(text: list[str]) -> None:
    assert_points(text)
    for line in text:
        cell, lat, lng = line.split()
        assert describe(cell).center == pytest.approx((float(lat), turn(float(lng))), abs=1e-8)


def boundaries(text: list[str]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Yields cells and their corners from H3's own format: a name, and corners between braces."""
    cell, corners = "", list[tuple[float, float]]()
    for line in text:
        match line.split():
            case ["{"]:
                corners = []
            case ["}"]:
                yield cell, corners
            case [lat, lng]:
                corners.append((float(lat), turn(float(lng))))
            case [name]:
                cell = name


def assert_geohashes(text: list[str]) -> None:
    for row in csv.DictReader(text):
        assert encode(float(row["lat"]), float(row["lon"]), Grids(geohash_precision=12)).geohash == row["geohash12"]


def test_names_the_cell_that_h3_documents() -> None:
    assert encode(37.7752702151959, -122.418307270836, Grids([9])).cells == ["8928308280fffff"]


def test_computes_only_what_is_wanted() -> None:
    found = encode(37.775, -122.418, Grids(geohash_precision=5))
    assert (found.cells, found.geohash, found.plus_code) == ([], "9q8yy", "")
    found = encode(37.775, -122.418, Grids(plus_code_length=10))
    assert (found.cells, found.geohash) == ([], "")


def test_keeps_the_order_of_resolutions() -> None:
    cells = encode(1.0, 2.0, Grids([7, 0, 15, 7])).cells
    assert [h3.get_resolution(cell) for cell in cells] == [7, 0, 15, 7]


def test_every_grid_is_sixteen_resolutions_twelve_characters_and_ten_digits() -> None:
    found = encode(37.775, -122.418, EVERY_GRID)
    assert [h3.get_resolution(cell) for cell in found.cells] == list(range(16))
    assert (len(found.geohash), len(found.plus_code)) == (12, 11)


def test_a_coarse_cell_is_not_the_parent_of_a_fine_one() -> None:
    # Children of H3 hang over the edges of their parents.
    places = [(10 + index / 100, 20 + index / 77) for index in range(500)]
    pairs = [encode(lat, lng, Grids([4, 5])).cells for lat, lng in places]
    assert all(h3.latlng_to_cell(*place, 4) == coarse for place, (coarse, _) in zip(places, pairs, strict=True))
    assert any(h3.cell_to_parent(fine) != coarse for coarse, fine in pairs)


def test_h3_agrees_with_the_committed_points() -> None:
    assert_points(lines(COMMITTED / "h3_rand09centers.txt"))


def test_h3_agrees_with_the_committed_centres() -> None:
    assert_centers(lines(COMMITTED / "h3_res00ic.txt"))


def test_geohash_agrees_with_the_committed_vectors() -> None:
    assert_geohashes(lines(COMMITTED / "geohash_encode.csv"))


@ALL_VECTORS
@pytest.mark.parametrize("name", POINT_FILES)
def test_h3_agrees_with_all_points(name: str) -> None:
    assert_points(lines(SHARED / "h3" / name))


@ALL_VECTORS
@pytest.mark.parametrize("name", CENTER_FILES)
def test_h3_agrees_with_all_centres(name: str) -> None:
    assert_centers(lines(SHARED / "h3" / name))


@ALL_VECTORS
@pytest.mark.parametrize("name", BOUNDARY_FILES)
def test_h3_agrees_with_all_boundaries(name: str) -> None:
    count = 0
    for count, (cell, corners) in enumerate(boundaries(lines(SHARED / "h3" / name)), 1):  # noqa: B007 -- counts
        found = h3.cell_to_boundary(cell)
        assert len(found) == len(corners)
        for here, there in zip(found, corners, strict=True):
            assert here[0] == pytest.approx(there[0], abs=1e-8)
            assert abs(turn(here[1] - there[1])) < 1e-8
    assert count > 100


@ALL_VECTORS
def test_geohash_agrees_with_all_vectors() -> None:
    assert_geohashes(lines(SHARED / "geohash_encode.csv"))


@settings(deadline=None)
@given(st.floats(-90, 90), st.floats(-180, 180))
def test_a_shorter_geohash_begins_the_longer_one(lat: float, lng: float) -> None:
    whole = encode(lat, lng, Grids(geohash_precision=12)).geohash
    for precision in range(1, 12):
        assert encode(lat, lng, Grids(geohash_precision=precision)).geohash == whole[:precision]


@pytest.mark.parametrize(
    ("lat", "lng", "length", "code"),
    [
        # From the tests that Open Location Code publishes.
        (20.375, 2.775, 6, "7FG49Q00+"),
        (20.3700625, 2.7821875, 10, "7FG49QCJ+2V"),
        (20.3701125, 2.782234375, 11, "7FG49QCJ+2VX"),
        (20.3701135, 2.78223535156, 13, "7FG49QCJ+2VXGJ"),
        (47.0000625, 8.0000625, 10, "8FVC2222+22"),
        (-41.2730625, 174.7859375, 10, "4VCPPQGP+Q9"),
        (0.5, -179.5, 4, "62G20000+"),
        (-89.5, -179.5, 4, "22220000+"),
        (20.5, 2.5, 4, "7FG40000+"),
        (-89.9999375, -179.9999375, 10, "22222222+22"),
        (90.0, 1.0, 4, "CFX30000+"),
        (1.0, 180.0, 4, "62H20000+"),
    ],
)
def test_plus_codes_agree_with_published_ones(lat: float, lng: float, length: int, code: str) -> None:
    assert encode(lat, lng, Grids(plus_code_length=length)).plus_code == code


@pytest.mark.parametrize("lat", [90.0, -90.0])
def test_a_pole_has_one_h3_cell_whatever_its_longitude(lat: float) -> None:
    found = {tuple(encode(lat, lng, Grids(range(16))).cells) for lng in (-180.0, -90.0, 0.0, 17.5, 180.0)}
    assert len(found) == 1


@pytest.mark.parametrize("resolution", range(16))
def test_both_sides_of_the_antimeridian_are_one_h3_cell(resolution: int) -> None:
    for lat in (-60.0, 0.0, 12.3, 80.0):
        assert encode(lat, 180.0, Grids([resolution])) == encode(lat, -180.0, Grids([resolution]))


@pytest.mark.parametrize("lng", [-180.0, 0.0, 180.0])
@pytest.mark.parametrize("lat", [-90.0, 0.0, 90.0])
def test_the_edges_of_the_world_have_names_in_every_grid(lat: float, lng: float) -> None:
    found = encode(lat, lng, EVERY_GRID)
    assert all(map(h3.is_valid_cell, found.cells))
    assert (len(found.cells), len(found.geohash), len(found.plus_code)) == (16, 12, 11)


@pytest.mark.parametrize(
    ("lat", "lng", "geohash"),
    [(90.0, 180.0, "zzzz"), (-90.0, -180.0, "0000"), (90.0, -180.0, "bpbp"), (0.0, 0.0, "s000")],
)
def test_geohashes_at_the_edges_are_those_of_the_outermost_cells(lat: float, lng: float, geohash: str) -> None:
    assert encode(lat, lng, Grids(geohash_precision=4)).geohash == geohash
