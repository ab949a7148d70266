"""Points to places."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from geocoder.directory import Area, Directory, Translations
from geocoder.places import Division, Layer, Match, MatchType, NamedPlace, Place
from meshkit.errors import NotFound

DEFAULT_RADIUS_METERS: Final = 50_000.0
TERRITORIAL_WATERS_METERS: Final = 22_224.0
"""12 nautical miles: what lies nearer to a place of a country than this is that country's."""

_CANDIDATES: Final = 8
_SURE_ON_LAND: Final = 1.0
_SURE_ON_WATER: Final = 0.8
_HALF_SURE_METERS: Final = 5_000.0
_INHABITANTS_PER_SQUARE_METER: Final = 0.012


@dataclass(frozen=True, slots=True)
class Near:
    """A place near a point."""

    place: Place
    distance_meters: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies around a point.

    Attributes:
        country_code: Of the country whose land or coastal waters the point lies in; empty on the high seas.
        is_land: Whether it is land.
        near: Places around, on land only those of the country, in no order. Some may lie beyond the radius: a little, or
            those of the country that make the water its own.
    """

    country_code: str
    is_land: bool
    near: list[Near]


class Places(Protocol):
    """Where places are found."""

    async def directory(self) -> Directory:
        """Returns countries and regions."""

    async def translations(self, language: str) -> Translations:
        """Returns what countries and regions are called in a language."""

    async def find_around(
        self, lat: float, lng: float, radius_meters: float, limit: int, *, postcodes: bool, language: str
    ) -> Surroundings:
        """Returns the country of a point and the places around it."""

    async def find_place(self, place_id: str, language: str) -> NamedPlace:
        """Returns a place, or raises NotFound."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point to name.

    Attributes:
        lat: Degrees north.
        lng: Degrees east.
        layers: What to name it by; empty for the locality and, where none is in reach, the country.
        limit: Places at most in each layer.
    """

    lat: float
    lng: float
    radius_meters: float = DEFAULT_RADIUS_METERS
    layers: tuple[Layer, ...] = ()
    language: str = ""
    limit: int = 1


@dataclass(frozen=True, slots=True)
class Naming:
    """The name of a point; `country` is None at sea."""

    matches: list[Match]
    country: Division | None
    country_code: str


class ReverseGeocoder:
    """Names points."""

    def __init__(self, places: Places) -> None:
        self._places = places

    async def name(self, point: Point) -> Naming:
        """Returns the country and the places that a point lies in or near."""
        around = await self._places.find_around(
            point.lat,
            point.lng,
            point.radius_meters,
            max(_CANDIDATES, point.limit),
            postcodes=Layer.POSTCODE in point.layers,
            language=point.language,
        )
        directory = await self._places.directory()
        translations = await self._places.translations(point.language)
        country_code = _country_of(around)
        near = [
            each
            for each in around.near
            if each.distance_meters <= point.radius_meters and country_code in ("", each.place.country_code)
        ]
        localities = sorted((each for each in near if each.place.layer is Layer.LOCALITY), key=_beyond_extent)
        country = directory.division(Area(country_code))
        county = (
            await self._county_of(localities[0].place, point.language)
            if localities and Layer.COUNTY in point.layers
            else None
        )
        names = _Names(directory, translations, point)
        matches = names.of_layers(localities, near, county, country, is_land=around.is_land)
        division = None if country is None else Division(country.place_id, names.of(country), Layer.COUNTRY)
        return Naming(matches, division, country_code)

    async def _county_of(self, locality: Place, language: str) -> Place | None:
        """Returns the county that a locality lies in; counties are too many to be in the directory."""
        if not locality.admin2_code:
            return None
        code = f"{locality.country_code}.{locality.admin1_code}.{locality.admin2_code}"
        try:
            return (await self._places.find_place(f"admin2.{code}", language)).place
        except NotFound:  # another gazetteer was loaded this moment
            return None


class _Names:
    """Puts matches together for one point."""

    def __init__(self, directory: Directory, translations: Translations, point: Point) -> None:
        self._directory = directory
        self._translations = translations
        self._point = point

    def of(self, place: Place) -> str:
        return self._translations.get(place.place_id, place.name)

    def of_layers(
        self,
        localities: Sequence[Near],
        near: Sequence[Near],
        county: Place | None,
        country: Place | None,
        *,
        is_land: bool,
    ) -> list[Match]:
        wanted = self._point.layers or ((Layer.LOCALITY,) if localities else (Layer.COUNTRY,))
        matches = []
        if Layer.POSTCODE in wanted:
            codes = sorted((each for each in near if each.place.layer is Layer.POSTCODE), key=_distance)
            matches += [self._nearest(each) for each in codes[: self._point.limit]]
        if Layer.LOCALITY in wanted:
            matches += [self._nearest(each) for each in localities[: self._point.limit]]
        if county is not None:
            matches.append(
                self._match(county, MatchType.NEAREST, _sureness(localities[0]), localities[0].distance_meters)
            )
        if Layer.REGION in wanted and localities:
            best = localities[0]
            region = self._directory.division(Area(best.place.country_code, best.place.admin1_code))
            if region is not None and region.layer is Layer.REGION:
                matches.append(self._match(region, MatchType.NEAREST, _sureness(best), best.distance_meters))
        if Layer.COUNTRY in wanted and country is not None:
            matches.append(
                self._match(country, MatchType.CONTAINING, _SURE_ON_LAND if is_land else _SURE_ON_WATER, 0.0)
            )
        return matches

    def _nearest(self, near: Near) -> Match:
        return self._match(near.place, MatchType.NEAREST, _sureness(near), near.distance_meters)

    def _match(self, place: Place, match_type: MatchType, confidence: float, distance_meters: float) -> Match:
        return Match(
            place=replace(place, name=self.of(place)),
            match_type=match_type,
            confidence=confidence,
            distance_meters=distance_meters,
            hierarchy=self._directory.hierarchy(place, self._translations),
        )


def extent_meters(population: int | None) -> float:
    """Returns the radius in metres that a town of so many inhabitants usually has, were it round.

    With 12,000 inhabitants to the square kilometre the town whose extent is nearest was the right one for 99.8 % of 400
    addresses in Paris (2.5 % when the nearest place was taken, which is a part of the city) and for 65 % of 2,384 US
    postal codes (61 %), while 96 % of 1,400 towns were still found at their own location.
    """
    return math.sqrt((population or 0) / _INHABITANTS_PER_SQUARE_METER / math.pi)


def _country_of(around: Surroundings) -> str:
    """Returns the country whose land or territorial waters hold the point; empty at sea."""
    if around.is_land or not around.country_code:
        return around.country_code
    own = (each for each in around.near if each.place.country_code == around.country_code)
    return around.country_code if any(each.distance_meters <= TERRITORIAL_WATERS_METERS for each in own) else ""


def _distance(near: Near) -> float:
    return near.distance_meters


def _beyond_extent(near: Near) -> float:
    return near.distance_meters - extent_meters(near.place.population)


def _sureness(near: Near) -> float:
    return 1 / (1 + max(0.0, _beyond_extent(near)) / _HALF_SURE_METERS)
