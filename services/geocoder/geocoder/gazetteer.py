"""Puts the sources together to one gazetteer: places in the order of their importance, and all their names."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from geocoder import sources
from geocoder.importance import importance
from geocoder.normalize import name_key, name_keys
from geocoder.places import Layer, NameKind
from geocoder.scripts import language_of

_DISPUTED_CAPITALS: Final = {"IL": "Jerusalem"}
_BEGINNING: Final = 3
_STATE_CODES_AS_WRITTEN: Final = frozenset({"US"})


@dataclass(slots=True)
class Entry:
    """A place while it is put together; the attributes are those of :class:`geocoder.places.Place`."""

    place_id: str
    layer: Layer
    feature_class: str
    name: str
    country_code: str
    admin1_code: str = ""
    admin2_code: str = ""
    admin2_name: str = ""
    timezone: str = ""
    population: int | None = None
    lat: float = 0.0
    lng: float = 0.0
    iso_code: str = ""
    alternate_names: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    local_names: dict[str, str] = field(default_factory=dict)
    is_capital: bool = False
    importance: float = 0.0

    @property
    def area(self) -> str:
        """Its country and region: `US.OR`, or `US` where it lies in no region."""
        return f"{self.country_code}.{self.admin1_code}" if self.admin1_code else self.country_code


class _Middle:
    """The middle of places on the globe, weighted by their inhabitants."""

    __slots__ = ("population", "x", "y", "z")

    def __init__(self) -> None:
        self.x = self.y = self.z = 0.0
        self.population = 0

    def add(self, lat: float, lng: float, population: int) -> None:
        weight = population or 1
        latitude, longitude = math.radians(lat), math.radians(lng)
        self.x += weight * math.cos(latitude) * math.cos(longitude)
        self.y += weight * math.cos(latitude) * math.sin(longitude)
        self.z += weight * math.sin(latitude)
        self.population += population

    def location(self) -> tuple[float, float]:
        """Returns latitude and longitude in degrees."""
        lat = math.degrees(math.atan2(self.z, math.hypot(self.x, self.y)))
        return round(lat, 5), round(math.degrees(math.atan2(self.y, self.x)), 5)


def assemble(
    folder: Path, inside: Callable[[str], tuple[float, float]], report: Callable[[str], None] = lambda _: None
) -> list[Entry]:
    """Returns all places, the most important first.

    Args:
        folder: Where the files of the product are.
        inside: Gives a point (lat, lng) in a country in which nobody lives.
        report: Is told what is read.
    """
    report("cities")
    cities = sources.read_cities()
    report("divisions")
    divisions = sources.read_divisions(folder)
    report("languages")
    local_names = sources.read_local_names()
    report("places")
    middles: dict[str, _Middle] = {}
    localities = list(_localities(cities, divisions, middles))
    countries = list(_countries(local_names, middles, inside))
    _mark_cities_of_note(localities, local_names)
    entries = [
        *countries,
        *_divisions(divisions, local_names, middles),
        *localities,
        *_postcodes(folder, divisions),
    ]
    for entry in entries:
        entry.importance = importance(
            entry.layer,
            entry.population,
            len(entry.alternate_names) + len(entry.local_names),
            is_capital=entry.is_capital,
        )
    entries.sort(key=lambda entry: (-entry.importance, entry.layer, entry.place_id))
    return entries


def names_of(entry: Entry) -> Iterator[tuple[NameKind, str, str]]:
    """Yields kind, key and name of everything a place is found by; each key once, for the best kind."""
    found: dict[str, tuple[NameKind, str]] = {}
    kind = NameKind.MAIN
    for name in (entry.name, *entry.alternate_names, *entry.local_names.values()):
        for position, key in enumerate(name_keys(name)):
            if key not in found:
                found[key] = (NameKind.SPELLED_OUT if position else kind, name)
            elif position == 0 and found[key][1].isascii() and not name.isascii():
                # Of names that differ in accents only, the one with accents is how it is written.
                found[key] = (found[key][0], name if found[key][0] is not NameKind.MAIN else found[key][1])
        kind = NameKind.OTHER
    without_city = name_key(entry.name).removesuffix(" city")
    beginnings = Counter(key[:_BEGINNING] for key in found)
    for key, (kind, name) in found.items():
        if kind is NameKind.OTHER and key == without_city:
            yield NameKind.MAIN, key, name
        elif kind is NameKind.OTHER and key.isascii() and beginnings[key[:_BEGINNING]] == 1:
            yield NameKind.UNLIKE, key, name
        else:
            yield kind, key, name
    for code in entry.codes:
        key = name_key(code)
        if key and key not in found:
            found[key] = (NameKind.CODE, code)
            yield NameKind.CODE, key, code


def local_names_of(entry: Entry) -> dict[str, str]:
    """Returns the name to show by language; where no source tells, by the script of the alternate names."""
    names = dict(entry.local_names)
    for name in entry.alternate_names:
        if not name.isascii() and (language := language_of(name)):
            names.setdefault(language, name)
    return names


def _localities(
    cities: Iterable[dict[str, Any]], divisions: sources.Divisions, middles: dict[str, _Middle]
) -> Iterator[Entry]:
    for row in cities:
        country, admin1 = row["countrycode"], row["admin1code"]
        region = f"{country}.{admin1}"
        county = divisions.county_of_city.get(row["geonameid"], "")
        if not county.startswith(f"{region}."):
            county = ""
        for division in filter(None, (country, region, county)):
            middles.setdefault(division, _Middle()).add(row["latitude"], row["longitude"], row["population"])
        yield Entry(
            place_id=f"geonames.{row['geonameid']}",
            layer=Layer.LOCALITY,
            feature_class="P",
            name=row["name"],
            country_code=country,
            admin1_code=admin1 if region in divisions.rows else "",
            admin2_code=county.rpartition(".")[2],
            admin2_name=divisions.rows[county].name if county else "",
            timezone=row["timezone"],
            population=row["population"] or None,
            lat=row["latitude"],
            lng=row["longitude"],
            alternate_names=[name for name in row["alternatenames"] if name != row["name"]],
        )


def _countries(
    local_names: sources.LocalNames, middles: dict[str, _Middle], inside: Callable[[str], tuple[float, float]]
) -> Iterator[Entry]:
    for row in sources.read_countries():
        code = row["iso"]
        lat, lng = middles[code].location() if code in middles else inside(code)
        yield Entry(
            place_id=f"geonames.{row['geonameid']}",
            layer=Layer.COUNTRY,
            feature_class="A",
            name=row["name"],
            country_code=code,
            population=row["population"] or None,
            lat=lat,
            lng=lng,
            iso_code=code,
            alternate_names=list(sources.COLLOQUIAL_COUNTRY_NAMES.get(code, ())),
            codes=[code, row["iso3"]],
            local_names=dict(local_names.countries.get(code, {})),
        )


def _divisions(
    divisions: sources.Divisions, local_names: sources.LocalNames, middles: dict[str, _Middle]
) -> Iterator[Entry]:
    """Yields the divisions that some locality lies in: of the others no source says where they are."""
    for code, row in divisions.rows.items():
        if code not in middles:
            continue
        country, admin1, *admin2 = code.split(".", 2)
        lat, lng = middles[code].location()
        short_code = row.iso_code.partition("-")[2] or (admin1 if country in _STATE_CODES_AS_WRITTEN else "")
        yield Entry(
            place_id=f"admin2.{code}" if admin2 else f"admin1.{code}",
            layer=Layer.COUNTY if admin2 else Layer.REGION,
            feature_class="A",
            name=row.name,
            country_code=country,
            admin1_code=admin1,
            admin2_code="".join(admin2),
            population=middles[code].population or None,
            lat=lat,
            lng=lng,
            iso_code=row.iso_code,
            alternate_names=[name for name in row.alternate_names if name != row.name],
            codes=[short_code, row.iso_code] if short_code and not admin2 else [],
            local_names=dict(local_names.regions.get(row.iso_code, {})),
        )


def _postcodes(folder: Path, divisions: sources.Divisions) -> Iterator[Entry]:
    counties = {
        (code.split(".")[1], _county_key(name)): row
        for code, row in divisions.rows.items()
        if code.startswith("US.") and code.count(".") == 2  # noqa: PLR2004 -- country.region.county
        for name in (row.name, *row.alternate_names)
    }
    for row in {row["zip"]: row for row in sources.read_zip_codes(folder)}.values():
        county = counties.get((row["state_abbr"], _county_key(row["county"])))
        yield Entry(
            place_id=f"postcode.US.{row['zip']}",
            layer=Layer.POSTCODE,
            feature_class="Z",
            name=row["zip"],
            country_code="US",
            admin1_code=row["state_abbr"] if f"US.{row['state_abbr']}" in divisions.rows else "",
            admin2_code=county.code.rpartition(".")[2] if county else "",
            admin2_name=county.name if county else "",
            lat=float(row["lat"]),
            lng=float(row["lng"]),
        )


def _county_key(name: str) -> str:
    words = name_key(name).split()
    return " ".join(word for word in words if word not in {"county", "parish", "borough", "census", "area", "city"})


def _mark_cities_of_note(localities: list[Entry], local_names: sources.LocalNames) -> None:
    """Finds the capitals, and the cities that time zones are called after, which CLDR names in many languages."""
    capitals = {
        (row["iso"], name_key(_DISPUTED_CAPITALS.get(row["iso"], row["capital"]))) for row in sources.read_countries()
    }
    best: dict[tuple[str, str], Entry] = {}
    for entry in localities:
        keys = {name_key(entry.name)} if len(entry.alternate_names) < 3 else set()  # noqa: PLR2004 -- unknown to the world
        if not keys:
            keys = {name_key(name) for name in (entry.name, *entry.alternate_names) if name.isascii()}
        zone_city = name_key(entry.timezone.rpartition("/")[2].replace("_", " "))
        for role in ((entry.country_code, key) for key in keys):
            if role in capitals:
                _keep_larger(best, role, entry)
        if zone_city in keys:
            _keep_larger(best, (entry.timezone, ""), entry)
    for (where, key), entry in best.items():
        if key:
            entry.is_capital = True
        else:
            entry.local_names.update(local_names.zone_cities.get(where, {}))


def _keep_larger(best: dict[tuple[str, str], Entry], role: tuple[str, str], entry: Entry) -> None:
    if role not in best or (entry.population or 0) > (best[role].population or 0):
        best[role] = entry
