"""Reads a query: which part of it names the place, and which parts say where that lies.

A text has many readings: "Paris Texas" may be a place of that name, or Paris in Texas. All plausible ones are looked up
at once, and what the gazetteer knows decides.
"""

# ruff: noqa: RUF001 -- people type these commas

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Final

from geocoder.directory import Area, Directory
from geocoder.normalize import name_key, name_keys
from geocoder.places import Component, ComponentType

_MOST_WORDS: Final = 16
_MOST_READINGS: Final = 24
_MOST_AREAS: Final = 12
_MOST_AREA_WORDS: Final = 8
_UNUSUAL_ORDER: Final = 0.95
_LEAST_COVERAGE: Final = 0.2
_SEPARATORS: Final = str.maketrans({"，": ",", "、": ",", "،": ",", ";": ",", "；": ",", "|": ",", "\u2028": ","})

# Words before a name that are as often written short.
_SAINTS: Final = {"st": ("saint", "sankt"), "saint": ("st",), "sankt": ("st",), "ste": ("sainte",), "sainte": ("ste",)}
_ABBREVIATIONS: Final = {**_SAINTS, "mt": ("mount",), "mount": ("mt",), "ft": ("fort",), "fort": ("ft",)}

# The parts that may name the place looked for, the one that does when it is given first.
_PREFERRED_PARTS: Final = ("city", "postal_code", "county", "state", "country", "street")
# What the parts of an address are when they do not name it, in the order in which they are written.
_KIND_OF_PART: Final = {
    "street": ComponentType.UNMATCHED,
    "city": ComponentType.UNMATCHED,
    "county": ComponentType.UNMATCHED,
    "state": ComponentType.REGION,
    "postal_code": ComponentType.POSTAL_CODE,
    "country": ComponentType.COUNTRY,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a query.

    Attributes:
        keys: Keys under which the place may be found, the one that was written first.
        areas: Where it has to lie, any of them; empty for anywhere.
        components: What each part of the query was taken for, in the query's order.
        coverage: The share of the query's letters that were understood, 0 to 1.
    """

    keys: tuple[str, ...]
    areas: tuple[Area, ...]
    components: tuple[Component, ...]
    coverage: float


@dataclass(frozen=True, slots=True)
class AddressParts:
    """The parts of an address; empty where not given. They are named as in a request."""

    street: str = ""
    city: str = ""
    county: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""

    def first_given(self) -> str:
        """Returns the name of the first part that is not empty, of which there is at least one."""
        return next(each.name for each in fields(self) if getattr(self, each.name))


@dataclass(frozen=True, slots=True)
class _Chain:
    """Words that say where a place lies; `areas` is None when there are none and it may lie anywhere."""

    areas: tuple[Area, ...] | None = None
    components: tuple[Component, ...] = ()
    understood: int = 0


def read_text(text: str, directory: Directory) -> list[Reading]:
    """Returns the readings of a free text, the likelier first; none when it has neither letters nor digits."""
    reader = _Reader(text, directory)
    readings = [*reader.name_first(), *reader.area_first()]
    return _distinct(readings)[:_MOST_READINGS]


def read_parts_of_text(text: str, directory: Directory) -> list[Reading]:
    """Returns readings that leave words out before the name, as for an address whose street is not known."""
    readings = [reading for reading in _Reader(text, directory).name_later() if reading.coverage >= _LEAST_COVERAGE]
    return sorted(_distinct(readings), key=lambda reading: -reading.coverage)[:_MOST_READINGS]


def read_parts(parts: AddressParts, directory: Directory) -> list[Reading]:
    """Returns the reading of an address in parts: its city, or the smallest other part that the gazetteer may hold.

    What the gazetteer does not hold, such as the street, is reported and lowers the coverage.
    """
    named = next((name for name in _PREFERRED_PARTS if name_key(getattr(parts, name))), None)
    if named is None:
        return []
    areas: tuple[Area, ...] | None = None
    components = []
    for name, kind in _KIND_OF_PART.items():
        key = name_key(getattr(parts, name))
        if name == named:
            components.append(Component(ComponentType.NAME, key))
        elif kind in (ComponentType.REGION, ComponentType.COUNTRY) and key:
            narrowed = _narrow(areas, _areas_of(key, kind, directory))
            areas = narrowed or areas
            components.append(Component(kind if narrowed else ComponentType.UNMATCHED, key))
        elif key:
            components.append(Component(kind, key))
    understood = sum(len(each.text) for each in components if each.type is not ComponentType.UNMATCHED)
    coverage = understood / sum(len(each.text) for each in components)
    return [Reading(_spellings(name_keys(getattr(parts, named))), areas or (), tuple(components), coverage)]


class _Reader:
    """The words of a text, between commas."""

    def __init__(self, text: str, directory: Directory) -> None:
        self._directory = directory
        self._words: list[str] = []
        self._spelled_out: list[str] = []
        self._ends: list[int] = []
        for part in text.translate(_SEPARATORS).split(","):
            keys = name_keys(part)
            if keys:
                self._words += keys[0].split()
                self._spelled_out += keys[-1].split()
                self._ends.append(len(self._words))
        self._letters = sum(map(len, self._words)) or 1
        self._chains: dict[int, _Chain | None] = {len(self._words): _Chain()}

    def name_first(self) -> Iterator[Reading]:
        """Yields readings in which the text begins with the name and its areas follow, the longest name first."""
        if self._ends:
            longest = self._ends[0]
            shortest = 0 if longest <= _MOST_WORDS else longest - 1
            for end in range(longest, shortest, -1):
                chain = self._chain(end)
                if chain is not None:
                    yield self._reading(0, end, chain)

    def name_later(self) -> Iterator[Reading]:
        """Yields readings that begin at any later word."""
        for begin in range(1, min(len(self._words), _MOST_WORDS)):
            end_of_part = next(end for end in self._ends if end > begin)
            for end in range(min(end_of_part, begin + _MOST_AREA_WORDS), begin, -1):
                chain = self._chain(end)
                if chain is not None:
                    yield self._reading(begin, end, chain)

    def area_first(self) -> Iterator[Reading]:
        """Yields readings in which an area's full name comes first, as in Deutschland München."""
        for end in range(1, min(len(self._words), _MOST_WORDS)):
            key = " ".join(self._words[:end])
            if self._directory.is_name(key):
                areas = self._directory.areas(key)[:_MOST_AREAS]
                name = Component(ComponentType.NAME, " ".join(self._words[end:]))
                components = (Component(_kind_of(areas), key), name)
                yield Reading(self._keys(end, len(self._words)), areas, components, _UNUSUAL_ORDER)

    def _reading(self, begin: int, end: int, chain: _Chain) -> Reading:
        name = " ".join(self._words[begin:end])
        skipped = [Component(ComponentType.UNMATCHED, " ".join(self._words[:begin]))] if begin else []
        components = (*skipped, Component(ComponentType.NAME, name), *chain.components)
        coverage = (sum(map(len, self._words[begin:end])) + chain.understood) / self._letters
        return Reading(self._keys(begin, end), chain.areas or (), components, coverage)

    def _keys(self, begin: int, end: int) -> tuple[str, ...]:
        return _spellings((" ".join(self._words[begin:end]), " ".join(self._spelled_out[begin:end])))

    def _chain(self, begin: int) -> _Chain | None:
        """Reads all words from `begin` on as areas, one in the other; None when some word cannot be one."""
        if begin not in self._chains:
            self._chains[begin] = self._read_chain(begin)
        return self._chains[begin]

    def _read_chain(self, begin: int) -> _Chain | None:
        end_of_part = next(end for end in self._ends if end > begin)
        for end in range(min(end_of_part, begin + _MOST_AREA_WORDS), begin, -1):
            key = " ".join(self._words[begin:end])
            areas = self._directory.areas(key)
            rest = self._chain(end) if areas else None
            narrowed = _narrow(rest.areas, areas) if rest is not None else ()
            if rest is not None and narrowed:
                component = Component(_kind_of(narrowed if rest.areas is None else areas), key)
                return _Chain(narrowed, (component, *rest.components), rest.understood + len(key.replace(" ", "")))
        return self._passed_over(begin, end_of_part)

    def _passed_over(self, begin: int, end_of_part: int) -> _Chain | None:
        """Passes over a postal code, and over a part between commas that names no area; None for other words."""
        is_code = any(character.isdigit() for character in self._words[begin])
        if not is_code and begin not in self._ends:
            return None
        end = begin + 1 if is_code else end_of_part
        rest = self._chain(end)
        if rest is None:
            return None
        component = Component(
            ComponentType.POSTAL_CODE if is_code else ComponentType.UNMATCHED, " ".join(self._words[begin:end])
        )
        return _Chain(rest.areas, (component, *rest.components), rest.understood)


def _narrow(outer: tuple[Area, ...] | None, inner: tuple[Area, ...]) -> tuple[Area, ...]:
    """Returns the areas of `inner` as far as they lie in one of `outer`, which None does not restrict."""
    if outer is None:
        return inner[:_MOST_AREAS]
    found = dict.fromkeys(both for one in inner for other in outer if (both := one.narrowed(other)) is not None)
    return tuple(found)[:_MOST_AREAS]


def _areas_of(key: str, kind: ComponentType, directory: Directory) -> tuple[Area, ...]:
    return tuple(area for area in directory.areas(key) if bool(area.admin1_code) is (kind is ComponentType.REGION))


def _kind_of(areas: tuple[Area, ...]) -> ComponentType:
    return ComponentType.REGION if areas and areas[0].admin1_code else ComponentType.COUNTRY


def _spellings(keys: Iterable[str]) -> tuple[str, ...]:
    """Returns the keys, and each with its first word in its long or short form too."""
    found = dict.fromkeys(keys)
    for key in tuple(found):
        first, _, rest = key.partition(" ")
        found.update(dict.fromkeys(f"{other} {rest}" for other in _ABBREVIATIONS.get(first, ()) if rest))
    return tuple(found)


def _distinct(readings: Iterable[Reading]) -> list[Reading]:
    found: dict[tuple[tuple[str, ...], tuple[Area, ...]], Reading] = {}
    for reading in readings:
        key = (reading.keys, reading.areas)
        if key not in found or found[key].coverage < reading.coverage:
            found[key] = reading
    return list(found.values())
