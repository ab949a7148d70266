"""Names a location in three grids of the Earth: H3, geohash and plus code."""

from collections.abc import Sequence
from typing import NamedTuple

import h3  # type: ignore[import-untyped]  # ships no types
import pygeohash
from openlocationcode import openlocationcode  # type: ignore[import-untyped]  # ships no types

ALL_RESOLUTIONS = range(16)
"""The resolutions of H3, coarsest first."""

FULL_GEOHASH_PRECISION = 12
"""Characters of the longest geohash."""

STANDARD_PLUS_CODE_LENGTH = 10
"""Digits of the plus code that stands on maps, 14 m wide."""


class Grids(NamedTuple):
    """Which names are wanted.

    Attributes:
        resolutions: H3 resolutions, 0 to 15, in the order wanted.
        geohash_precision: Characters of the geohash, 1 to 12; 0 for none.
        plus_code_length: Digits of the plus code, 2, 4, 6, 8 or 10 to 15; 0 for none.
    """

    resolutions: Sequence[int] = ()
    geohash_precision: int = 0
    plus_code_length: int = 0


EVERY_GRID = Grids(ALL_RESOLUTIONS, FULL_GEOHASH_PRECISION, STANDARD_PLUS_CODE_LENGTH)
"""What a caller gets who asks for nothing in particular."""


class Encoding(NamedTuple):
    """The names of a location.

    Attributes:
        cells: One H3 cell for each resolution wanted, in lower-case hexadecimal.
        geohash: The geohash, or empty.
        plus_code: The plus code, or empty.
    """

    cells: list[str]
    geohash: str
    plus_code: str


def encode(lat: float, lng: float, grids: Grids) -> Encoding:
    """Returns the cells that hold a location (degrees), only of the grids wanted.

    Each H3 cell is found from the location itself, never as the parent of a finer one: children of H3 hang over the
    edges of their parents, so that the two differ for one location in nine.
    """
    return Encoding(
        [h3.latlng_to_cell(lat, lng, resolution) for resolution in grids.resolutions],
        pygeohash.encode(lat, lng, grids.geohash_precision) if grids.geohash_precision else "",
        openlocationcode.encode(lat, lng, grids.plus_code_length) if grids.plus_code_length else "",
    )
