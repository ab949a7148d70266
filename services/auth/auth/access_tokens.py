"""Access tokens: JWTs as RFC 9068 has them, signed with ES256."""

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final

import jwt

from auth.accounts import Account
from auth.scopes import scopes_of
from auth.signing_keys import ALGORITHM, SigningKey
from meshkit.identity import SIGN_IN

CLAIMS: Final = (
    "iss",
    "aud",
    "sub",
    "client_id",
    "jti",
    "iat",
    "exp",
    "tenant",
    "roles",
    "plan",
    "scope",
    "sid",
)
"""Every claim that a token may carry."""


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

    def issue(
        self,
        account: Account,
        key: SigningKey,
        *,
        session_id: str = "",
        client_id: str = SIGN_IN,
        scopes: Sequence[str] | None = None,
    ) -> str:
        """Returns a token that proves who the account is.

        Args:
            account: Whose it is.
            key: What it is signed with.
            session_id: `sid`: what it may be revoked by, a session or an API key; empty for none.
            client_id: What gets it, which RFC 9068 demands.
            scopes: The permissions that it carries; None for all that the account's roles hold.
        """
        # With its fraction (RFC 7519, section 2): whoever is signed out and in again within a second gets a good token.
        issued_at = round(self._clock(), 3)
        claims: dict[str, object] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": account.id,
            "client_id": client_id,
            "jti": str(uuid.uuid4()),
            "iat": issued_at,
            "exp": int(issued_at) + self.lifetime_seconds,
            "tenant": account.tenant,
            "roles": list(account.roles),
            "plan": account.plan,
            "scope": " ".join(scopes_of(account.roles) if scopes is None else scopes),
        }
        if session_id:
            claims["sid"] = session_id
        return jwt.encode(claims, key.private, ALGORITHM, headers={"kid": key.public.key_id, "typ": "at+jwt"})
