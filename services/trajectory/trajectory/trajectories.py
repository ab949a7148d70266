"""Answers questions about the track of one entity, by what the store has of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from meshkit.errors import InvalidInput, NotFound, Reason
from trajectory.compute import compute
from trajectory.positions import Attributes, Positions
from trajectory.repository import PositionRepository
from trajectory.stays import Stay, find_stays
from trajectory.summary import Summary, summarize
from trajectory.track import Flags, Track, to_datetime, to_microseconds

MAX_ATTRIBUTE_CHARACTERS: Final = 1_000_000
"""Names and values of attributes on one page, so that it stays far below the largest message."""

Simplifier = Callable[[Track, float], Flags]

_MOMENT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Which positions are meant: those of an entity, as a tenant sees it, in [start, end); None is unbounded."""

    tenant: str
    entity_id: str
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a track.

    Attributes:
        track: At least one position.
        attributes: Those of its positions that have any, by time; empty when not asked for.
        unsimplified_count: Positions in the window before simplification; 0 when there was none.
        last: Whether no page follows.
    """

    track: Track
    attributes: Mapping[int, Attributes]
    unsimplified_count: int
    last: bool


class Trajectories:
    """Tracks and what they tell."""

    def __init__(self, repository: PositionRepository, *, max_track_positions: int) -> None:
        """Takes the store, and how many positions a track may have that is needed whole."""
        self._repository = repository
        self._max_track_positions = max_track_positions

    async def add(self, tenant: str, positions: Positions) -> int:
        """Stores positions; returns how many were new. All are committed."""
        return await self._repository.add(tenant, positions)

    async def page(self, window: Window, *, after: datetime | None, size: int, with_attributes: bool) -> Page:
        """Returns the positions of a window that follow the time `after`, at most `size`.

        Raises:
            NotFound: There are none.
        """
        key = await self._key(window)
        start = window.start if after is None else after + _MOMENT
        track = await self._repository.read(window.tenant, key, start, window.end, limit=size + 1)
        return await self._page(window, key, track, size, 0, with_attributes=with_attributes)

    async def simplified_page(
        self,
        window: Window,
        simplify: Simplifier,
        tolerance_meters: float,
        *,
        after: datetime | None,
        size: int,
        with_attributes: bool,
    ) -> Page:
        """Returns what is left of the whole window after simplification, in pages as `page`.

        Raises:
            NotFound: There are no positions.
            InvalidInput: There are too many.
        """
        key = await self._key(window)
        whole = await self._whole(window, key)
        track = whole.take(await compute(len(whole), lambda: simplify(whole, tolerance_meters)))
        if after is not None:
            track = track.take(track.times > to_microseconds(after))
        return await self._page(window, key, track, size, len(whole), with_attributes=with_attributes)

    async def summary(self, window: Window, *, stop_speed: float, cell_resolution: int) -> tuple[Summary, int]:
        """Returns what a track amounts to and of how many positions; raises as `simplified_page`."""
        track = await self._whole(window, await self._key(window))
        summary = await compute(
            len(track), lambda: summarize(track, stop_speed=stop_speed, cell_resolution=cell_resolution)
        )
        return summary, len(track)

    async def stays(
        self, window: Window, *, max_distance_meters: float, min_duration: int, after: datetime | None
    ) -> list[Stay]:
        """Returns the stays of a track that begin after the time `after`.

        Takes distances in metres and durations in microseconds; raises as `simplified_page`.
        """
        track = await self._whole(window, await self._key(window))
        found = await compute(
            len(track), lambda: find_stays(track, max_distance_meters=max_distance_meters, min_duration=min_duration)
        )
        return [stay for stay in found if after is None or stay.arrival > to_microseconds(after)]

    async def _key(self, window: Window) -> int:
        key = await self._repository.find_entity(window.tenant, window.entity_id)
        if key is None:
            raise _not_found(window)
        return key

    async def _whole(self, window: Window, key: int) -> Track:
        most = self._max_track_positions
        track = await self._repository.read(window.tenant, key, window.start, window.end, limit=most + 1)
        if len(track) > most:
            raise InvalidInput(
                "end_time",
                f"more than {most} positions lie in this time; ask for a shorter one",
                reason=Reason.RESULT_TOO_LARGE,
            )
        if not len(track):
            raise _not_found(window)
        return track

    async def _page(
        self, window: Window, key: int, track: Track, size: int, unsimplified_count: int, *, with_attributes: bool
    ) -> Page:
        if not len(track):
            raise _not_found(window)
        shown = track.take(slice(size))
        attributes: Mapping[int, Attributes] = {}
        if with_attributes:
            times = [to_datetime(time) for time in shown.times.tolist()]
            attributes = await self._repository.read_attributes(window.tenant, key, times)
            shown = shown.take(slice(_fitting(shown, attributes)))
        return Page(shown, attributes, unsimplified_count, last=len(shown) == len(track))


def _fitting(track: Track, attributes: Mapping[int, Attributes]) -> int:
    """Returns how many positions have, together, no more attributes than a page may; at least one."""
    characters = 0
    for index, time in enumerate(track.times.tolist()):
        characters += sum(len(name) + len(str(value)) for name, value in attributes.get(time, {}).items())
        if characters > MAX_ATTRIBUTE_CHARACTERS and index:
            return index
    return len(track)


def _not_found(window: Window) -> NotFound:
    return NotFound(Reason.TRAJECTORY_NOT_FOUND, f"no position of {window.entity_id} lies in the time asked")
