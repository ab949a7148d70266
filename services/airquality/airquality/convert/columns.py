"""Many messages of one type, made from arrays: protobuf's wire format, column by column instead of object by object.

An object for each of 8,784 hours and for what lies in it takes longer than everything else about a history. The format is
that of https://protobuf.dev/programming-guides/encoding/; field numbers and types come from the descriptors.
"""

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Values = NDArray[np.int64] | NDArray[np.float64]

_NOTHING: Final = -1
_AT_ONCE: Final = 256  # messages that are turned from columns to rows within the processor's cache
_VARINT, _FIXED64, _LENGTH = range(3)
_DOUBLE: Final = FieldDescriptor.TYPE_DOUBLE
_INTEGERS: Final = frozenset({FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_ENUM})
_NESTED: Final = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE})


class Bytes(NamedTuple):
    """The bytes of n messages or parts of them.

    Attributes:
        pieces: One after another, each of shape (w, n): the first bytes of all, then the second ones, and _NOTHING where
            one has none. They are put together once, at the end.
        lengths: How many bytes each has, n.
    """

    pieces: list[NDArray[np.int16]]
    lengths: Ints

    def where(self, present: Bools) -> "Bytes":
        """Returns the same with nothing where it is not present."""
        if present.all():
            return self
        return Bytes(
            [np.where(present, each, np.int16(_NOTHING)) for each in self.pieces], np.where(present, self.lengths, 0)
        )


def field(of: type[Message], name: str, values: Values | Bytes, present: Bools | None = None) -> Bytes:
    """Returns one field of n messages.

    Args:
        of: The type of the messages.
        name: The field: a number, an enum, text or a message; of repeated ones, one element of text or messages, or all
            of whole numbers.
        values: Numbers, shape (n,); of repeated whole numbers (n, k); of text and messages their bytes.
        present: Which messages have it, n; None for all. A number that cannot say that it is there is left out at 0.
    """
    number, kind, is_repeated, has_presence = _described(of.DESCRIPTOR, name)
    if isinstance(values, Bytes):
        wire_type, content = _LENGTH, _prefixed(values)
    elif is_repeated:
        wire_type, content = _LENGTH, _prefixed(joined(*map(_varints, values.T)))
    elif kind == _DOUBLE:
        wire_type, content = _FIXED64, _doubles(values)
    else:
        wire_type, content = _VARINT, _varints(values)
    if not isinstance(values, Bytes) and not (has_presence or is_repeated):
        told = (values != 0) | np.signbit(values)  # protobuf tells a negative zero
        present = told if present is None else present & told
    tag = _varints(np.array([number << 3 | wire_type]))
    tags = np.broadcast_to(tag.pieces[0], (len(tag.pieces[0]), len(content.lengths)))
    found = Bytes([tags, *content.pieces], content.lengths + tag.lengths)
    return found if present is None else found.where(present)


def joined(*parts: Bytes) -> Bytes:
    """Returns parts of n messages one after another."""
    lengths = parts[0].lengths.copy()
    for part in parts[1:]:
        lengths += part.lengths
    return Bytes([piece for part in parts for piece in part.pieces], lengths)


def chosen(table: list[bytes], which: Ints) -> Bytes:
    """Returns for each of n messages the bytes at its place in a table."""
    lengths = np.array([len(each) for each in table])
    columns = np.full((lengths.max(), len(table)), _NOTHING, dtype=np.int16)
    for column, each in zip(columns.T, table, strict=True):
        column[: len(each)] = np.frombuffer(each, dtype=np.uint8)
    return Bytes([columns.take(which, axis=1)], lengths[which])


def serialized(messages: Bytes) -> bytes:
    """Returns n messages or parts one after another."""
    parts = []
    for begin in range(0, len(messages.lengths), _AT_ONCE):
        some = np.concatenate([piece[:, begin : begin + _AT_ONCE] for piece in messages.pieces])
        rows = np.ascontiguousarray(some.T)
        parts.append(rows[rows != _NOTHING].astype(np.uint8).tobytes())
    return b"".join(parts)


@cache
def _described(of: Descriptor, name: str) -> tuple[int, int, bool, bool]:
    """Returns the number and type of a field, whether it is repeated, and whether it can be there with its default."""
    found = of.fields_by_name[name]
    if found.type not in _INTEGERS | _NESTED | {_DOUBLE} or (found.is_repeated and found.type == _DOUBLE):
        raise TypeError(f"fields like {found.full_name} cannot be written")
    return found.number, found.type, found.is_repeated, found.has_presence


def _prefixed(content: Bytes) -> Bytes:
    """Returns contents with their lengths before them."""
    return joined(_varints(content.lengths), content)


def _doubles(values: Values) -> Bytes:
    """Returns IEEE 754 doubles, the lowest byte first."""
    every = np.ascontiguousarray(values, dtype="<f8").view(np.uint8).reshape(-1, 8)
    return Bytes([every.T.astype(np.int16)], np.full(len(values), 8))


def _varints(values: Values) -> Bytes:
    """Returns whole numbers, seven bits a byte, the lowest first; negative ones take ten."""
    rest = values.astype(np.int64).view(np.uint64)
    width = max(1, -(-int(rest.max(initial=0)).bit_length() // 7))
    found = np.empty((width, len(rest)), dtype=np.int16)
    lengths = np.ones(len(rest), dtype=np.int64)
    for place in range(width):
        more = rest >> np.uint64(7)
        found[place] = (rest & np.uint64(0x7F)) | ((more > 0) * np.uint64(0x80))
        if place:
            found[place, rest == 0] = _NOTHING
            lengths += rest > 0
        rest = more
    return Bytes([found], lengths)
