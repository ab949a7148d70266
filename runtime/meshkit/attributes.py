"""Free attributes of a thing: protobuf's open-ended struct, held to flat values of bounded size."""

import math
from collections.abc import Mapping
from typing import Final, TypeAlias

from google.protobuf.struct_pb2 import Struct, Value

from meshkit.errors import InvalidInput

Plain: TypeAlias = str | float | bool
"""A value that an attribute may have."""

_MOST: Final = 32
_LONGEST_NAME: Final = 64
_LONGEST_VALUE: Final = 256
_LARGEST_EXACT: Final = 2.0**53
"""Beyond it a double is no longer every whole number."""


def check_attributes(attributes: Struct) -> None:
    """Returns when attributes may be stored.

    Raises:
        InvalidInput: They are too many or too long, or one is no string, finite number or boolean.
    """
    fields = attributes.fields
    if len(fields) > _MOST:
        raise InvalidInput("attributes", f"must have at most {_MOST} entries")
    for name, value in fields.items():
        if not 1 <= len(name) <= _LONGEST_NAME or ":" in name or "\0" in name:
            raise InvalidInput(
                "attributes", f"must have names of 1 to {_LONGEST_NAME} characters, no colon or NUL in them"
            )
        _check_value(name, value)


def from_struct(attributes: Struct) -> dict[str, Plain]:
    """Returns checked attributes as plain values."""
    return {name: _plain(value) for name, value in attributes.fields.items()}


def to_struct(attributes: Mapping[str, Plain]) -> Struct:
    """Returns stored attributes as a message."""
    struct = Struct()
    struct.update(attributes)
    return struct


def _check_value(name: str, value: Value) -> None:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        if len(value.string_value) <= _LONGEST_VALUE and "\0" not in value.string_value:
            return
        raise InvalidInput(f"attributes.{name}", f"must have at most {_LONGEST_VALUE} characters, none of them NUL")
    if kind == "bool_value" or (kind == "number_value" and math.isfinite(value.number_value)):
        return
    raise InvalidInput(f"attributes.{name}", "must be a string, a finite number or a boolean")


def _plain(value: Value) -> Plain:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return value.bool_value
    number = value.number_value
    # As JSON prints it, because filters compare the text: 31 and not 31.0.
    return int(number) if number.is_integer() and abs(number) <= _LARGEST_EXACT else number
