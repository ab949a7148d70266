"""What a track amounts to: how long, how far, how fast, where."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from h3.api.basic_str import latlng_to_cell  # type: ignore[import-untyped]  # ships no types

from trajectory.geodesy import centroid, geodesics
from trajectory.track import MICROSECONDS_PER_SECOND, Floats, Track

MAX_CELLS: Final = 1_000
"""Visited cells that a summary names; it counts them all."""

_PERCENTILES: Final = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Speeds:
    """Speeds between successive positions in metres per second; percentiles are of time.

    Attributes:
        mean: Length by duration.
        moving_mean: The same of the moving steps alone; None when none moved.
        maximum: The fastest step.
        percentiles: The 50th, 90th, 95th and 99th.
    """

    mean: float
    moving_mean: float | None
    maximum: float
    percentiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Bearing:
    """A circular mean, weighted by length.

    Attributes:
        mean: Degrees clockwise from north, 0 to below 360.
        concentration: 0 (the bearings cancel out) to 1 (all are the same).
    """

    mean: float
    concentration: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """A rectangle in degrees; `west` is greater than `east` when it crosses the antimeridian."""

    south: float
    west: float
    north: float
    east: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What a track amounts to. Times in microseconds, lengths in metres.

    Attributes:
        start: Time of the first position, since 1970.
        end: Time of the last position, since 1970.
        moving: How long it moved.
        length: Sum of the geodesics between successive positions.
        displacement: Geodesic from the first to the last.
        straightness: Displacement by length; None when nothing moved.
        speeds: None with one position.
        bearing: None when nothing moved.
        radius_of_gyration: Root mean squared distance from `centre`.
        centre: Latitude and longitude of the middle of the positions.
        bounds: The rectangle around the track.
        cells: The first :data:`MAX_CELLS` H3 cells in the order of first visit.
        cell_count: How many there are.
    """

    start: int
    end: int
    moving: int
    length: float
    displacement: float
    straightness: float | None
    speeds: Speeds | None
    bearing: Bearing | None
    radius_of_gyration: float
    centre: tuple[float, float]
    bounds: Bounds
    cells: list[str]
    cell_count: int


def summarize(track: Track, *, stop_speed: float, cell_resolution: int) -> Summary:
    """Summarizes a track.

    Args:
        track: At least one position.
        stop_speed: Metres per second from which on a step between two positions counts as moving.
        cell_resolution: H3 resolution of the cells visited.

    Returns:
        Lengths and bearings on the WGS84 ellipsoid. The radius of gyration is that of González et al. (2008), in which
        every position counts once. Straightness is the ratio of beeline to path (Batschelet 1981).
    """
    lats, lngs, times = track.lats, track.lngs, track.times
    bearings, lengths = geodesics(lats[:-1], lngs[:-1], lats[1:], lngs[1:])
    steps = np.diff(times)
    _, (displacement,) = geodesics(lats[:1], lngs[:1], lats[-1:], lngs[-1:])
    length = float(lengths.sum())
    moving = lengths * MICROSECONDS_PER_SECOND >= stop_speed * steps
    centre = centroid(lats, lngs)
    _, from_centre = geodesics(np.full_like(lats, centre[0]), np.full_like(lngs, centre[1]), lats, lngs)
    cells = dict.fromkeys(
        latlng_to_cell(lat, lng, cell_resolution) for lat, lng in zip(lats.tolist(), lngs.tolist(), strict=True)
    )
    return Summary(
        start=int(times[0]),
        end=int(times[-1]),
        moving=int(steps[moving].sum()),
        length=length,
        displacement=float(displacement),
        # A path rounded to be shorter than its beeline is straight.
        straightness=min(float(displacement) / length, 1.0) if length > 0 else None,
        speeds=_speeds(lengths, steps / MICROSECONDS_PER_SECOND, moving),
        bearing=_mean_bearing(bearings, lengths),
        radius_of_gyration=float(np.sqrt(np.mean(from_centre**2))),
        centre=centre,
        bounds=bounds(lats, lngs),
        cells=list(cells)[:MAX_CELLS],
        cell_count=len(cells),
    )


def bounds(lats: Floats, lngs: Floats) -> Bounds:
    """Returns the rectangle around a track that goes the shorter way round between successive positions."""
    unrolled = np.unwrap(lngs, period=360.0)
    west, east = float(unrolled.min()), float(unrolled.max())
    if east - west >= 360.0:  # noqa: PLR2004 -- all the way round
        return Bounds(float(lats.min()), -180.0, float(lats.max()), 180.0)
    if west >= -180.0 and east <= 180.0:  # noqa: PLR2004 -- stays on this side of the antimeridian
        return Bounds(float(lats.min()), west, float(lats.max()), east)
    return Bounds(float(lats.min()), (west + 180.0) % 360.0 - 180.0, float(lats.max()), (east + 180.0) % 360.0 - 180.0)


def _speeds(lengths: Floats, seconds: Floats, moving: np.typing.NDArray[np.bool_]) -> Speeds | None:
    lasting = seconds > 0
    if not lasting.any():
        return None
    lengths, seconds, moving = lengths[lasting], seconds[lasting], moving[lasting]
    speeds = lengths / seconds
    order = np.argsort(speeds)
    elapsed = np.cumsum(seconds[order])
    # The slowest speed that the entity did not exceed for that share of the time.
    ranks = np.searchsorted(elapsed, np.multiply(_PERCENTILES, elapsed[-1]) * (1 - 1e-12))
    return Speeds(
        mean=float(lengths.sum() / seconds.sum()),
        moving_mean=float(lengths[moving].sum() / seconds[moving].sum()) if moving.any() else None,
        maximum=float(speeds.max()),
        percentiles=tuple(float(speed) for speed in speeds[order][ranks]),
    )


def _mean_bearing(bearings: Floats, lengths: Floats) -> Bearing | None:
    total = lengths.sum()
    if total <= 0:
        return None
    angles = np.radians(bearings)
    east = float((np.sin(angles) * lengths).sum() / total)
    north = float((np.cos(angles) * lengths).sum() / total)
    # Twice, because -1e-17 % 360 is 360.0.
    return Bearing(float(np.degrees(np.arctan2(east, north))) % 360.0 % 360.0, min(float(np.hypot(east, north)), 1.0))
