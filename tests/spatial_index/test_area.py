"""Areas on the globe, laid out flat."""

import math

import numpy as np
import pytest
import shapely

from meshkit.errors import InvalidInput, Reason
from spatial_index.area import Area, area_of_polygons, area_of_ring

EARTH_SQUARE_METERS = 510_065_621_724_088

SQUARE = np.array([(0, 0), (10, 0), (10, 10), (0, 10), (0, 0)], dtype=np.float64)
BAND = np.array([(-180, 10), (180, 10), (180, 20), (-180, 20), (-180, 10)], dtype=np.float64)


def ring(*positions: tuple[float, float]) -> np.ndarray:
    """Returns a ring given without its last position."""
    return np.array([*positions, positions[0]], dtype=np.float64)


def area(*positions: tuple[float, float]) -> Area:
    return area_of_ring(ring(*positions), "area")


def holds(found: Area, lng: float, lat: float) -> bool:
    return bool(shapely.intersects_xy(found.geometry, lng, lat))


def refusal(*rings: np.ndarray) -> tuple[str, str]:
    """Returns the field and the description of the refusal of a polygon."""
    with pytest.raises(InvalidInput) as caught:
        area_of_polygons([rings], ["p"])
    assert caught.value.reason == Reason.INVALID_GEOMETRY
    (violation,) = caught.value.violations
    return violation.field, violation.description


def test_a_plain_ring_stays_as_it_is() -> None:
    assert area_of_ring(SQUARE, "area").geometry == shapely.Polygon(SQUARE)


@pytest.mark.parametrize("turned", [False, True])
def test_a_ring_across_the_antimeridian_becomes_two_parts(*, turned: bool) -> None:
    positions = [(170.0, -10.0), (-170.0, -10.0), (-170.0, 10.0), (170.0, 10.0)]
    found = area(*(positions[::-1] if turned else positions))
    wanted = shapely.MultiPolygon([shapely.box(170, -10, 180, 10), shapely.box(-180, -10, -170, 10)])
    assert shapely.equals(found.geometry, wanted)


def test_a_ring_across_the_antimeridian_is_as_large_as_the_same_ring_elsewhere() -> None:
    shape = [(0.0, 0.0), (20.0, 5.0), (12.0, 30.0), (3.0, 17.0)]
    there = area(*((math.remainder(lng + 170, 360), lat) for lng, lat in shape))
    assert there.square_meters() == pytest.approx(area(*shape).square_meters())
    assert there.geometry.geom_type == "MultiPolygon"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("side", [1, -1])
def test_a_ring_around_a_pole_encloses_it(side: int, start: int, *, turned: bool) -> None:
    positions = [(math.remainder(60.0 * index, 360), side * 60.0) for index in range(start, start + 6)]
    found = area(*(positions[::-1] if turned else positions))
    assert shapely.equals(found.geometry, shapely.box(-180, min(60, 90 * side), 180, max(-60, 90 * side)))
    assert found.square_meters() == pytest.approx(EARTH_SQUARE_METERS * (1 - math.sin(math.radians(60))) / 2)


def test_a_ring_around_a_pole_that_turns_back_on_its_way_encloses_it() -> None:
    found = area((0, 60), (-30, 40), (20, 30), (100, 70), (140, 60), (90, 50), (170, 40), (-100, 65))
    assert found.geometry.is_valid
    assert [holds(found, -27, lat) for lat in (89, 62, 50, 41, 35)] == [True, True, False, True, False]
    assert [holds(found, 120, lat) for lat in (89, 66, 60, 50, 45)] == [True, True, False, True, False]
    assert not holds(found, 0, -89)


def test_a_ring_along_the_equator_encloses_the_pole_to_its_left() -> None:
    east = area((0, 0), (120, 0), (-120, 0))
    west = area((0, 0), (-120, 0), (120, 0))
    assert (holds(east, 5, 80), holds(east, 5, -80)) == (True, False)
    assert (holds(west, 5, 80), holds(west, 5, -80)) == (False, True)
    assert east.square_meters() == pytest.approx(EARTH_SQUARE_METERS / 2)


