"""Points in space, boxes and the bound that ends a search."""

import math

import numpy as np
import pyproj
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spatial_index import geocentric

GEOD = pyproj.Geod(ellps="WGS84")
TO_GEOCENTRIC = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978")

lats = st.floats(-90, 90)
lngs = st.floats(-180, 180)


@settings(deadline=None)
@given(lats, lngs)
def test_agrees_with_proj(lat: float, lng: float) -> None:
    assert geocentric.point(lat, lng) == pytest.approx(TO_GEOCENTRIC.transform(lat, lng, 0.0), abs=1e-6)


@settings(deadline=None)
@given(lats, lngs, lats, lngs)
def test_no_geodesic_is_shorter_than_its_chord_allows(lat0: float, lng0: float, lat1: float, lng1: float) -> None:
    chord = math.dist(geocentric.point(lat0, lng0), geocentric.point(lat1, lng1))
    assert geocentric.shortest_geodesic(chord) <= GEOD.inv(lng0, lat0, lng1, lat1)[2]


@settings(deadline=None)
@given(lats, lngs, st.floats(1_000, 1_000_000), st.floats(0, 360))
def test_the_bound_is_tight_to_a_few_parts_in_a_hundred_thousand(
    lat: float, lng: float, meters: float, bearing: float
) -> None:
    lng1, lat1, _ = GEOD.fwd(lng, lat, bearing, meters)
    chord = math.dist(geocentric.point(lat, lng), geocentric.point(lat1, lng1))
    assert geocentric.shortest_geodesic(chord) >= meters * (1 - 3e-5) - 0.002


def test_the_bound_grows_with_the_chord() -> None:
    bounds = [geocentric.shortest_geodesic(float(chord)) for chord in np.linspace(0, 2 * 6_378_137, 1000)]
    assert bounds[0] == 0.0
    assert bounds == sorted(bounds)
    assert bounds[-1] > 19_000_000


@settings(deadline=None)
@given(st.tuples(lats, lats), lngs, lngs, st.floats(0, 1), st.floats(0, 1))
def test_a_box_holds_every_point_between_its_edges(
    sides: tuple[float, float], west: float, east: float, up: float, along: float
) -> None:
    south, north = sorted(sides)
    width = (east - west) % 360 if west > east else east - west
    lat, lng = south + up * (north - south), west + along * width
    assume(south <= lat <= north)
    low, high = geocentric.box(south, west, north, east)
    assert all(a <= x <= b for a, x, b in zip(low, geocentric.point(lat, lng), high, strict=True))


def test_a_box_is_no_larger_than_it_must_be() -> None:
    low, high = geocentric.box(-10, -20, 30, 40)
    grid = [geocentric.point(lat, lng) for lat in np.linspace(-10, 30, 201) for lng in np.linspace(-20, 40, 301)]
    assert low == pytest.approx(np.min(grid, axis=0), abs=1)
    assert high == pytest.approx(np.max(grid, axis=0), abs=1)


def test_a_box_across_the_antimeridian_is_small() -> None:
    (_, y0, _), (_, y1, _) = geocentric.box(-1, 179, 1, -179)
    assert y1 - y0 == pytest.approx(222_600, rel=0.01)


def test_the_box_of_the_world_is_that_of_the_ellipsoid() -> None:
    low, high = geocentric.box(-90, -180, 90, 180)
    assert high == pytest.approx((6_378_137, 6_378_137, 6_356_752.314), abs=0.01)
    assert low == pytest.approx([-each for each in high])


def test_joined_boxes_hold_both() -> None:
    one, other = ((0.0, 1.0, 2.0), (3.0, 4.0, 5.0)), ((-1.0, 2.0, 2.5), (1.0, 9.0, 4.0))
    assert geocentric.join(one, other) == ((-1.0, 1.0, 2.0), (3.0, 9.0, 5.0))
