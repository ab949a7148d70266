"""Makes the tiles of a moment."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from airquality.feature import Feature
from airquality.index import has_table
from airquality.moments import Moments
from airquality.standards import Standard
from airquality.surface import Surface
from airquality.tiles import Shown, Tile, areas, heat_map, shown_surfaces
from airquality.units import AveragingPeriod, Pollutant
from airquality.vectors import features
from meshkit.errors import InvalidInput


class View(NamedTuple):
    """What a map shows.

    Attributes:
        at: The moment.
        is_now: Whether that is the present.
        standard: The index.
        version: The place in its versions of the one to use.
        pollutant: A code of Pollutant, or 0 for the worst of all.
        radius_meters: How far the nearest station may be.
    """

    at: datetime
    is_now: bool
    standard: Standard
    version: int
    pollutant: int
    radius_meters: float


class TileEncoder(Protocol):
    """What Maps needs of a repository."""

    async def encode_tile(self, found: Sequence[Feature]) -> bytes:
        """Returns a vector tile of features."""


class Maps:
    """Makes tiles."""

    def __init__(self, moments: Moments, encoder: TileEncoder) -> None:
        self._moments = moments
        self._encoder = encoder

    async def heat(self, tenant: str, tile: Tile, view: View) -> bytes:
        """Returns the heat map as PNG."""
        surfaces = await self._moments.surfaces(tenant, view.standard, view.version, view.at, is_now=view.is_now)
        shown = Shown(view.standard, view.version, view.radius_meters)
        return await asyncio.to_thread(heat_map, tile, shown_surfaces(surfaces, shown, view.pollutant), shown)

    async def vector(self, tenant: str, tile: Tile, view: View) -> bytes:
        """Returns the vector tile."""
        surfaces = await self._moments.surfaces(tenant, view.standard, view.version, view.at, is_now=view.is_now)
        shown = Shown(view.standard, view.version, view.radius_meters)
        return await self._encoder.encode_tile(
            await asyncio.to_thread(_features, tile, shown_surfaces(surfaces, shown, view.pollutant), shown)
        )


def check_view(view: View) -> None:
    """Returns when the index has a table for what is to be shown.

    Raises:
        InvalidInput: It has none.
    """
    pollutants = [Pollutant(view.pollutant)] if view.pollutant else list(Pollutant)
    if not any(
        has_table(view.standard, view.version, pollutant, period)
        for pollutant in pollutants
        for period in AveragingPeriod
    ):
        name = view.standard.index
        if view.pollutant:
            raise InvalidInput("pollutant", f"{name} has no table for {pollutants[0].name}")
        raise InvalidInput("index", f"{name} has no tables for single pollutants, so there is nothing to colour by")


def _features(tile: Tile, surfaces: Sequence[Surface], shown: Shown) -> list[Feature]:
    return features(tile, areas(tile, surfaces, shown), surfaces, shown)
