"""What vector tiles are made of."""

from typing import NamedTuple


class Feature(NamedTuple):
    """One thing on a tile.

    Attributes:
        layer: The layer that it belongs to.
        shape: As well-known text, in pixels from the lower left corner.
        properties: As a JSON object.
    """

    layer: str
    shape: str
    properties: str
