"""How well known a place is, which decides between places of one name."""

import math
from typing import Final

from geocoder.places import Layer

# A division is meant by its name less often than a city with as many inhabitants: "New York" is the city.
_SHARE_OF_INHABITANTS: Final = {
    Layer.COUNTRY: 1.0,
    Layer.REGION: 0.2,
    Layer.COUNTY: 0.02,
    Layer.LOCALITY: 1.0,
    Layer.POSTCODE: 0.0,
}
_LARGEST_POPULATION: Final = 10**10
_MANY_NAMES: Final = 200


def importance(layer: Layer, population: int | None, name_count: int, *, is_capital: bool = False) -> float:
    """Returns how well known a place is, 0 to 1, growing with the logarithm of its inhabitants.

    Ten times the inhabitants add 0.08, being named in 200 languages 0.1, being a country or a capital 0.1. The weights
    were chosen by holding well-known ambiguous names (Georgia, Mexico, New York, Ontario, Victoria) against common use.

    Args:
        layer: What the place is.
        population: Inhabitants; None where unknown.
        name_count: In how many ways the place is named, which tells its fame beyond its size.
        is_capital: Whether it is the capital of a country.
    """
    inhabitants = _SHARE_OF_INHABITANTS[layer] * (population or 0)
    size = math.log10(1 + inhabitants) / math.log10(_LARGEST_POPULATION)
    fame = math.log10(1 + min(name_count, _MANY_NAMES)) / math.log10(1 + _MANY_NAMES)
    prominent = is_capital or layer is Layer.COUNTRY
    return round(0.8 * size + 0.1 * fame + 0.1 * prominent, 6)
