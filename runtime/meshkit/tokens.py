"""Verifies access tokens: JWTs as RFC 9068 has them, signed with a key that the auth service publishes.

What is refused and why follows RFC 8725: the algorithm comes from our key and never from the token, type, issuer and
audience are checked, and a token has exactly one spelling.
"""

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt

from meshkit.errors import Reason, Unauthenticated
from meshkit.identity import PLANS, Identity, permissions_of
from meshkit.jwks import ALGORITHMS, FetchJwks, JwksClient, VerificationKey
from meshkit.settings import ServiceSettings

MAX_TOKEN_BYTES: Final = 8192
"""Longer ones are refused unread; ours are below a tenth of it."""

_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_REQUIRED_CLAIMS: Final = ["iss", "aud", "sub", "jti", "iat", "exp", "tenant", "roles"]
_SEGMENTS: Final = 3


class TokenVerifier:
    """Turns an access token into the identity it proves, by the keys that the auth service publishes.

    Attributes:
        keys: Where the keys come from, to be started and closed with the service's other dependencies.
    """

    def __init__(
        self, settings: ServiceSettings, fetch_jwks: FetchJwks, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Prepares without connecting.

        Args:
            settings: The issuer and audience to demand, the leeway, and how long keys and tokens are kept.
            fetch_jwks: Returns the JSON Web Key Set; whatever it raises counts as a failed fetch.
            clock: The time in Unix seconds by which remembered tokens age.
        """
        self._issuer = settings.token_issuer
        self._audience = settings.token_audience
        self._leeway = settings.token_leeway_seconds
        self._keep_seconds = settings.token_cache_seconds
        self._keep_at_most = settings.token_cache_size
        self._clock = clock
        self._jwt = jwt.PyJWT(options={"require": _REQUIRED_CLAIMS, "enforce_minimum_key_length": True})
        self._verified: OrderedDict[str, tuple[float, Identity]] = OrderedDict()
        # What a withdrawn key once proved must not be remembered as true.
        self.keys = JwksClient(settings, fetch_jwks, on_withdrawal=self._verified.clear)

    def cached(self, token: str) -> Identity | None:
        """Returns the identity of a token that was verified a short while ago, without waiting for anything.

        This is what nearly every authenticated call takes: keep it a few dictionary operations.
        """
        found = self._verified.get(token)
        if found is None:
            return None
        if self._clock() >= found[0]:
            del self._verified[token]
            return None
        self._verified.move_to_end(token)
        return found[1]

    async def verify(self, token: str) -> Identity:
        """Returns the identity that `token` proves.

        Raises:
            Unauthenticated: It is no valid access token of this mesh (TOKEN_INVALID), or no longer (TOKEN_EXPIRED).
            Unavailable: No keys were ever got from the auth service, so nothing can be said of any token.
        """
        identity = self.cached(token)
        if identity is None:
            header = _header(token)
            key = await self.keys.find(header["kid"])
            if key is None:
                raise _invalid("no key of this mesh signed it")
            identity = _identity(self._claims(token, key))
            self._remember(token, identity)
        return identity

    def _claims(self, token: str, key: VerificationKey) -> Mapping[str, Any]:
        try:
            return self._jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated(Reason.TOKEN_EXPIRED, "the access token has expired") from None
        except jwt.ImmatureSignatureError:
            raise _invalid("it is not valid yet") from None
        except jwt.InvalidIssuerError:
            raise _invalid("it has another issuer") from None
        except jwt.InvalidAudienceError:
            raise _invalid("it is meant for another audience") from None
        except jwt.MissingRequiredClaimError as error:
            raise _invalid(f"it lacks the claim {error.claim}") from None
        except jwt.PyJWTError:
            raise _invalid("its signature or form is wrong") from None

    def _remember(self, token: str, identity: Identity) -> None:
        until = min(identity.expires_at + self._leeway, self._clock() + self._keep_seconds)
        self._verified[token] = (until, identity)
        if len(self._verified) > self._keep_at_most:
            self._verified.popitem(last=False)


def _header(token: str) -> dict[str, Any]:
    """Returns the header of a token whose form is right; that it holds the truth is not known yet.

    Everything that can be refused is refused here, before an attacker's key id makes us ask for keys.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise _invalid(f"it is longer than {MAX_TOKEN_BYTES} bytes")
    segments = token.split(".")
    if len(segments) != _SEGMENTS:
        raise _invalid("it is not a signed JWT")
    try:
        raw_header, _, _ = [_canonical(segment) for segment in segments]
        header = json.loads(raw_header)
    except (ValueError, RecursionError):
        raise _invalid("it is not a signed JWT") from None
    if not isinstance(header, dict):
        raise _invalid("it is not a signed JWT")
    if str(header.get("typ", "")).lower() not in _TYPES:
        raise _invalid("its type is not at+jwt")
    if header.get("alg") not in ALGORITHMS:
        raise _invalid("its algorithm is not accepted")
    if not isinstance(header.get("kid"), str):
        raise _invalid("it names no key")
    if "crit" in header:
        raise _invalid("it demands an extension that is not known here")
    return header


def _canonical(segment: str) -> bytes:
    """Decodes base64url, and refuses every spelling of the same bytes but the one of RFC 7515.

    The decoder skips what is not in its alphabet and ignores spare bits, so that one token would have many spellings.

    Raises:
        ValueError: The segment is not what encoding its own bytes gives.
    """
    encoded = segment.encode("ascii")
    decoded = urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    if urlsafe_b64encode(decoded).rstrip(b"=") != encoded:
        raise ValueError("not canonical base64url")
    return decoded


def _identity(claims: Mapping[str, Any]) -> Identity:
    """Returns who the verified `claims` name; PyJWT saw that they are there, and that `sub` and `jti` are strings."""
    subject, tenant, token_id, roles = (claims[name] for name in ("sub", "tenant", "jti", "roles"))
    plan, expires_at = claims.get("plan", PLANS[0]), claims["exp"]
    if not (isinstance(tenant, str) and isinstance(plan, str) and subject and tenant and token_id):
        raise _invalid("a claim has the wrong type or is empty")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise _invalid("the claim roles is no list of names")
    if not isinstance(expires_at, int | float):
        raise _invalid("the claim exp is no number")
    names = tuple(roles)
    return Identity(subject, tenant, names, permissions_of(names), token_id, float(expires_at), plan)


def _invalid(cause: str) -> Unauthenticated:
    return Unauthenticated(Reason.TOKEN_INVALID, f"the access token is not valid: {cause}")
