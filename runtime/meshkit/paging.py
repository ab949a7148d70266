"""Page tokens: where the next page of one query begins, opaque to the caller and useless for any other query."""

import base64
import hashlib
import json
import math
from datetime import UTC, datetime
from types import UnionType
from typing import Any, TypeAlias

from google.protobuf.message import Message

from meshkit.errors import InvalidInput, Reason

Position: TypeAlias = tuple[int | float | str | datetime | bytes | None, ...]

_DIGEST_BYTES = 12
_MAX_CHARACTERS = 4096
_PAGING_FIELDS = ("page_size", "page_token")


class PageToken:
    """Turns the sort key of a page's last row into a token, and back.

    A token carries a digest of its position and of the query it was made for, so that a damaged one, or one of another
    query, is refused. The digest is no signature: a caller can forge a position. That gains nothing, because positions
    are only ever bound as parameters of a query that filters by tenant itself, and because a position whose values the
    database could not take is refused like a damaged one.
    """

    @staticmethod
    def encode(position: Position | None, *, query: Message) -> str:
        """Returns the `next_page_token` for the page that starts after `position`.

        Args:
            position: The sort key of the last row that was returned; None when no page follows.
            query: The request. Its `page_size` and `page_token` may differ from page to page, nothing else may.

        Returns:
            URL-safe text, empty when `position` is None.

        Raises:
            ValueError: The position does not fit into a token, or holds a value that `decode` refuses.
        """
        if position is None:
            return ""
        body = json.dumps([_to_json(_storable(value)) for value in position], separators=(",", ":")).encode()
        token = _text(_digest(query, body) + body)
        if len(token) > _MAX_CHARACTERS:
            raise ValueError(f"a page token of {len(token)} characters is longer than {_MAX_CHARACTERS}")
        return token

    @staticmethod
    def decode(
        token: str, *, query: Message, types: tuple[type | UnionType, ...] | None = None
    ) -> tuple[Any, ...] | None:
        """Returns the position after which the page asked for starts, exactly as it was encoded.

        Args:
            token: The request's `page_token`.
            query: The request.
            types: What each value of a position of this query is, e.g. ``(datetime, int)`` or ``(float | None, str)``.
                None tells nothing of them, for a servicer that looks at each of them itself.

        Returns:
            The position, or None for an empty token: the first page.

        Raises:
            InvalidInput: The token is not ours, is damaged, belongs to another query, or holds a position of other
                types, or a value that fits into no column: an integer of more than 64 bits, a float that is not
                finite, text with a NUL, a time without a zone.
        """
        if not token:
            return None
        raw = _bytes(token) if len(token) <= _MAX_CHARACTERS else b""
        digest, body = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if digest != _digest(query, body):
            raise _refusal()
        try:
            position = tuple(_storable(_from_json(value)) for value in json.loads(body))
        except (ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
            raise _refusal() from error
        if types is not None and not (len(position) == len(types) and all(map(isinstance, position, types))):
            raise _refusal()
        return position


def _refusal() -> InvalidInput:
    return InvalidInput(
        "page_token",
        "must be the next_page_token of a reply to this query, with every other field but page_size unchanged",
        reason=Reason.INVALID_PAGE_TOKEN,
    )


def _digest(query: Message, body: bytes) -> bytes:
    unpaged = type(query)()
    unpaged.CopyFrom(query)
    for name in _PAGING_FIELDS:
        if name in query.DESCRIPTOR.fields_by_name:
            unpaged.ClearField(name)
    hasher = hashlib.blake2b(query.DESCRIPTOR.full_name.encode(), digest_size=_DIGEST_BYTES)
    asked = unpaged.SerializeToString(deterministic=True)
    hasher.update(len(asked).to_bytes(4, "big"))
    hasher.update(asked)
    hasher.update(body)
    return hasher.digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(token: str) -> bytes:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return b""
    return raw if _text(raw) == token else b""  # one token has one spelling


def _to_json(value: float | str | datetime | bytes | None) -> Any:
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    if isinstance(value, bytes):
        return {"bytes": _text(value)}
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        ((kind, text),) = value.items()
        return datetime.fromisoformat(text) if kind == "time" else base64.urlsafe_b64decode(text + "===")
    if isinstance(value, list):
        raise TypeError("a position is flat")
    return value


def _storable(value: Any) -> Any:
    """Returns the value if a column can hold it, else raises ValueError."""
    match value:
        case bool():  # an int to Python, but never a sort key
            fits = False
        case int():
            fits = -(2**63) <= value < 2**63
        case float():
            fits = math.isfinite(value)
        case str():
            value.encode()  # raises for half of a surrogate pair
            fits = "\0" not in value
        case datetime():
            fits = value.tzinfo is not None
            value.astimezone(UTC)  # raises for a time that is in no year in UTC
        case _:
            fits = value is None or isinstance(value, bytes)
    if not fits:
        raise ValueError(f"no column holds {value!r}")
    return value
