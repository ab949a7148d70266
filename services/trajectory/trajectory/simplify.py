"""Thins a track out so that no dropped position is farther than a tolerance from what remains.

Both algorithms are top-down: begin with the line from first to last position, keep the position that errs most while
it errs too much, and go on left and right of it. Here a whole level of that tree is one pass of NumPy over all
positions that are still open, instead of one call for each kept position.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from trajectory.geodesy import to_earth_centred
from trajectory.track import Flags, Floats, Integers, Track

# A level costs one pass, and a track can be made (a spiral) whose tree is as deep as the track is long. Below this
# depth, which no recorded track came near, lines are split in their middle: more is kept, the tolerance holds.
_BALANCED_BELOW: Final = 64

# Below a micrometre distances are made of rounding.
_ROUNDING_METERS: Final = 1e-6

# Ends nearer to each other than this fraction of the Earth's radius (6 mm) have no direction worth computing, and so
# have ends on opposite sides of the Earth.
_PARALLEL: Final = 1e-9

Errors = Callable[[Integers, Integers, Integers], Floats]
"""Takes indices of open positions and, for each, of the ends of its line; returns how far each errs, in metres."""


def douglas_peucker(track: Track, tolerance_meters: float) -> Flags:
    """Keeps the shape of a track (Douglas and Peucker 1973).

    Distances are from the great ellipse between the kept neighbours, which leaves their geodesic by at most 0.2 m over
    50 km, 0.7 m over 100 km and 66 m over 1,000 km.

    Args:
        track: At least one position.
        tolerance_meters: The largest distance of a dropped position from the simplified line.

    Returns:
        Which positions to keep, shape (n,); the first and the last always.
    """
    points = to_earth_centred(track.lats, track.lngs)
    return _simplify(len(track), tolerance_meters, lambda *indices: _distances_from_arcs(points, *indices))


def time_ratio(track: Track, tolerance_meters: float) -> Flags:
    """Keeps shape and pace of a track: TD-TR, Meratnia and de By (2004).

    Distances are from where a steady pace along the great ellipse of `douglas_peucker` would have been at the same time.

    Args:
        track: At least one position.
        tolerance_meters: The largest distance of a dropped position from its synchronous one.

    Returns:
        Which positions to keep, shape (n,); the first and the last always.
    """
    points = to_earth_centred(track.lats, track.lngs)
    return _simplify(len(track), tolerance_meters, lambda *indices: _distances_in_step(points, track.times, *indices))


def _simplify(size: int, tolerance: float, errors: Errors) -> Flags:
    keep = np.zeros(size, dtype=bool)
    keep[[0, -1]] = True
    firsts, lasts = np.array([0]), np.array([size - 1])
    level = 0
    while True:
        has_inner = lasts - firsts > 1
        firsts, lasts = firsts[has_inner], lasts[has_inner]
        if not len(firsts):
            return keep
        worst, failing = _worst(firsts, lasts, max(tolerance, _ROUNDING_METERS), errors)
        firsts, lasts, worst = firsts[failing], lasts[failing], worst[failing]
        splits = worst if level < _BALANCED_BELOW else (firsts + lasts) // 2
        keep[splits] = True
        firsts, lasts = np.concatenate([firsts, splits]), np.concatenate([splits, lasts])
        level += 1


def _worst(firsts: Integers, lasts: Integers, tolerance: float, errors: Errors) -> tuple[Integers, Flags]:
    """Returns, for each line, the inner position that errs most, and whether it errs more than the tolerance."""
    counts = lasts - firsts - 1
    begins = np.cumsum(counts) - counts
    inner = np.arange(counts.sum()) + np.repeat(firsts + 1 - begins, counts)
    distances = errors(inner, np.repeat(firsts, counts), np.repeat(lasts, counts))
    largest = np.maximum.reduceat(distances, begins)
    hits = np.flatnonzero(distances == np.repeat(largest, counts))
    # Of several that err alike the first: the first hit at or after the place where the line's positions begin.
    return inner[hits[np.searchsorted(hits, begins)]], largest > tolerance


def _distances_from_arcs(points: Floats, inner: Integers, firsts: Integers, lasts: Integers) -> Floats:
    """Returns the distance of each point from an arc: from its plane where it lies beside it, else from an end."""
    lines, line_of = _lines(firsts)
    start, end = points[firsts[lines]], points[lasts[lines]]
    normal = np.cross(start, end)
    norm = np.linalg.norm(normal, axis=1)
    straight = norm > _PARALLEL * np.einsum("ij,ij->i", start, start)
    normal /= np.where(straight, norm, 1.0)[:, None]
    from_start = points[inner] - points[firsts]
    from_end = points[inner] - points[lasts]
    ahead = np.einsum("ij,ij->i", np.cross(normal, start)[line_of], from_start) >= 0
    behind = np.einsum("ij,ij->i", np.cross(end, normal)[line_of], from_end) >= 0
    beside = np.abs(np.einsum("ij,ij->i", normal[line_of], from_start))
    nearest_end = np.sqrt(
        np.minimum(np.einsum("ij,ij->i", from_start, from_start), np.einsum("ij,ij->i", from_end, from_end))
    )
    distances: Floats = np.where(ahead & behind & straight[line_of], beside, nearest_end)
    return distances


def _distances_in_step(points: Floats, times: Integers, inner: Integers, firsts: Integers, lasts: Integers) -> Floats:
    """Returns the distance of each point from where a steady pace from first to last would be at its time."""
    start, end, point = points[firsts], points[lasts], points[inner]
    share = (times[inner] - times[firsts]) / np.maximum(times[lasts] - times[firsts], 1)
    chord = np.linalg.norm(end - start, axis=1)
    angle = 2 * np.arcsin(np.minimum(chord / (np.linalg.norm(start, axis=1) + np.linalg.norm(end, axis=1)), 1.0))
    sine = np.sin(angle)
    curved = sine > _PARALLEL
    divisor = np.where(curved, sine, 1.0)
    weight_start = np.where(curved, np.sin((1 - share) * angle) / divisor, 1 - share)
    weight_end = np.where(curved, np.sin(share * angle) / divisor, share)
    expected = weight_start[:, None] * start + weight_end[:, None] * end
    radius = np.linalg.norm(expected, axis=1)
    # Compared on the point's own height, because the chord between far ends runs below the surface. The way between
    # opposite sides of the Earth is undefined, and a point on it errs by all.
    scale = np.linalg.norm(point, axis=1) / np.maximum(radius, 1.0)
    return np.where(radius > 1.0, np.linalg.norm(point - expected * scale[:, None], axis=1), np.inf)


def _lines(firsts: Integers) -> tuple[Integers, Integers]:
    """Returns where each line's run of equal `firsts` begins, and for each element the number of its run."""
    changes = np.empty(len(firsts), dtype=bool)
    changes[0] = True
    np.not_equal(firsts[1:], firsts[:-1], out=changes[1:])
    return np.flatnonzero(changes), np.cumsum(changes) - 1
