"""Positions of many entities on their way into the store."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from h3.api.basic_int import latlng_to_cell  # type: ignore[import-untyped]  # ships no types

CELL_RESOLUTION: Final = 9
"""H3 resolution of the stored cell: 201 m of edge, between a street block and the scatter of a bad fix."""

Attributes = dict[str, str | float | bool]
"""What else is known of a position, by name."""


class Position(NamedTuple):
    """Where an entity was at one moment.

    Attributes:
        entity_id: Whose position it is.
        time: When it was there, in UTC.
        lat: Degrees north.
        lng: Degrees east.
        altitude: Metres, or None.
        accuracy: Metres, or None.
        speed: Metres per second, or None.
        bearing: Degrees clockwise from north, or None.
        attributes: `Attributes` as a JSON object, or None.
    """

    entity_id: str
    time: datetime
    lat: float
    lng: float
    altitude: float | None
    accuracy: float | None
    speed: float | None
    bearing: float | None
    attributes: str | None


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions column by column, all of the same length, with the H3 cell of each."""

    entity_ids: tuple[str, ...]
    times: tuple[datetime, ...]
    lats: tuple[float, ...]
    lngs: tuple[float, ...]
    cells: list[int]
    altitudes: tuple[float | None, ...]
    accuracies: tuple[float | None, ...]
    speeds: tuple[float | None, ...]
    bearings: tuple[float | None, ...]
    attributes: tuple[str | None, ...]

    @classmethod
    def of(cls, positions: Iterable[Position]) -> "Positions":
        """Turns rows into columns."""
        columns = tuple(zip(*positions, strict=True)) or ((),) * len(Position._fields)
        entity_ids, times, lats, lngs, *measured = columns
        cells = [latlng_to_cell(lat, lng, CELL_RESOLUTION) for lat, lng in zip(lats, lngs, strict=True)]
        return cls(entity_ids, times, lats, lngs, cells, *measured)

    def __len__(self) -> int:
        return len(self.times)
