"""The words of the domain: places, and how one was found."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum


class Layer(IntEnum):
    """What a place is; the numbers are those of the contract."""

    COUNTRY = 1
    REGION = 2
    COUNTY = 3
    LOCALITY = 4
    STREET = 5
    ADDRESS = 6
    POI = 7
    POSTCODE = 8


class NameKind(IntEnum):
    """What a stored name is to its place.

    UNLIKE marks names that begin like no other name of the place: old ones, those of a part, nicknames.
    """

    MAIN = 1
    OTHER = 2
    SPELLED_OUT = 3
    UNLIKE = 4
    CODE = 9


class MatchType(IntEnum):
    """How a place was found; the numbers are those of the contract."""

    EXACT = 1
    ALTERNATE_NAME = 2
    FUZZY = 3
    PREFIX = 4
    NEAREST = 5
    CONTAINING = 6


class ComponentType(IntEnum):
    """What a part of a query was understood as; the numbers are those of the contract."""

    NAME = 1
    REGION = 2
    COUNTRY = 3
    POSTAL_CODE = 4
    UNMATCHED = 5


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the gazetteer.

    Attributes:
        id: Its rank by importance, 1 being the most important; only within one load of the gazetteer.
        place_id: Its lasting id.
        name: Its name, in the language asked for where known.
        admin1_code: GeoNames code of its region within the country; empty where unknown.
        admin2_code: GeoNames code of its county within the region; empty where unknown.
        population: Inhabitants; None where unknown.
        importance: How well known it is, 0 to 1.
        lat: Degrees north.
        lng: Degrees east.
        iso_code: ISO 3166-1 or 3166-2 code of a country or division; empty otherwise.
    """

    id: int
    place_id: str
    layer: Layer
    feature_class: str
    name: str
    country_code: str
    admin1_code: str
    admin2_code: str
    admin2_name: str
    timezone: str
    population: int | None
    importance: float
    lat: float
    lng: float
    iso_code: str


@dataclass(frozen=True, slots=True)
class NamedPlace:
    """A place with all its names.

    Attributes:
        main_name: Its name where no language is asked for.
        alternate_names: Others, of which the source tells no language.
        names_by_language: BCP 47 in lower case to the name.
    """

    place: Place
    main_name: str
    alternate_names: tuple[str, ...]
    names_by_language: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Division:
    """A country, region or county that a place lies in."""

    place_id: str
    name: str
    layer: Layer
    iso_code: str = ""


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A rectangle in degrees; `west` greater than `east` crosses the antimeridian."""

    south: float
    west: float
    north: float
    east: float


@dataclass(frozen=True, slots=True)
class PlaceFilter:
    """Which places may be found; an empty one lets all through."""

    country_codes: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    feature_classes: tuple[str, ...] = ()
    min_population: int = 0
    max_population: int | None = None
    bbox: BoundingBox | None = None

    def within(self, country_codes: Collection[str]) -> "PlaceFilter | None":
        """Returns a filter that also wants one of these countries; None when nothing can pass it."""
        both = [code for code in country_codes if not self.country_codes or code in self.country_codes]
        return replace(self, country_codes=tuple(sorted(both))) if both else None


@dataclass(frozen=True, slots=True)
class Component:
    """A part of a query and what it was understood as."""

    type: ComponentType
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """A place and the name under which the gazetteer found it.

    Attributes:
        key: The key of that name.
        similarity: How alike the key is to the one that was looked for, 0 to 1.
        reading: Which reading of the query found it.
    """

    place: Place
    kind: NameKind
    name: str
    key: str
    similarity: float = 1.0
    reading: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """A place that was found.

    Attributes:
        matched_name: The name that fits, as the source spells it; empty for a point.
        confidence: How sure it is that this place is meant, 0 to 1.
        similarity: How alike the names are, 0 to 1.
        distance_meters: From the focus or the point; None without one.
    """

    place: Place
    match_type: MatchType
    confidence: float
    matched_name: str = ""
    similarity: float = 1.0
    components: tuple[Component, ...] = ()
    distance_meters: float | None = None
    hierarchy: tuple[Division, ...] = field(default=())
