"""Which model serves: loaded at the start, and again when another version is activated."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import structlog

from airquality.forecast.model import Model, decode
from airquality.units import Pollutant
from meshkit.errors import MeshError
from meshkit.health import State

_LOG = structlog.get_logger(__name__)


class ModelEntry(NamedTuple):
    """A stored model; errors are means over the first day, None where nothing was measured."""

    version: str
    pollutant: Pollutant
    trained_from: datetime
    trained_until: datetime
    held_back_from: datetime
    station_count: int
    activated_at: datetime | None
    mae: float | None
    persistence_mae: float | None


class Served(NamedTuple):
    """A model that serves."""

    version: str
    model: Model


class ModelStore(Protocol):
    """What Models needs of a repository."""

    async def find_active_models(self) -> dict[Pollutant, str]:
        """Returns the version that serves, for each pollutant that has one."""

    async def get_model(self, version: str) -> bytes | None:
        """Returns a stored model, encoded."""


class Models:
    """Holds the models that serve. It is a `meshkit.health.Dependency`, without which forecasts are simple ones."""

    name: Final = "forecast-models"
    required: Final = False
    breaker: Final = ""

    def __init__(self, store: ModelStore, *, check_seconds: float) -> None:
        """Makes it; `check_seconds` is how often the store is asked for another version."""
        self._store = store
        self._check_seconds = check_seconds
        self._served: Mapping[Pollutant, Served] = MappingProxyType({})
        self._watching: asyncio.Task[None] | None = None
        self.state = State.DOWN

    def of(self, target: Pollutant) -> Served | None:
        """Returns the model that serves a pollutant, or None."""
        return self._served.get(target)

    async def refresh(self) -> None:
        """Loads what was activated since the last time. One that cannot be read is logged, and the one before stays.

        Raises:
            MeshError: The store does not answer.
        """
        served: dict[Pollutant, Served] = {}
        for target, version in (await self._store.find_active_models()).items():
            before = self._served.get(target)
            if before is not None and before.version == version:
                served[target] = before
                continue
            artefact = await self._store.get_model(version)
            try:
                if artefact is not None:
                    served[target] = Served(version, await asyncio.to_thread(decode, artefact))
            except (ValueError, KeyError) as error:
                _LOG.error("a forecast model cannot be read", version=version, error=str(error))
                if before is not None:
                    served[target] = before
        self._served = MappingProxyType(served)
        self.state = State.OK

    async def start(self) -> None:
        """Begins to load and to look for other versions, in the background."""
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Ends looking."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                await self.refresh()
            except MeshError as error:
                self.state = State.DOWN
                _LOG.warning("forecast models cannot be looked up", error=str(error))
            await asyncio.sleep(self._check_seconds)
