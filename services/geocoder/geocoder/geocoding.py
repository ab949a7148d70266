"""Texts and addresses to places."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from geocoder.directory import Area, Directory, Translations
from geocoder.parsing import AddressParts, Reading, read_parts, read_parts_of_text, read_text
from geocoder.places import Component, ComponentType, Found, Match, Place, PlaceFilter
from geocoder.scoring import confidences, distance_meters, match_type, rank
from geocoder.spelling import Algorithm, one_edit_away, similarity, trigrams_after_one_edit
from meshkit.errors import InvalidInput, MeshError

_LEAST_ALIKE: Final = 0.7
_MOST_SIMILAR: Final = 50
_READINGS_TO_SPELL: Final = 3
_TOGETHER: Final = 50
_SHORTEST_TO_SPELL: Final = 3


class Gazetteer(Protocol):
    """Where places are found."""

    async def directory(self) -> Directory:
        """Returns countries and regions."""

    async def translations(self, language: str) -> Translations:
        """Returns what countries and regions are called in a language."""

    async def find_named(self, readings: Sequence[Reading], wanted: PlaceFilter, language: str) -> list[Found]:
        """Returns the places that have a key of a reading and lie in one of its areas."""

    async def find_similar(
        self, key: str, also: Sequence[str], least: float, wanted: PlaceFilter, language: str, limit: int
    ) -> list[Found]:
        """Returns places with a name that shares at least `least` of its trigrams with `key`, or is one of `also`."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for: a text, or the parts of an address.

    Attributes:
        limit: Results at most.
        language: BCP 47; empty for main names.
        focus: Degrees north and east of a point near which places are preferred.
    """

    text: str = ""
    parts: AddressParts | None = None
    limit: int = 10
    language: str = ""
    wanted: PlaceFilter = field(default_factory=PlaceFilter)
    focus: tuple[float, float] | None = None


class Geocoder:
    """Finds the places that texts may mean."""

    def __init__(self, gazetteer: Gazetteer, batch_concurrency: int = 4) -> None:
        self._gazetteer = gazetteer
        self._batch_concurrency = batch_concurrency

    async def geocode(self, query: Query) -> list[Match]:
        """Returns the places that a query may mean, the likeliest first.

        Raises:
            InvalidInput: The query holds neither letters nor digits.
        """
        directory = await self._gazetteer.directory()
        readings = _readings(query, directory)
        found = await self._gazetteer.find_named(readings, query.wanted, query.language)
        return await self._answer(query, readings, found, directory)

    async def geocode_many(self, queries: Sequence[Query]) -> list[list[Match] | MeshError]:
        """Returns for each query what `geocode` would return or raise."""
        directory = await self._gazetteer.directory()
        outcomes: dict[int, list[Match] | MeshError] = {}
        alike: defaultdict[tuple[PlaceFilter, str], list[tuple[int, list[Reading]]]] = defaultdict(list)
        for index, query in enumerate(queries):
            try:
                alike[query.wanted, query.language].append((index, _readings(query, directory)))
            except InvalidInput as error:
                outcomes[index] = error
        together = asyncio.Semaphore(self._batch_concurrency)

        async def answer(index: int, readings: list[Reading], found: list[Found]) -> None:
            async with together:
                try:
                    outcomes[index] = await self._answer(queries[index], readings, found, directory)
                except MeshError as error:
                    outcomes[index] = error

        for (wanted, language), items in alike.items():
            for begin in range(0, len(items), _TOGETHER):
                chunk = items[begin : begin + _TOGETHER]
                found = await self._find_together([readings for _, readings in chunk], wanted, language)
                async with asyncio.TaskGroup() as group:
                    for (index, readings), own in zip(chunk, found, strict=True):
                        group.create_task(answer(index, readings, own))
        return [outcomes[index] for index in range(len(queries))]

    async def _find_together(
        self, of_each: Sequence[list[Reading]], wanted: PlaceFilter, language: str
    ) -> list[list[Found]]:
        """Looks the readings of several queries up at once, and returns what each of them found."""
        flat = [reading for readings in of_each for reading in readings]
        owner = [(index, position) for index, readings in enumerate(of_each) for position in range(len(readings))]
        found_by: list[list[Found]] = [[] for _ in of_each]
        for found in await self._gazetteer.find_named(flat, wanted, language):
            index, position = owner[found.reading]
            found_by[index].append(_of_reading(found, position))
        return found_by

    async def _answer(
        self, query: Query, readings: list[Reading], found: list[Found], directory: Directory
    ) -> list[Match]:
        if not found:
            readings, found = await self._look_further(query, readings, directory)
        ranked = _ranked(found, readings, query.focus)
        qualities = [each.similarity * readings[each.reading].coverage for _, each, _ in ranked]
        sure = confidences([each.place for _, each, _ in ranked], qualities, query.limit)
        translations = await self._gazetteer.translations(query.language)
        return [
            Match(
                place=each.place,
                match_type=match_type(each, each.key if each.similarity == 1 else ""),
                confidence=confidence,
                matched_name=each.name,
                similarity=each.similarity,
                components=_understood(readings[each.reading], each.place, directory),
                distance_meters=distance,
                hierarchy=directory.hierarchy(each.place, translations),
            )
            for (_, each, distance), confidence in zip(ranked, sure, strict=False)
        ]

    async def _look_further(
        self, query: Query, readings: list[Reading], directory: Directory
    ) -> tuple[list[Reading], list[Found]]:
        """Looks for names that are spelled alike, and for a place named by some of the words only."""
        to_spell = sorted(readings, key=lambda reading: (not reading.areas, -reading.coverage))[:_READINGS_TO_SPELL]
        found: list[Found] = []
        for position, reading in enumerate(to_spell):
            found += await self._spelled_alike(reading, position, query)
        partly = read_parts_of_text(query.text, directory) if query.text else []
        if partly:
            named = await self._gazetteer.find_named(partly, query.wanted, query.language)
            found += [_of_reading(each, len(to_spell) + each.reading) for each in named]
        return [*to_spell, *partly], found

    async def _spelled_alike(self, reading: Reading, position: int, query: Query) -> list[Found]:
        key = reading.keys[0]
        countries = {area.country_code for area in reading.areas}
        wanted = query.wanted.within(countries) if countries else query.wanted
        if len(key) < _SHORTEST_TO_SPELL or wanted is None:
            return []
        similar = await self._gazetteer.find_similar(
            key, one_edit_away(key), trigrams_after_one_edit(key), wanted, query.language, _MOST_SIMILAR
        )
        found = []
        for each in similar:
            alike = similarity(Algorithm.LEVENSHTEIN, key, each.key, each.similarity)
            if alike >= _LEAST_ALIKE and _lies_in(each.place, reading.areas):
                found.append(Found(each.place, each.kind, each.name, each.key, alike, position))
        return found


def _readings(query: Query, directory: Directory) -> list[Reading]:
    readings = read_text(query.text, directory) if query.parts is None else read_parts(query.parts, directory)
    if not readings:
        raise InvalidInput("q" if query.parts is None else query.parts.first_given(), "must hold a letter or a digit")
    return readings


def _of_reading(found: Found, reading: int) -> Found:
    return Found(found.place, found.kind, found.name, found.key, found.similarity, reading)


def _lies_in(place: Place, areas: Iterable[Area]) -> bool:
    areas = tuple(areas)
    own = Area(place.country_code, place.admin1_code)
    return not areas or any(own.narrowed(area) == own for area in areas)


def _ranked(
    found: Iterable[Found], readings: Sequence[Reading], focus: tuple[float, float] | None
) -> list[tuple[float, Found, float | None]]:
    """Returns of each place the name and reading that fit best, with rank and distance, the likeliest first."""
    best: dict[int, tuple[float, Found, float | None]] = {}
    for each in found:
        distance = distance_meters(*focus, each.place) if focus else None
        score = rank(each, each.similarity * readings[each.reading].coverage, distance)
        if each.place.id not in best or best[each.place.id][0] < score:
            best[each.place.id] = (score, each, distance)
    return sorted(best.values(), key=lambda entry: (-entry[0], entry[1].place.id))


def _understood(reading: Reading, place: Place, directory: Directory) -> tuple[Component, ...]:
    """Returns the components of a reading; where a code may be of a country or a region, as this place tells."""
    return tuple(
        Component(
            ComponentType.REGION
            if Area(place.country_code, place.admin1_code) in directory.areas(each.text)
            else ComponentType.COUNTRY,
            each.text,
        )
        if each.type in (ComponentType.REGION, ComponentType.COUNTRY)
        else each
        for each in reading.components
    )


def describe(name: str, hierarchy: Iterable[str]) -> str:
    """Returns a name with what the place lies in, each once: `Munich, Bavaria, Germany`."""
    return ", ".join(dict.fromkeys((name, *hierarchy)))
