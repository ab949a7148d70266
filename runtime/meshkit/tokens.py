"""Verifies access tokens: JWTs as RFC 9068 has them, signed with a key that the auth service publishes.

Those of other issuers are verified too, where the settings name them.

What is refused and why follows RFC 8725: the algorithm comes from our key and never from the token, type, issuer and
audience are checked, and a token has exactly one spelling.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from meshkit.claims import foreign_identity, identity_of
from meshkit.errors import Reason, Unauthenticated
from meshkit.health import Dependency
from meshkit.identity import Identity
from meshkit.jwks import ALGORITHMS, FetchJwks, JwksClient, fetch_over_http
from meshkit.jws import SignedToken, check_claims, invalid
from meshkit.revocations import RevokedTokens
from meshkit.settings import ServiceSettings
from meshkit.trusted_issuers import TrustedIssuer

_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_REQUIRED_CLAIMS: Final = ("iss", "aud", "sub", "jti", "iat", "exp", "tenant", "roles")
_FOREIGN_CLAIMS: Final = ("iss", "aud", "iat", "exp")


@dataclass(frozen=True, slots=True)
class _Issuer:
    """Whose tokens are accepted, and how they are read.

    Attributes:
        issuer: `iss`.
        audience: `aud`.
        types: Values of `typ`, in small letters.
        keys: Where the keys come from.
        trusted: What the claims mean here; None for our own.
    """

    issuer: str
    audience: str
    types: frozenset[str]
    keys: JwksClient
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
        self._withdrawal_listeners: list[Callable[[], object]] = []
        # What a withdrawn key once proved must not be remembered as true.
        self.keys = JwksClient(settings, fetch_jwks, on_withdrawal=self._forget_all)
        self.revoked = RevokedTokens(settings, clock=clock)
        self.revoked.listen(self._forget_revoked)
        self._own = _Issuer(settings.token_issuer, settings.token_audience, _TYPES, self.keys)
        self._others = {
            each.issuer: _Issuer(
                each.issuer,
                each.audience,
                frozenset(each.types),
                JwksClient(
                    settings,
                    fetch_over_http(each.jwks_url),
                    name=f"keys-of-{each.name}",
                    on_withdrawal=self._forget_all,
                ),
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
            signed = SignedToken.read(token)
            issuer = self._issuer_of(signed)
            _check_header(signed.header, issuer.types)
            key = await issuer.keys.find(signed.header["kid"])
            if key is None:
                raise invalid("no key of this mesh signed it")
            if not signed.is_signed_with(key):
                raise invalid("its signature is wrong")
            identity = self._identity(signed.claims, issuer)
            if self.revoked.covers(identity):
                raise revoked()
            self._remember(token, identity)
        return identity

    def knows_key_of(self, token: str) -> bool:
        """Tells whether a token that was verified some time ago is signed with a key that is still published."""
        signed = SignedToken.read(token)
        return self._issuer_of(signed).keys.holds(signed.header["kid"])

    def listen_for_withdrawals(self, listener: Callable[[], object]) -> None:
        """Has `listener` called after a key was withdrawn or has changed."""
        self._withdrawal_listeners.append(listener)

    def _issuer_of(self, signed: SignedToken) -> _Issuer:
        """Returns whose keys and rules decide on a token. It has proved nothing yet: a lie leads to the wrong keys."""
        named = signed.claims.get("iss")
        return self._others.get(named, self._own) if isinstance(named, str) else self._own

    def _identity(self, claims: Mapping[str, Any], issuer: _Issuer) -> Identity:
        check_claims(
            claims,
            required=_REQUIRED_CLAIMS if issuer.trusted is None else _FOREIGN_CLAIMS,
            issuer=issuer.issuer,
            audience=issuer.audience,
            now=self._clock(),
            leeway_seconds=self._leeway,
        )
        return identity_of(claims) if issuer.trusted is None else foreign_identity(claims, issuer.trusted)

    def _forget_revoked(self) -> None:
        for token in [token for token, (_, identity) in self._verified.items() if self.revoked.covers(identity)]:
            del self._verified[token]

    def _forget_all(self) -> None:
        self._verified.clear()
        for listener in self._withdrawal_listeners:
            listener()

    def _remember(self, token: str, identity: Identity) -> None:
        until = min(identity.expires_at + self._leeway, self._clock() + self._keep_seconds)
        self._verified[token] = (until, identity)
        if len(self._verified) > self._keep_at_most:
            self._verified.popitem(last=False)


def revoked() -> Unauthenticated:
    """Returns what the bearer of a revoked token is told."""
    return Unauthenticated(Reason.TOKEN_REVOKED, "the access token was revoked")


def withdrawn() -> Unauthenticated:
    """Returns what the bearer of a token is told whose key was withdrawn meanwhile."""
    return invalid("the key that signed it was withdrawn")


def _check_header(header: Mapping[str, Any], types: frozenset[str]) -> None:
    """Refuses everything that can be refused before an attacker's key id makes us ask for keys."""
    if str(header.get("typ", "")).lower() not in types:
        raise invalid("its type is not at+jwt")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise invalid("its algorithm is not accepted")
    if not isinstance(header.get("kid"), str):
        raise invalid("it names no key")
    if "crit" in header:
        raise invalid("it demands an extension that is not known here")
