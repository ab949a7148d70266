"""Batches and streams: the bad items are reported by their index, the good ones are kept."""

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

from geomesh.types.v1.types_pb2 import ItemError
from meshkit.errors import MeshError
from meshkit.status import to_status
from meshkit.validation import validate

ItemT = TypeVar("ItemT", bound=Message)


class Partition(NamedTuple, Generic[ItemT]):
    """A batch taken apart.

    Attributes:
        items: The good items in their order.
        indices: Where each of them stands in the batch, or in the whole stream.
        errors: The refused ones, in their order, ready for the reply's `errors` field.
    """

    items: list[ItemT]
    indices: list[int]
    errors: list[ItemError]


def partition(
    items: Iterable[ItemT], check: Callable[[ItemT], object] | None = None, *, offset: int = 0
) -> Partition[ItemT]:
    """Takes the items of a batch apart into good and bad by the rules of their proto, then by `check`.

    Args:
        items: Messages with protovalidate rules.
        check: What the rules cannot say: raises a MeshError for a bad item. It sees only items that keep the rules.
        offset: The index of the first item; in a stream the number of items in the chunks before.

    Returns:
        The good items with their indices, and the errors of the others, whose field paths begin within the item.
    """
    kept: list[ItemT] = []
    indices: list[int] = []
    errors: list[ItemError] = []
    for index, item in enumerate(items, offset):
        try:
            validate(item)
            if check is not None:
                check(item)
        except MeshError as error:
            errors.append(ItemError(index=index, status=to_status(error)))
        else:
            kept.append(item)
            indices.append(index)
    return Partition(kept, indices, errors)
