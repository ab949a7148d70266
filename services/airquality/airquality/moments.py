"""The surfaces of any moment: of now from what is held in the process, of the past from the store."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from airquality.contributions import wanted_of
from airquality.holdings import Holding, RecentSeries
from airquality.latest import LatestStore, LatestValues
from airquality.standards import Standard
from airquality.surface import Surface, surfaces_from
from meshkit.identity import PUBLIC_TENANT

_MOST_MOMENTS: Final = 24
"""Who looks at a map of the past looks at many tiles of few moments."""

_Key = tuple[str, datetime, str, int]


class Moments:
    """Finds the surfaces of a moment, each once however many ask."""

    def __init__(self, store: LatestStore, latest: LatestValues, *, max_age_seconds: float) -> None:
        """Makes it.

        Args:
            store: What is known of the past.
            latest: What is known of now.
            max_age_seconds: Time after the end of its period for which a reading stands for the air.
        """
        self._store = store
        self._latest = latest
        self._max_age_seconds = max_age_seconds
        self._past: OrderedDict[_Key, asyncio.Task[tuple[Surface, ...]]] = OrderedDict()

    async def surfaces(
        self, tenant: str, standard: Standard, version: int, at: datetime, *, is_now: bool
    ) -> Sequence[Surface]:
        """Returns the surface of each pollutant for a tenant."""
        if is_now and (found := await self._latest.surfaces(tenant, standard, version, at)) is not None:
            return found
        key = tenant, at, standard.index, version
        task = self._past.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._past[key] = asyncio.create_task(self._find(tenant, standard, version, at))
            if len(self._past) > _MOST_MOMENTS:
                self._past.popitem(last=False)
        self._past.move_to_end(key)
        return await asyncio.shield(task)

    async def _find(self, tenant: str, standard: Standard, version: int, at: datetime) -> tuple[Surface, ...]:
        tenants = dict.fromkeys((tenant, PUBLIC_TENANT))
        age, hours = self._max_age_seconds, wanted_of(standard.versions[version]).hours
        recent = [each for one in tenants for each in await self._store.find_recent(one, at, age, hours)]
        return await asyncio.to_thread(self._make, recent, standard, version, at)

    def _make(self, recent: list[RecentSeries], standard: Standard, version: int, at: datetime) -> tuple[Surface, ...]:
        return surfaces_from(Holding(recent).contributions(standard, version, at, self._max_age_seconds))
