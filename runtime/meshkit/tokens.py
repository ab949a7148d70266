"""Verifies access tokens: JWTs as RFC 9068 has them, signed with a key that the auth service publishes.

Those of other issuers are verified too, where the settings name them.

What is refused and why follows RFC 8725: the algorithm comes from our key and never from the token, type, issuer and
audience are checked, and a token has exactly one spelling.
"""

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from meshkit.errors import Reason, Unauthenticated
from meshkit.health import Dependency
from meshkit.identity import PLANS, Identity, permissions_of
from meshkit.jwks import ALGORITHMS, FetchJwks, JwksClient, VerificationKey, fetch_over_http
from meshkit.revocations import RevokedTokens
from meshkit.settings import ServiceSettings
from meshkit.trusted_issuers import TrustedIssuer

MAX_TOKEN_BYTES: Final = 8192
"""Longer ones are refused unread; ours are below a tenth of it."""

_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_REQUIRED_CLAIMS: Final = ["iss", "aud", "sub", "jti", "iat", "exp", "tenant", "roles"]
_SEGMENTS: Final = 3
_FOREIGN_CLAIMS: Final = ["iss", "aud", "iat", "exp"]
MOST_FOREIGN_SECONDS: Final = 86_400
"""Tokens of other issuers that live longer are refused: a revocation must outlive every token that it covers."""


@dataclass(frozen=True, slots=True)
class _Issuer:
    """Whose tokens are accepted, and how they are read.

    Attributes:
        issuer: `iss`.
        audience: `aud`.
        types: Values of `typ`, in small letters.
        keys: Where the keys come from.
        reader: Verifies, and demands the claims that must be there.
        trusted: What the claims mean here; None for our own.
    """

    issuer: str
    audience: str
    types: frozenset[str]
    keys: JwksClient
    reader: jwt.PyJWT
    trusted: TrustedIssuer | None = None


class TokenVerifier:
    """Turns an access token into the identity it proves, by the keys that the auth service publishes.

    Attributes:
        keys: Where the keys come from.
        revoked: Which tokens ended before their time.
        dependencies: Both, and the keys of other issuers, to be started and closed with the service's others.
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
        self._leeway = settings.token_leeway_seconds
        self._keep_seconds = settings.token_cache_seconds
        self._keep_at_most = settings.token_cache_size
        self._clock = clock
        self._verified: OrderedDict[str, tuple[float, Identity]] = OrderedDict()
        # What a withdrawn key once proved must not be remembered as true.
        self.keys = JwksClient(settings, fetch_jwks, on_withdrawal=self._verified.clear)
        self.revoked = RevokedTokens(settings, clock=clock)
        self.revoked.listen(self._forget_revoked)
        reader = _reader(_REQUIRED_CLAIMS)
        self._own = _Issuer(settings.token_issuer, settings.token_audience, _TYPES, self.keys, reader)
        self._others = {
            each.issuer: _Issuer(
                each.issuer,
                each.audience,
                frozenset(each.types),
                JwksClient(
                    settings,
                    fetch_over_http(each.jwks_url),
                    name=f"keys-of-{each.name}",
                    on_withdrawal=self._verified.clear,
                ),
                _reader(_FOREIGN_CLAIMS),
                each,
            )
            for each in settings.trusted_issuers
        }
        self.dependencies: tuple[Dependency, ...] = (
            self.keys,
            self.revoked,
            *(each.keys for each in self._others.values()),
        )

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
            Unauthenticated: It is no valid access token of this mesh (TOKEN_INVALID), or no longer (TOKEN_EXPIRED,
                TOKEN_REVOKED).
            Unavailable: No keys were ever got from the auth service, so nothing can be said of any token.
        """
        identity = self.cached(token)
        if identity is None:
            header, payload = _parts(token)
            issuer = self._issuer_of(payload) if self._others else self._own
            _check_header(header, issuer.types)
            key = await issuer.keys.find(header["kid"])
            if key is None:
                raise _invalid("no key of this mesh signed it")
            claims = self._claims(token, key, issuer)
            identity = _identity(claims) if issuer.trusted is None else _foreign_identity(claims, issuer.trusted)
            if self.revoked.covers(identity):
                raise revoked()
            self._remember(token, identity)
        return identity

    def _issuer_of(self, payload: bytes) -> _Issuer:
        """Returns whose keys and rules decide on a token. It has proved nothing yet: a lie leads to the wrong keys."""
        try:
            claims = json.loads(payload)
        except (ValueError, RecursionError):
            return self._own
        named = claims.get("iss") if isinstance(claims, dict) else None
        return self._others.get(named, self._own) if isinstance(named, str) else self._own

    def _claims(self, token: str, key: VerificationKey, issuer: _Issuer) -> Mapping[str, Any]:
        try:
            return issuer.reader.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=issuer.issuer,
                audience=issuer.audience,
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

    def _forget_revoked(self) -> None:
        for token in [token for token, (_, identity) in self._verified.items() if self.revoked.covers(identity)]:
            del self._verified[token]

    def _remember(self, token: str, identity: Identity) -> None:
        until = min(identity.expires_at + self._leeway, self._clock() + self._keep_seconds)
        self._verified[token] = (until, identity)
        if len(self._verified) > self._keep_at_most:
            self._verified.popitem(last=False)


