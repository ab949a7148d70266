"""Reads signed tokens in the compact form of RFC 7515, and checks the claims that RFC 7519 gives a meaning to.

The signature is PyJWT's and cryptography's business. The rest is here, because PyJWT looks at each character of a token in
Python, which was measured to take half as long as the signature, and because the key must be known before the token is read.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from meshkit.errors import Reason, Unauthenticated
from meshkit.jwks import VerificationKey

MAX_TOKEN_BYTES: Final = 8192
"""Longer ones are refused unread; ours are below a tenth of it."""

_SEGMENTS: Final = 3
_MOST_SECONDS: Final = 1e12  # some thirty thousand years


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token whose form is right. That it holds the truth is not known before `is_signed_with`.

    Attributes:
        header: The protected header.
        claims: What it says.
    """

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    _content: bytes
    _signature: bytes

    @classmethod
    def read(cls, token: str) -> "SignedToken":
        """Takes a token apart.

        Raises:
            Unauthenticated: It is too long, or none.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise invalid(f"it is longer than {MAX_TOKEN_BYTES} bytes")
        try:
            encoded = token.encode("ascii")
            segments = encoded.split(b".")
            if len(segments) != _SEGMENTS:
                raise invalid("it is not a signed JWT")
            header, claims, signature = map(_decoded, segments)
            return cls(_members(header), _members(claims), encoded[: encoded.rindex(b".")], signature)
        except (ValueError, RecursionError):
            raise invalid("it is not a signed JWT") from None

    def is_signed_with(self, key: VerificationKey) -> bool:
        """Tells whether the key signed it, by the one algorithm that the key is for and the token must name too."""
        if self.header.get("alg") != key.algorithm:
            return False
        signed: bool = key.key.Algorithm.verify(self._content, key.key.key, self._signature)
        return signed


def check_claims(
    claims: Mapping[str, Any],
    *,
    required: Iterable[str],
    issuer: str,
    audience: str,
    now: float,
    leeway_seconds: float,
) -> None:
    """Returns when verified claims are those of a token that is good now, and for us.

    Args:
        claims: The claims.
        required: Which of them must be there.
        issuer: What `iss` must be.
        audience: What `aud` must be, or hold.
        now: The time in Unix seconds.
        leeway_seconds: How far the clocks of whoever issues and verifies may differ.

    Raises:
        Unauthenticated: TOKEN_EXPIRED, or TOKEN_INVALID for anything else.
    """
    for name in required:
        if claims.get(name) is None:
            raise invalid(f"it lacks the claim {name}")
    for name in ("iat", "nbf"):
        if name in claims and _seconds(claims, name) > now + leeway_seconds:
            raise invalid("it is not valid yet")
    if _seconds(claims, "exp") <= now - leeway_seconds:
        raise expired()
    if claims["iss"] != issuer:
        raise invalid("it has another issuer")
    meant_for = claims["aud"]
    if not (meant_for == audience or (isinstance(meant_for, list) and audience in meant_for)):
        raise invalid("it is meant for another audience")


def expired() -> Unauthenticated:
    """Returns what the bearer of an expired token is told."""
    return Unauthenticated(Reason.TOKEN_EXPIRED, "the access token has expired")


def invalid(cause: str) -> Unauthenticated:
    """Returns what the bearer of a token is told that is none of this mesh's."""
    return Unauthenticated(Reason.TOKEN_INVALID, f"the access token is not valid: {cause}")


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    # JSON as Python reads it has NaN, which is never too late, true, which is 1, and numbers that no float holds.
    if type(value) not in {int, float} or not abs(value) <= _MOST_SECONDS:
        raise invalid(f"the claim {name} is no time")
    return float(value)


def _members(data: bytes) -> dict[str, Any]:
    found = json.loads(data.decode())
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 -- what was sent is wrong, whatever it is
    return found


def _decoded(segment: bytes) -> bytes:
    """Decodes base64url, and refuses every spelling of the same bytes but the one of RFC 7515.

    The decoder skips what is not in its alphabet and ignores spare bits, so that one token would have many spellings.

    Raises:
        ValueError: The segment is not what encoding its own bytes gives.
    """
    decoded = urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    if urlsafe_b64encode(decoded).rstrip(b"=") != segment:
        raise ValueError("not canonical base64url")
    return decoded
