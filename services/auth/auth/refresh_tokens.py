"""Refresh tokens: random to everyone else, but each follows from the one before it.

The successor of a token is its HMAC under a secret key. So a client that lost an answer gets the same successor from
any replica that it asks again, although no token is ever stored, only hashes.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

_TOKEN_BYTES: Final = 32


class RefreshTokens:
    """Makes refresh tokens."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Takes the secret keys, the current one first; older ones recognize what a replica made with them."""
        self._keys = tuple(keys)

    def first(self) -> str:
        """Returns the first token of a session."""
        return secrets.token_urlsafe(_TOKEN_BYTES)

    def successors(self, token: str) -> tuple[str, ...]:
        """Returns the token that follows, by the current key, and those that older keys would have made."""
        return tuple(_spelling(hmac.digest(key, token.encode(), "sha256")) for key in self._keys)


def digest(token: str) -> bytes:
    """Returns the hash under which a token is stored. It needs no salt, since nobody can try out 32 random bytes."""
    return hashlib.sha256(token.encode()).digest()


def _spelling(token: bytes) -> str:
    return urlsafe_b64encode(token).rstrip(b"=").decode()
