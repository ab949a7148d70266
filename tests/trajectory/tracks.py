"""Tracks for the tests of the domain."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from pyproj import Geod

from trajectory.track import Track

WGS84 = Geod(ellps="WGS84")
SECOND = 1_000_000


def track(*points: tuple[float, float, float]) -> Track:
    """Returns the track through points of seconds, latitude and longitude."""
    seconds, lats, lngs = zip(*points, strict=True)
    return Track.of(np.array(seconds) * SECOND, lats, lngs)


@st.composite
def tracks(draw: st.DrawFn, min_size: int = 1, max_size: int = 60) -> Track:
    """Draws walks of steps up to some kilometres that begin anywhere, also at the poles and the antimeridian."""
    size = draw(st.integers(min_size, max_size))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    step = draw(st.sampled_from([1.0, 30.0, 1000.0, 20_000.0]))
    lat = draw(st.floats(-90, 90) | st.sampled_from([-90.0, 0.0, 90.0]))
    lng = draw(st.floats(-180, 180) | st.sampled_from([-180.0, 180.0]))
    lats, lngs = [lat], [lng]
    for bearing, length in zip(rng.uniform(0, 360, size - 1), rng.exponential(step, size - 1), strict=True):
        lng, lat, _ = WGS84.fwd(lngs[-1], lats[-1], bearing, length)
        lats.append(lat)
        lngs.append(lng)
    # Some stand still, as recorded tracks do.
    for index in rng.choice(size, size // 4):
        if index:
            lats[index], lngs[index] = lats[index - 1], lngs[index - 1]
    times = np.cumsum(rng.integers(1, 120 * SECOND, size))
    return Track.of(times, lats, lngs)


def meters(lat: Any, lng: Any, to_lat: Any, to_lng: Any) -> float:
    """Returns the geodesic distance between two points."""
    return float(WGS84.inv(lng, lat, to_lng, to_lat)[2])


def along(track: Track, first: int, last: int, share: float) -> tuple[float, float]:
    """Returns latitude and longitude of the point that divides the geodesic between two positions."""
    bearing, _, length = WGS84.inv(track.lngs[first], track.lats[first], track.lngs[last], track.lats[last])
    lng, lat, _ = WGS84.fwd(track.lngs[first], track.lats[first], bearing, length * share)
    return lat, lng
