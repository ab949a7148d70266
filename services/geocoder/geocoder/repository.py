"""The gazetteer in Postgres."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import structlog

from geocoder.directory import Area, Directory, DirectoryEntry, Translations
from geocoder.parsing import Reading
from geocoder.places import Found, Layer, NamedPlace, NameKind, Place, PlaceFilter
from geocoder.reversing import TERRITORIAL_WATERS_METERS, Near, Surroundings
from meshkit.errors import MeshError, NotFound, Reason, Unavailable
from meshkit.health import State
from meshkit.postgres import Postgres, load_queries

_LOG: Final = structlog.get_logger("geocoder.repository")

QUERIES: Final = load_queries("geocoder")

_ROWS_OF_READING: Final = 20
_MOST_LANGUAGES: Final = 64
_TRADITIONAL_CHINESE: Final = frozenset({"zh-tw", "zh-hk", "zh-mo"})
_LAST_CHARACTER: Final = "\U0010ffff"

_LAYERS: Final = {layer.value: layer for layer in Layer}
_KINDS: Final = {kind.value: kind for kind in NameKind}


@dataclass(frozen=True, slots=True)
class _Edition:
    """What is kept in memory of one load of the gazetteer.

    Attributes:
        version: Names the sources and the loader.
        directory: Countries and regions.
        translations: What these are called, by language, as far as anyone asked.
    """

    version: str
    directory: Directory
    translations: dict[str, Translations] = field(default_factory=dict)


class GazetteerRepository:
    """Reads places, names and borders; it writes nothing.

    Among the service's dependencies it shows as the gazetteer, which is down until it is loaded. Once started it looks
    now and then whether another one was loaded, and forgets what it kept of the old one.
    """

    name = "gazetteer"
    required = False
    breaker = ""

    def __init__(self, database: Postgres, *, watch_seconds: float = 10.0) -> None:
        """Reads nothing yet.

        Args:
            database: Where the gazetteer is.
            watch_seconds: Time between two looks for another one.
        """
        self._database = database
        self._watch_seconds = watch_seconds
        self._edition: _Edition | None = None
        self._reading = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """Whether the gazetteer was there when it was last looked for."""
        return State.DOWN if self._edition is None else State.OK

    async def start(self) -> None:
        """Reads countries and regions ahead of the first call; where that fails, the first call tries again."""
        with contextlib.suppress(MeshError):
            await self.directory()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stops looking for another gazetteer."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    async def directory(self) -> Directory:
        """Returns countries and regions, read once.

        Raises:
            Unavailable: The gazetteer is not loaded.
        """
        return (await self._current()).directory

    async def version(self) -> str:
        """Returns what tells answers of one gazetteer from those of another.

        Raises:
            Unavailable: The gazetteer is not loaded.
        """
        return (await self._current()).version

    async def translations(self, language: str) -> Translations:
        """Returns what countries and regions are called in a language, by place id; nothing when it is not known."""
        language = _known_as(language)
        if not language:
            return {}
        known = (await self._current()).translations
        if language not in known:
            rows = await self._database.fetch(QUERIES["find_division_names"], language)
            while len(known) >= _MOST_LANGUAGES:
                del known[next(iter(known))]
            known[language] = {row["place_id"]: row["name"] for row in rows}
        return known[language]

    async def find_named(self, readings: Sequence[Reading], wanted: PlaceFilter, language: str) -> list[Found]:
        """Returns the places that have a key of a reading and lie in one of its areas, the most important of each."""
        rows = [
            (index, key, area.code if area else None)
            for index, reading in enumerate(readings)
            for area in reading.areas or (None,)
            for key in reading.keys
        ]
        columns = [list(column) for column in zip(*rows, strict=True)]
        if not columns:
            return []
        found = await self._database.fetch(
            QUERIES["find_named"], *columns, *_filter(wanted), _known_as(language) or None, _ROWS_OF_READING
        )
        return [
            Found(_place(row), _KINDS[row["kind"]], row["matched_name"], row["key"], reading=row["reading"])
            for row in found
        ]

    async def find_similar(
        self, key: str, also: Sequence[str], least: float, wanted: PlaceFilter, language: str, limit: int
    ) -> list[Found]:
        """Returns places with a name that shares at least `least` of its trigrams with `key`, or is one of `also`.

        `similarity` of what it returns is the share of trigrams.
        """
        rows = await self._database.fetch(
            QUERIES["find_similar"], key, least, list(also), *_filter(wanted), _known_as(language) or None, limit
        )
        return [
            Found(_place(row), _KINDS[row["kind"]], row["matched_name"], row["key"], row["similarity"]) for row in rows
        ]

    async def complete(
        self, prefix: str, areas: Sequence[Area] | None, wanted: PlaceFilter, language: str
    ) -> list[Found]:
        """Returns the most important places in some areas (None for anywhere) with a name that begins with `prefix`."""
        rows = await self._database.fetch(
            QUERIES["complete"],
            prefix,
            prefix + _LAST_CHARACTER,
            None if areas is None else [area.code for area in areas],
            list(wanted.country_codes) or None,
            [layer.value for layer in wanted.layers] or None,
            _known_as(language) or None,
        )
        return [Found(_place(row), _KINDS[row["kind"]], row["matched_name"], row["key"]) for row in rows]

    async def find_around(
        self, lat: float, lng: float, radius_meters: float, limit: int, *, postcodes: bool, language: str
    ) -> Surroundings:
        """Returns the country of a point in degrees and the places within `radius_meters`, and some beyond."""
        inside, *near = await self._database.fetch(
            QUERIES["find_around"],
            lat,
            lng,
            radius_meters,
            limit,
            postcodes,
            _known_as(language) or None,
            TERRITORIAL_WATERS_METERS,
        )
        return Surroundings(
            inside["inside"] or "", inside["is_land"], [Near(_place(row), row["distance_meters"]) for row in near]
        )

    async def find_place(self, place_id: str, language: str) -> NamedPlace:
        """Returns a place with all its names.

        Raises:
            NotFound: There is none.
        """
        row = await self._database.fetchrow(QUERIES["find_place"], place_id, _known_as(language) or None)
        if row is None:
            raise NotFound(Reason.PLACE_NOT_FOUND, f"no place has the id {place_id}")
        by_language = dict(zip(row["languages"], row["local_names"], strict=True))
        return NamedPlace(_place(row), row["main_name"], tuple(row["alternate_names"]), by_language)

    async def _current(self) -> _Edition:
        if self._edition is None:
            async with self._reading:
                if self._edition is None:
                    self._edition = await self._read()
        return self._edition

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._watch_seconds)
            # Whoever asks meanwhile is answered from what is known; an outage is the database's to report.
            with contextlib.suppress(MeshError):
                if self._edition is None or await self._published() != self._edition.version:
                    self._edition = await self._read()
                    _LOG.info("another gazetteer is in use", version=self._edition.version)

    async def _published(self) -> str | None:
        version: str | None = await self._database.fetchval(QUERIES["find_version"])
        return version

    async def _read(self) -> _Edition:
        # First of all: a load that ends meanwhile is seen by the next look.
        version = await self._published()
        names, divisions = await asyncio.gather(
            self._database.fetchrow(QUERIES["find_directory"]), self._database.fetch(QUERIES["find_divisions"])
        )
        if version is None or names is None or not divisions:
            raise Unavailable("the gazetteer is not loaded: run python -m geocoder.load", dependency="gazetteer")
        entries = map(DirectoryEntry, *(names[column] for column in ("keys", "areas", "codes")))
        return _Edition(version, Directory(entries, map(_place, divisions)))


def _place(row: asyncpg.Record) -> Place:
    return Place(
        row["id"],
        row["place_id"],
        _LAYERS[row["layer"]],
        row["feature_class"],
        row["name"],
        row["country_code"],
        row["admin1_code"],
        row["admin2_code"],
        row["admin2_name"],
        row["timezone"],
        row["population"],
        row["importance"],
        row["lat"],
        row["lng"],
        row["iso_code"],
    )


def _filter(wanted: PlaceFilter) -> tuple[Any, ...]:
    bbox = wanted.bbox
    return (
        list(wanted.country_codes) or None,
        [layer.value for layer in wanted.layers] or None,
        list(wanted.feature_classes) or None,
        wanted.min_population or None,
        wanted.max_population,
        *((bbox.south, bbox.north, bbox.west, bbox.east) if bbox else (None, None, None, None)),
    )


def _known_as(language: str) -> str:
    """Returns the tag under which names of a BCP 47 language are kept."""
    tag = language.lower().replace("_", "-")
    if tag in _TRADITIONAL_CHINESE or tag.startswith("zh-hant"):
        return "zh-hant"
    return tag.split("-")[0]