def test_a_ring_around_the_earth_may_be_closed_at_the_antimeridian() -> None:
    open_ended = np.array([(-180, 60), (-60, 60), (60, 60), (180, 60)], dtype=np.float64)
    found = area_of_ring(open_ended, "area")
    assert shapely.equals(found.geometry, shapely.box(-180, 60, 180, 90))


def test_a_rectangle_around_the_earth_is_a_band() -> None:
    found = area_of_ring(BAND, "area")
    assert shapely.equals(found.geometry, shapely.box(-180, 10, 180, 20))
    wanted = EARTH_SQUARE_METERS * (math.sin(math.radians(20)) - math.sin(math.radians(10))) / 2
    assert found.square_meters() == pytest.approx(wanted)


def test_an_edge_along_a_pole_is_taken_as_it_is() -> None:
    found = area((-100, 80), (0, 80), (100, 80), (100, 90), (-100, 90))
    assert shapely.equals(found.geometry, shapely.box(-100, 80, 100, 90))


def test_the_whole_world_is_as_large_as_the_earth() -> None:
    world = area((-180, -90), (180, -90), (180, 90), (-180, 90))
    assert world.square_meters() == pytest.approx(EARTH_SQUARE_METERS)


def test_a_cap_has_the_size_of_the_formula() -> None:
    cap = area((-180, 80), (180, 80), (180, 90), (-180, 90))
    assert cap.square_meters() == pytest.approx(EARTH_SQUARE_METERS * (1 - math.sin(math.radians(80))) / 2)


def test_a_slanting_edge_is_straight_in_longitude_and_latitude() -> None:
    # Half of what lies between the equator and latitude y, on average: the integral of sin(x) from 0 to 60 degrees.
    triangle = area((0, 0), (60, 0), (60, 60))
    turn = EARTH_SQUARE_METERS / (4 * math.pi)
    assert triangle.square_meters() == pytest.approx(turn * (1 - math.cos(math.radians(60))))


def test_the_perimeter_is_that_of_the_sphere() -> None:
    degree = 6_371_007.18 * math.pi / 180
    assert area_of_ring(SQUARE, "area").perimeter_meters() == pytest.approx(
        degree * (30 + 10 * math.cos(math.radians(10))), rel=1e-3
    )
    assert area((0, 80), (90, 80), (90, 90), (0, 90)).perimeter_meters() < degree * (20 + 90 * 0.174)


def test_slices_make_up_the_area_and_none_is_wide() -> None:
    found = area((-170, -50), (0, -60), (170, -50), (170, 50), (0, 40), (-170, 60))
    slices = list(found.slices())
    assert all(east - west <= 90 for west, _, east, _ in (piece.bounds for piece in slices))
    assert shapely.union_all(slices).equals(found.geometry) or (
        shapely.symmetric_difference(shapely.union_all(slices), found.geometry).area < 1e-9
    )
    assert sum(piece.area for piece in slices) == pytest.approx(found.geometry.area)


def test_polygons_that_overlap_are_joined() -> None:
    found = area_of_polygons([[SQUARE], [SQUARE + (5, 0)], [SQUARE + (40, 0)]], ["a", "b", "c"])  # noqa: RUF005 -- adds
    wanted = shapely.MultiPolygon([shapely.box(0, 0, 15, 10), shapely.box(40, 0, 50, 10)])
    assert shapely.equals(found.geometry, wanted)


def test_polygons_that_share_an_edge_are_joined() -> None:
    found = area_of_polygons([[SQUARE], [SQUARE + (10, 0)]], ["a", "b"])  # noqa: RUF005 -- adds
    assert shapely.equals(found.geometry, shapely.box(0, 0, 20, 10))


def test_holes_are_cut_out_also_across_the_antimeridian() -> None:
    shell = ring((160, -20), (-160, -20), (-160, 20), (160, 20))
    hole = ring((175, -5), (-175, -5), (-175, 5), (175, 5))
    found = area_of_polygons([[shell, hole]], ["p"])
    assert [holds(found, lng, 0) for lng in (165, 176, 180, -176, -165)] == [True, False, False, False, True]


