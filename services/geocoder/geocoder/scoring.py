"""How sure it is that a place is meant, and which of several comes first."""

import math
from collections.abc import Sequence
from typing import Final

from geocoder.places import Found, Layer, MatchType, NameKind, Place

_EARTH_RADIUS_METERS: Final = 6_371_008.8
_FOCUS_METERS: Final = 100_000.0

# In the unit of the similarity of names. A well-known place outweighs small differences of names, and a place that is
# called so first of all outweighs one that is called so among others: Victoria is on the Seychelles, not Hong Kong.
_WEIGHT_OF_IMPORTANCE: Final = 0.5
_WEIGHT_OF_FOCUS: Final = 0.3
_STANDING_OF_KIND: Final = {
    NameKind.MAIN: 0.06,
    NameKind.OTHER: 0.0,
    NameKind.SPELLED_OUT: 0.0,
    NameKind.CODE: -0.05,
    NameKind.UNLIKE: -0.12,
}
_STANDING_OF_COUNTRY: Final = 0.03
_STANDING_OF_COMPLETION: Final = {NameKind.MAIN: 0.2, NameKind.UNLIKE: -0.2}
_AS_GOOD: Final = 0.05
_MOST_RIVALS: Final = 30


def match_type(found: Found, key: str) -> MatchType:
    """Returns how a place was found by a name whose key is `key`, written out."""
    if found.kind is NameKind.MAIN and found.key == key:
        return MatchType.EXACT
    return MatchType.ALTERNATE_NAME if found.key == key else MatchType.FUZZY


def rank(found: Found, quality: float, distance_meters: float | None = None) -> float:
    """Returns what places are sorted by, the greatest first.

    Args:
        found: The place.
        quality: How well it fits the query, 0 to 1.
        distance_meters: Its distance from the focus; None without one.
    """
    near = 0.0 if distance_meters is None else math.exp(-distance_meters / _FOCUS_METERS)
    standing = _STANDING_OF_KIND[found.kind] + _STANDING_OF_COUNTRY * (found.place.layer is Layer.COUNTRY)
    return quality + _WEIGHT_OF_IMPORTANCE * found.place.importance + standing + _WEIGHT_OF_FOCUS * near


def rank_completion(found: Found, distance_meters: float | None = None) -> float:
    """Returns what completions are sorted by, the greatest first.

    What a place is called first of all counts for more than in `rank`: few who type `s` mean China, though some
    language's name for it begins so.
    """
    near = 0.0 if distance_meters is None else math.exp(-distance_meters / _FOCUS_METERS)
    standing = _STANDING_OF_COMPLETION.get(found.kind, 0.0)
    return _WEIGHT_OF_IMPORTANCE * found.place.importance + standing + _WEIGHT_OF_FOCUS * near


def confidences(places: Sequence[Place], qualities: Sequence[float], count: int) -> list[float]:
    """Returns how sure it is that each of the first `count` places is meant, 0 to 1.

    It is the quality of the match, halved as far as other places fit as well: times 0.5 + 0.5 * the place's share of
    the inhabitants of all that do. A place and what it lies in do not compete.

    Args:
        places: The candidates, the likelier first; of their rivals the first 30 count.
        qualities: How well each fits the query, 0 to 1.
        count: For how many it is wanted.
    """
    rivals = [(place, quality, (place.population or 0) + 1) for place, quality in zip(places, qualities, strict=True)]
    return [
        quality * (0.5 + 0.5 * weight / (weight + _weight_of_rivals(place, quality, rivals[:_MOST_RIVALS])))
        for place, quality, weight in rivals[:count]
    ]


def distance_meters(lat: float, lng: float, place: Place) -> float:
    """Returns the great-circle distance in metres from a point in degrees to a place (haversine, mean radius)."""
    latitude, other = math.radians(lat), math.radians(place.lat)
    across = math.radians(place.lng - lng)
    half = math.sin((other - latitude) / 2) ** 2 + math.cos(latitude) * math.cos(other) * math.sin(across / 2) ** 2
    return 2 * _EARTH_RADIUS_METERS * math.asin(min(1.0, math.sqrt(half)))


def _weight_of_rivals(place: Place, quality: float, rivals: Sequence[tuple[Place, float, int]]) -> int:
    return sum(
        weight
        for other, other_quality, weight in rivals
        if other_quality >= quality - _AS_GOOD and other.id != place.id and not _nested(place, other)
    )


def _nested(one: Place, other: Place) -> bool:
    """Whether one place lies in the other, as far as their divisions tell."""
    inner, outer = (one, other) if one.layer > other.layer else (other, one)
    if inner.layer == outer.layer or inner.country_code != outer.country_code:
        return False
    return outer.admin1_code in ("", inner.admin1_code) and outer.admin2_code in ("", inner.admin2_code)
