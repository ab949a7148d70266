"""Access tokens: JWTs as RFC 9068 has them, signed with ES256."""

import time
import uuid
from collections.abc import Callable
from typing import Final

import jwt

from auth.accounts import Account
from auth.signing_keys import ALGORITHM, SigningKey

_CLIENT: Final = "geomesh"
"""`client_id`, which RFC 9068 demands: whoever signs in with a password does so through the mesh's own door."""


class AccessTokens:
    """Issues access tokens."""

    def __init__(
        self, issuer: str, audience: str, lifetime_seconds: int, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Prepares.

        Args:
            issuer: `iss`.
            audience: `aud`.
            lifetime_seconds: How long a token is good.
            clock: The time in Unix seconds.
        """
        self._issuer = issuer
        self._audience = audience
        self.lifetime_seconds = lifetime_seconds
        self._clock = clock

    def issue(self, account: Account, key: SigningKey) -> str:
        """Returns a token that proves who the account is."""
        issued_at = int(self._clock())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": account.id,
            "client_id": _CLIENT,
            "jti": str(uuid.uuid4()),
            "iat": issued_at,
            "exp": issued_at + self.lifetime_seconds,
            "tenant": account.tenant,
            "roles": list(account.roles),
            "plan": account.plan,
        }
        return jwt.encode(claims, key.private, ALGORITHM, headers={"kid": key.public.key_id, "typ": "at+jwt"})
