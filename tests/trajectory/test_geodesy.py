import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trajectory.tracks import WGS84, meters
from trajectory.geodesy import centroid, to_earth_centred

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)


@given(lat=LATITUDES, lng=LONGITUDES, bearing=st.floats(0, 360), length=st.floats(1, 10_000))
def test_straight_lines_are_as_long_as_short_geodesics(lat: float, lng: float, bearing: float, length: float) -> None:
    to_lng, to_lat, _ = WGS84.fwd(lng, lat, bearing, length)
    first, second = to_earth_centred(np.array([lat, to_lat]), np.array([lng, to_lng]))
    assert np.linalg.norm(first - second) == pytest.approx(length, rel=1e-6, abs=1e-6)


@given(lat=LATITUDES, lng=LONGITUDES)
def test_the_middle_of_one_place_is_that_place(lat: float, lng: float) -> None:
    assert centroid(np.full(3, lat), np.full(3, lng)) == (lat, lng)


@given(lat=st.floats(-89, 89), lng=LONGITUDES, bearing=st.floats(0, 360))
def test_the_middle_of_two_places_is_between_them(lat: float, lng: float, bearing: float) -> None:
    to_lng, to_lat, _ = WGS84.fwd(lng, lat, bearing, 10_000)
    middle = centroid(np.array([lat, to_lat]), np.array([lng, to_lng]))
    assert meters(*middle, lat, lng) == pytest.approx(5_000, abs=30)
    assert meters(*middle, to_lat, to_lng) == pytest.approx(5_000, abs=30)


def test_places_that_balance_each_other_have_the_first_for_a_middle() -> None:
    assert centroid(np.array([0.0, 0.0]), np.array([10.0, -170.0])) == (0.0, 10.0)
