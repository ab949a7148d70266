"""A track: the positions of one entity in the order of their times."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECONDS_PER_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Track:
    """Positions in the order of their times, one array a column, all of the same length.

    Attributes:
        times: Microseconds since 1970-01-01 UTC, increasing.
        lats: Degrees north.
        lngs: Degrees east, -180 to 180.
        altitudes: Metres; NaN where none was given, as in every column below.
        accuracies: Metres.
        speeds: Metres per second.
        bearings: Degrees clockwise from true north.
    """

    times: Integers
    lats: Floats
    lngs: Floats
    altitudes: Floats
    accuracies: Floats
    speeds: Floats
    bearings: Floats

    @classmethod
    def of(cls, times: npt.ArrayLike, lats: npt.ArrayLike, lngs: npt.ArrayLike, altitudes: npt.ArrayLike = ()) -> Self:
        """Builds a track of which no more is known than times, locations and perhaps altitudes."""
        moments = np.asarray(times, dtype=np.int64)
        unknown = np.full(moments.shape, np.nan)
        heights = np.asarray(altitudes, dtype=np.float64)
        return cls(
            moments,
            np.asarray(lats, dtype=np.float64),
            np.asarray(lngs, dtype=np.float64),
            heights if heights.size else unknown,
            unknown,
            unknown,
            unknown,
        )

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: slice | Flags | Integers) -> "Track":
        """Returns the positions at `rows`, which must keep their order."""
        return Track(*(getattr(self, column.name)[rows] for column in fields(self)))


def to_microseconds(time: datetime) -> int:
    """Returns microseconds since 1970, exactly."""
    return (time - EPOCH) // timedelta(microseconds=1)


def to_datetime(microseconds: int) -> datetime:
    """Returns the time in UTC that `microseconds` since 1970 name, exactly."""
    return EPOCH + timedelta(microseconds=microseconds)
