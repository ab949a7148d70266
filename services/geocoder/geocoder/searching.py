"""Names that are spelled like a text, and names that begin like one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from geocoder.directory import Area, Directory, Translations
from geocoder.normalize import name_key, name_keys
from geocoder.places import Found, Match, MatchType, PlaceFilter
from geocoder.scoring import confidences, distance_meters, match_type, rank_completion
from geocoder.spelling import (
    DEFAULT_SIMILARITY,
    LEAST_TRIGRAMS,
    Algorithm,
    is_close,
    one_edit_away,
    similarity,
    trigrams_after_one_edit,
)
from meshkit.errors import InvalidInput

MOST_RESULTS: Final = 200
_MOST_NAMES: Final = 400


class Names(Protocol):
    """Where names are found."""

    async def directory(self) -> Directory:
        """Returns countries and regions."""

    async def translations(self, language: str) -> Translations:
        """Returns what countries and regions are called in a language."""

    async def find_similar(
        self, key: str, also: Sequence[str], least: float, wanted: PlaceFilter, language: str, limit: int
    ) -> list[Found]:
        """Returns places with a name that shares at least `least` of its trigrams with `key`, or is one of `also`."""

    async def complete(
        self, prefix: str, areas: Sequence[Area] | None, wanted: PlaceFilter, language: str
    ) -> list[Found]:
        """Returns the most important places in some areas with a name that begins with `prefix`."""


@dataclass(frozen=True, slots=True)
class Search:
    """A name to look for as it may be misspelled.

    Attributes:
        least: The least similarity of a result; None for the algorithm's default.
        language: BCP 47; empty for main names.
        offset: Results to leave out, those of the pages before.
        limit: Results at most.
    """

    text: str
    algorithm: Algorithm = Algorithm.JARO_WINKLER
    least: float | None = None
    language: str = ""
    wanted: PlaceFilter = field(default_factory=PlaceFilter)
    offset: int = 0
    limit: int = 10


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the results, and whether more follow."""

    matches: list[Match]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Beginning:
    """The beginning of a name.

    Attributes:
        focus: Degrees north and east of a point near which places are preferred.
    """

    text: str
    limit: int = 10
    language: str = ""
    wanted: PlaceFilter = field(default_factory=PlaceFilter)
    focus: tuple[float, float] | None = None


class Searcher:
    """Finds places by names that are not written out or not written right."""

    def __init__(self, names: Names) -> None:
        self._names = names

    async def search(self, search: Search) -> Page:
        """Returns the places with the most similar names, MOST_RESULTS over all pages.

        Raises:
            InvalidInput: The text holds neither letters nor digits.
        """
        key = _key(search.text)
        least = DEFAULT_SIMILARITY[search.algorithm] if search.least is None else search.least
        found = await self._spelled_alike(search, key, least)
        best: dict[int, tuple[float, Found]] = {}
        for each in found:
            alike = similarity(search.algorithm, key, each.key, each.similarity)
            if alike >= least and (each.place.id not in best or best[each.place.id][0] < alike):
                best[each.place.id] = (alike, each)
        kept = sorted(best.values(), key=lambda pair: (-pair[0], pair[1].place.id))[:MOST_RESULTS]
        directory = await self._names.directory()
        translations = await self._names.translations(search.language)
        end = search.offset + search.limit
        sure = confidences([each.place for _, each in kept], [alike for alike, _ in kept], end)
        matches = [
            Match(
                place=each.place,
                match_type=match_type(each, key),
                confidence=confidence,
                matched_name=each.name,
                similarity=alike,
                hierarchy=directory.hierarchy(each.place, translations),
            )
            for (alike, each), confidence in zip(kept[search.offset : end], sure[search.offset :], strict=True)
        ]
        return Page(matches, has_more=end < len(kept))

    async def _spelled_alike(self, search: Search, key: str, least: float) -> list[Found]:
        """Returns names worth comparing: close ones first of all, and others only where none is close."""
        also = sorted({edit for each in name_keys(search.text) for edit in (each, *one_edit_away(each))})
        wanted, language = search.wanted, search.language
        if search.algorithm is Algorithm.TRIGRAM:
            return await self._names.find_similar(
                key, (), max(least, LEAST_TRIGRAMS), wanted, language, _MOST_NAMES
            )  # fmt: skip
        found = await self._names.find_similar(key, also, trigrams_after_one_edit(key), wanted, language, _MOST_NAMES)
        if any(is_close(key, each.key) for each in found):
            return found
        return await self._names.find_similar(key, also, LEAST_TRIGRAMS, wanted, language, _MOST_NAMES)

    async def complete(self, beginning: Beginning) -> list[Match]:
        """Returns the most important places with a name that begins like the text.

        Raises:
            InvalidInput: The text holds neither letters nor digits.
        """
        directory = await self._names.directory()
        found: list[Found] = []
        for prefix, areas in _prefixes(beginning.text, directory):
            found += await self._names.complete(prefix, areas, beginning.wanted, beginning.language)
            if len(found) >= beginning.limit:
                break
        key = _key(beginning.text)
        best: dict[int, tuple[float, Found, float | None]] = {}
        for each in found:
            distance = distance_meters(*beginning.focus, each.place) if beginning.focus else None
            score = rank_completion(each, distance)
            if each.place.id not in best or best[each.place.id][0] < score:
                best[each.place.id] = (score, each, distance)
        kept = sorted(best.values(), key=lambda entry: (-entry[0], entry[1].place.id))[: beginning.limit]
        sure = confidences([each.place for _, each, _ in kept], [1.0] * len(kept), len(kept))
        translations = await self._names.translations(beginning.language)
        return [
            Match(
                place=each.place,
                match_type=match_type(each, key) if each.key == key else MatchType.PREFIX,
                confidence=min(1.0, len(key) / len(each.key)) * share,
                matched_name=each.name,
                distance_meters=distance,
                hierarchy=directory.hierarchy(each.place, translations),
            )
            for (_, each, distance), share in zip(kept, sure, strict=True)
        ]


def _key(text: str) -> str:
    key = name_key(text)
    if not key:
        raise InvalidInput("q", "must hold a letter or a digit")
    return key


def _prefixes(text: str, directory: Directory) -> list[tuple[str, tuple[Area, ...] | None]]:
    """Returns what names may begin with, and in which areas, the likelier first.

    What follows the last comma is the beginning of an area; without a comma the last words may be.
    """
    head, comma, tail = text.rpartition(",")
    if comma and name_key(head) and name_key(tail):
        inner, _, outer = head.partition(",")
        areas = directory.completed(name_key(tail))
        if name_key(outer):
            areas = tuple(
                both
                for area in directory.areas(name_key(outer))
                for last in areas
                if (both := area.narrowed(last)) is not None
            )
        return [(name_key(inner), areas)]
    key = _key(text)
    whole = key + " " if text[-1].isspace() else key
    words = key.split()
    return [
        (whole, None),
        *(
            (" ".join(words[:end]), areas)
            for end in range(len(words) - 1, 0, -1)
            if (areas := directory.completed(" ".join(words[end:])))
        ),
    ]
