"""Which hours each member of a model leaves out when errors are measured, which then are those of hours not seen."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from airquality.forecast.frame import Frame, Ints

LONGEST_HOURS: Final = 96
"""How far ahead forecasts look."""

_SHORTEST: Final = 365 * 24  # with less than all seasons, too much would be left out
_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Blocks of time, of which each member in turn leaves one out.

    Attributes:
        first: The first hour, in hours since 1970.
        end: The hour after the last.
        members: How many members there are.
        blocks: How many blocks.
    """

    first: int
    end: int
    members: int
    blocks: int

    @classmethod
    def of(cls, frame: Frame, members: int) -> Self | None:
        """Returns the blocks of a frame's hours; None of less than a year, or for a single member."""
        enough = frame.hour_count >= _SHORTEST and members > 1
        return cls(frame.first_hour, frame.end_hour, members, _ROUNDS * members) if enough else None

    def learnt_by(self, member: int, hours: Ints) -> NDArray[np.bool_]:
        """Tells from which hours a member learns: from those not left out, nor soon followed by one that is.

        Args:
            member: Its number.
            hours: The last hours known, in hours since 1970.
        """
        return np.asarray((self._member(hours) != member) & (self._member(hours + LONGEST_HOURS) != member))

    def of_each(self) -> Iterator[tuple[int, int, int]]:
        """Yields the number of the member, the first hour and the one after the last of each block."""
        edges = [self.first + -(-each * (self.end - self.first) // self.blocks) for each in range(self.blocks + 1)]
        for block in range(self.blocks):
            yield block % self.members, edges[block], edges[block + 1]

    def _member(self, hours: Ints) -> Ints:
        block = np.minimum((hours - self.first) * self.blocks // (self.end - self.first), self.blocks - 1)
        return np.asarray(block % self.members)