def revoked() -> Unauthenticated:
    """Returns what the bearer of a revoked token is told."""
    return Unauthenticated(Reason.TOKEN_REVOKED, "the access token was revoked")


def _reader(required: list[str]) -> jwt.PyJWT:
    return jwt.PyJWT(options={"require": required, "enforce_minimum_key_length": True})


def _parts(token: str) -> tuple[dict[str, Any], bytes]:
    """Returns header and payload of a token whose form is right; that they hold the truth is not known yet."""
    if len(token) > MAX_TOKEN_BYTES:
        raise _invalid(f"it is longer than {MAX_TOKEN_BYTES} bytes")
    segments = token.split(".")
    if len(segments) != _SEGMENTS:
        raise _invalid("it is not a signed JWT")
    try:
        raw_header, payload, _ = [_canonical(segment) for segment in segments]
        header = json.loads(raw_header)
    except (ValueError, RecursionError):
        raise _invalid("it is not a signed JWT") from None
    if not isinstance(header, dict):
        raise _invalid("it is not a signed JWT")
    return header, payload


def _check_header(header: Mapping[str, Any], types: frozenset[str]) -> None:
    """Refuses everything that can be refused before an attacker's key id makes us ask for keys."""
    if str(header.get("typ", "")).lower() not in types:
        raise _invalid("its type is not at+jwt")
    if header.get("alg") not in ALGORITHMS:
        raise _invalid("its algorithm is not accepted")
    if not isinstance(header.get("kid"), str):
        raise _invalid("it names no key")
    if "crit" in header:
        raise _invalid("it demands an extension that is not known here")


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
    if not token_id:
        raise _invalid("a claim has the wrong type or is empty")
    return _identity_of(claims, subject, tenant, token_id, roles)


def _foreign_identity(claims: Mapping[str, Any], issuer: TrustedIssuer) -> Identity:
    """Returns whom the verified claims of another issuer name here."""
    try:
        here = issuer.claims_here(claims)
        lives_seconds = float(here["exp"]) - float(here["iat"])
    except (ValueError, TypeError) as error:
        raise _invalid(str(error)) from None
    if lives_seconds > MOST_FOREIGN_SECONDS:
        raise _invalid("it lives longer than a day")
    return _identity_of(here, here["sub"], here["tenant"], here["jti"], here["roles"])


def _identity_of(claims: Mapping[str, Any], subject: str, tenant: object, token_id: str, roles: object) -> Identity:
    plan, expires_at, issued_at = claims.get("plan", PLANS[0]), claims["exp"], claims["iat"]
    scope, session_id, client_id = claims.get("scope"), claims.get("sid", ""), claims.get("client_id", "")
    if not (isinstance(tenant, str) and isinstance(plan, str) and subject and tenant):
        raise _invalid("a claim has the wrong type or is empty")
    if not (isinstance(scope, str | None) and isinstance(session_id, str) and isinstance(client_id, str)):
        raise _invalid("a claim has the wrong type")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise _invalid("the claim roles is no list of names")
    if not (isinstance(expires_at, int | float) and isinstance(issued_at, int | float)):
        raise _invalid("the claim exp or iat is no number")
    names = tuple(roles)
    return Identity(
        subject,
        tenant,
        names,
        permissions_of(names, scope),
        token_id,
        float(expires_at),
        plan,
        session_id,
        client_id,
        float(issued_at),
    )


def _invalid(cause: str) -> Unauthenticated:
    return Unauthenticated(Reason.TOKEN_INVALID, f"the access token is not valid: {cause}")
