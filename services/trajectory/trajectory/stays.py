"""Where an entity stayed: the stay points of Li, Zheng, Xie, Chen, Liu and Ma (2008)."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trajectory.geodesy import centroid, geodesics, to_earth_centred
from trajectory.track import Flags, Floats, Integers, Track

_FIRST_BLOCK: Final = 32
_LARGEST_BLOCK: Final = 8192


@dataclass(frozen=True, slots=True)
class Stay:
    """A stay point.

    Attributes:
        lat: Latitude of the middle of its positions, degrees.
        lng: Longitude of the middle of its positions, degrees.
        radius: Metres from there to the farthest position.
        arrival: Time of the first position, microseconds since 1970.
        departure: Time of the last position, microseconds since 1970.
        first: Index of the first position in the track.
        last: Index of the last position in the track.
        departed: Whether a later position follows, which shows that the entity left.
    """

    lat: float
    lng: float
    radius: float
    arrival: int
    departure: int
    first: int
    last: int
    departed: bool


def find_stays(track: Track, *, max_distance_meters: float, min_duration: int) -> list[Stay]:
    """Finds the stays of a track.

    A stay is a longest run of positions of which none is farther than `max_distance_meters` from the first, and which
    lasts at least `min_duration` from the first to the last. The run is looked for from each position in turn that no
    stay holds yet, so stays are in order and share no position.

    Args:
        track: At least one position.
        max_distance_meters: Metres.
        min_duration: Microseconds, above 0.

    Returns:
        The stays in the order of arrival.
    """
    search = _Search(track, max_distance_meters, min_duration)
    found: list[Stay] = []
    first = search.next_candidate(0)
    while first is not None:
        stop = search.first_outside(first)
        if stop > search.long_enough[first]:
            found.append(_stay(track, first, stop - 1))
            first = search.next_candidate(stop)
        else:
            first = search.next_candidate(search.not_ruled_out(first, stop))
    return found


class _Search:
    """The track as the search sees it: points in space, and for each when a stay from there would be long enough."""

    def __init__(self, track: Track, max_distance_meters: float, min_duration: int) -> None:
        self._points = to_earth_centred(track.lats, track.lngs)
        self._limit = max_distance_meters**2
        self._size = len(track)
        self.long_enough: Integers = np.searchsorted(track.times, track.times + min_duration)
        # Most positions of a moving thing are out of the question at one glance: by then it is too far away.
        starts = np.flatnonzero(self.long_enough < self._size)
        away = self._far(self._points[starts], self._points[self.long_enough[starts]])
        self._candidates = starts[~away]

    def next_candidate(self, index: int) -> int | None:
        """Returns the first position at or after `index` that a stay may begin with."""
        place = int(np.searchsorted(self._candidates, index))
        return int(self._candidates[place]) if place < len(self._candidates) else None

    def first_outside(self, first: int) -> int:
        """Returns the next position that is too far from `first`, or the track's length when none is."""
        begin, block = first + 1, _FIRST_BLOCK
        while begin < self._size:
            far = self._far(self._points[begin : begin + block], self._points[first])
            hit = int(far.argmax())
            if far[hit]:
                return begin + hit
            begin, block = begin + block, min(2 * block, _LARGEST_BLOCK)
        return self._size

    def not_ruled_out(self, first: int, stop: int) -> int:
        """Returns the next position after `first` whose stay `stop` does not end too early as well.

        A later position needs at least as late a last one, so `stop` ends every stay that it is too far from. This is
        what keeps the search from going over a long run once for each of its positions.
        """
        near = np.flatnonzero(~self._far(self._points[first + 1 : stop], self._points[stop]))
        return first + 1 + int(near[0]) if len(near) else stop

    def _far(self, points: Floats, others: Floats) -> Flags:
        way = points - others
        return np.asarray(np.einsum("ij,ij->i", way, way) > self._limit)


def _stay(track: Track, first: int, last: int) -> Stay:
    lats, lngs = track.lats[first : last + 1], track.lngs[first : last + 1]
    lat, lng = centroid(lats, lngs)
    _, distances = geodesics(np.full_like(lats, lat), np.full_like(lngs, lng), lats, lngs)
    return Stay(
        lat=lat,
        lng=lng,
        radius=float(distances.max()),
        arrival=int(track.times[first]),
        departure=int(track.times[last]),
        first=first,
        last=last,
        departed=last + 1 < len(track),
    )
