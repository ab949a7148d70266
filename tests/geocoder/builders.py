"""Small places and a small world to test with."""

from typing import Any

from geocoder.directory import Directory, DirectoryEntry
from geocoder.places import Found, Layer, NameKind, Place

_NUMBERS: dict[str, int] = {}


def place(name: str = "Somewhere", layer: Layer = Layer.LOCALITY, country: str = "US", **more: Any) -> Place:
    """Returns a place; what is not told is unknown."""
    fields: dict[str, Any] = {
        "id": _NUMBERS.setdefault(f"{name} {layer} {country} {sorted(more.items())}", len(_NUMBERS) + 1),
        "place_id": f"test.{name}",
        "layer": layer,
        "feature_class": "P" if layer is Layer.LOCALITY else "A",
        "name": name,
        "country_code": country,
        "admin1_code": "",
        "admin2_code": "",
        "admin2_name": "",
        "timezone": "",
        "population": None,
        "importance": 0.3,
        "lat": 0.0,
        "lng": 0.0,
        "iso_code": "",
    }
    return Place(**(fields | more))


def found(name: str = "Somewhere", kind: NameKind = NameKind.MAIN, **more: Any) -> Found:
    """Returns a place that was found by its name."""
    return Found(place(name, **more), kind, name, name.lower())


def directory() -> Directory:
    """Returns a directory of five countries and seven regions, with the ambiguous codes that real ones have."""
    divisions = [
        place("United States", Layer.COUNTRY, "US"),
        place("Canada", Layer.COUNTRY, "CA"),
        place("Israel", Layer.COUNTRY, "IL"),
        place("Germany", Layer.COUNTRY, "DE"),
        place("Georgia", Layer.COUNTRY, "GE"),
        place("California", Layer.REGION, "US", admin1_code="CA"),
        place("Oregon", Layer.REGION, "US", admin1_code="OR"),
        place("Texas", Layer.REGION, "US", admin1_code="TX"),
        place("Illinois", Layer.REGION, "US", admin1_code="IL"),
        place("Georgia", Layer.REGION, "US", admin1_code="GA"),
        place("New Mexico", Layer.REGION, "US", admin1_code="NM"),
        place("Bavaria", Layer.REGION, "DE", admin1_code="02"),
    ]
    return Directory(
        [
            DirectoryEntry("united states", "US"),
            DirectoryEntry("usa", "US", is_code=True),
            DirectoryEntry("canada", "CA"),
            DirectoryEntry("ca", "CA,US.CA", is_code=True),
            DirectoryEntry("israel", "IL"),
            DirectoryEntry("il", "IL,US.IL", is_code=True),
            DirectoryEntry("germany", "DE"),
            DirectoryEntry("deutschland", "DE"),
            DirectoryEntry("georgia", "GE,US.GA"),
            DirectoryEntry("california", "US.CA"),
            DirectoryEntry("oregon", "US.OR"),
            DirectoryEntry("or", "US.OR", is_code=True),
            DirectoryEntry("texas", "US.TX"),
            DirectoryEntry("illinois", "US.IL"),
            DirectoryEntry("new mexico", "US.NM"),
            DirectoryEntry("bavaria", "DE.02"),
            DirectoryEntry("bayern", "DE.02"),
        ],
        divisions,
    )
