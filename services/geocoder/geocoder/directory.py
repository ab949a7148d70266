"""Countries and regions, kept in memory: what a query may call them, and what the places of a reply lie in.

They are few (4,032, under some 90,000 names and codes), every query needs them, and a query's parts can be told apart
only by knowing which of them name an area.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from geocoder.places import Division, Layer, Place

_MOST_COMPLETIONS: Final = 40


@dataclass(frozen=True, slots=True, order=True)
class Area:
    """A country, or a region of one when `admin1_code` is not empty."""

    country_code: str
    admin1_code: str = ""

    @property
    def code(self) -> str:
        """`US` or `US.OR`."""
        return f"{self.country_code}.{self.admin1_code}" if self.admin1_code else self.country_code

    def narrowed(self, other: "Area") -> "Area | None":
        """Returns the area that lies in both; None when they have nothing in common."""
        if self.country_code != other.country_code:
            return None
        if self.admin1_code and other.admin1_code and self.admin1_code != other.admin1_code:
            return None
        return self if self.admin1_code else other


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """A name or code, and the countries and regions called so.

    Attributes:
        key: Its key.
        areas: Their codes, the most important first: `CA,US.CA`.
        is_code: Whether it is nothing but a code.
    """

    key: str
    areas: str
    is_code: bool = False


Translations = Mapping[str, str]
"""The name of a country or region in some language, by its place id, which outlasts a load of the gazetteer."""


class Directory:
    """What is known of countries and regions."""

    def __init__(self, entries: Iterable[DirectoryEntry], divisions: Iterable[Place]) -> None:
        self._divisions: Final = {Area(each.country_code, each.admin1_code): each for each in divisions}
        # Ten thousands of keys share some thousand lists of areas; each list is kept once.
        shared: dict[str, tuple[Area, ...]] = {}
        by_key: dict[str, tuple[Area, ...]] = {}
        codes = set()
        for entry in entries:
            if entry.areas not in shared:
                written = dict.fromkeys(entry.areas.split(","))
                shared[entry.areas] = tuple(Area(*code.split(".", 1)) for code in written)
            by_key[entry.key] = shared[entry.areas]
            if entry.is_code:
                codes.add(entry.key)
        self._areas: Final = by_key
        self._codes: Final = frozenset(codes)
        self._keys: Final = sorted(by_key)

    def __len__(self) -> int:
        """The number of countries and regions."""
        return len(self._divisions)

    def areas(self, key: str) -> tuple[Area, ...]:
        """Returns every country and region of that name or code, the most important first."""
        return self._areas.get(key, ())

    def is_name(self, key: str) -> bool:
        """Whether `key` is a name in full, not only a code."""
        return key in self._areas and key not in self._codes

    def completed(self, prefix: str) -> tuple[Area, ...]:
        """Returns countries and regions of which a name or code begins with `prefix`, those of that very name first."""
        found = dict.fromkeys(self.areas(prefix))
        position = bisect_left(self._keys, prefix)
        while (
            position < len(self._keys)
            and self._keys[position].startswith(prefix)
            and len(found) < _MOST_COMPLETIONS
        ):  # fmt: skip
            found.update(dict.fromkeys(self._areas[self._keys[position]]))
            position += 1
        return tuple(found)

    def division(self, area: Area) -> Place | None:
        """Returns the country or region itself."""
        return self._divisions.get(area)

    def hierarchy(self, place: Place, translations: Translations) -> tuple[Division, ...]:
        """Returns what `place` lies in, the smallest first, without itself."""
        found = []
        if place.admin2_code and place.layer is not Layer.COUNTY and place.admin2_name:
            code = f"{place.country_code}.{place.admin1_code}.{place.admin2_code}"
            found.append(Division(f"admin2.{code}", place.admin2_name, Layer.COUNTY))
        for area in (Area(place.country_code, place.admin1_code), Area(place.country_code)):
            division = self._divisions.get(area)
            if division is not None and division.place_id != place.place_id and division.layer < place.layer:
                found.append(_division(division, translations))
        return tuple(dict.fromkeys(found))


def _division(place: Place, translations: Translations) -> Division:
    return Division(place.place_id, translations.get(place.place_id, place.name), place.layer, place.iso_code)