def test_a_hole_around_the_pole_leaves_a_belt() -> None:
    shell, hole = (ring(*((lng, lat) for lng in (0, 120, -120))) for lat in (60, 80))
    found = area_of_polygons([[shell, hole]], ["p"])
    assert shapely.equals(found.geometry, shapely.box(-180, 60, 180, 80))


@pytest.mark.parametrize(
    ("positions", "wanted"),
    [
        (SQUARE[:-1], "must end where it begins"),
        (np.array([(0, 0), (1, 0), (0, 0)], dtype=np.float64), "must have at least 4 positions"),
        (np.zeros((0, 2)), "must have at least 4 positions"),
        (np.array([(3, 3)] * 4, dtype=np.float64), "has no area"),
        (ring((0, 0), (1, 1), (2, 2)), "has no area"),
        (ring((0, 0), (1, 0), (2, 0), (1, 0)), "has no area"),
        (np.array([(-180, 60), (0, 60), (180, 60), (180, 61)], dtype=np.float64), "must end where it begins"),
    ],
    ids=["open", "two", "none", "point", "line", "there and back", "elsewhere"],
)
def test_refuses_what_is_no_ring(positions: np.ndarray, wanted: str) -> None:
    assert refusal(positions) == ("p[0]", wanted)


def test_names_the_point_where_a_ring_crosses_itself() -> None:
    bow = ring((0, 0), (3, 4), (3, 0), (0, 4))
    assert refusal(bow) == ("p[0]", "crosses or touches itself at [1.5, 2]")


def test_names_the_point_also_across_the_antimeridian() -> None:
    bow = ring((178, 0), (-178, 4), (-178, 0), (178, 4))
    field, description = refusal(bow)
    assert (field, description) in {
        ("p[0]", "crosses or touches itself at [-180, 2]"),
        ("p[0]", "crosses or touches itself at [180, 2]"),
    }


def test_refuses_a_ring_that_touches_itself() -> None:
    assert refusal(ring((0, 0), (4, 0), (2, 2), (4, 4), (0, 4), (2, 2)))[1].startswith("crosses or touches itself")


def test_refuses_a_ring_around_a_pole_that_crosses_itself() -> None:
    assert refusal(ring((0, 60), (100, 60), (50, 70), (60, 50), (-100, 60)))[1].startswith("crosses or touches itself")


def test_refuses_a_ring_twice_around_the_earth() -> None:
    twice = ring(*((math.remainder(80.0 * index, 360), 50 + index) for index in range(9)))
    assert refusal(twice) == ("p[0]", "goes more than once around the Earth")


def test_refuses_a_spiral_that_overlaps_itself_around_the_earth() -> None:
    there = [(math.remainder(90.0 * index, 360), 0.0) for index in range(6)]
    back = [(lng, 10.0) for lng, _ in reversed(there)]
    assert refusal(ring(*there, *back)) == ("p[0]", "overlaps itself around the Earth")


def test_refuses_a_hole_outside_its_shell_and_says_where() -> None:
    field, description = refusal(SQUARE, ring((20, 20), (22, 20), (22, 22), (20, 22)))
    assert field == "p[1]"
    assert description == "lies outside of its polygon's outer ring at [21, 21]"


def test_refuses_a_hole_that_reaches_out_of_its_shell() -> None:
    assert refusal(SQUARE, ring((5, 5), (15, 5), (15, 6), (5, 6)))[0] == "p[1]"


def test_refuses_holes_that_fill_the_shell() -> None:
    halves = ring((0, 0), (5, 0), (5, 10), (0, 10)), ring((5, 0), (10, 0), (10, 10), (5, 10))
    assert refusal(SQUARE, *halves) == ("p", "has no area: its holes fill it")


def test_the_smallest_cells_are_areas() -> None:
    # A decimetre wide.
    tiny = area((10, 50), (10.000001, 50), (10.000001, 50.000001))
    assert tiny.square_meters() == pytest.approx(0.0040, rel=0.02)
