"""Looking at tokens (RFC 7662), with what the database knows now and not what a copy of it knew."""

from dataclasses import dataclass
from typing import Protocol

from auth.scopes import scopes_of
from auth.sessions import Sessions
from meshkit.errors import Unauthenticated
from meshkit.identity import SIGN_IN, SYSTEM_ADMIN_ROLE, Identity, permission_name
from meshkit.tokens import TokenVerifier

_DOTS_OF_A_JWT = 2


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What is told of an active token.

    Attributes:
        token_type: `Bearer` for an access token, `refresh_token` for a refresh token.
        subject: `sub`.
        tenant: The tenant of the account.
        roles: Its roles.
        plan: Its plan.
        scopes: The permissions that the token carries.
        issued_at: Unix seconds.
        expires_at: Unix seconds.
        token_id: `jti`; empty for a refresh token.
        session_id: `sid`; empty without one.
        client_id: What got the token.
    """

    token_type: str
    subject: str
    tenant: str
    roles: tuple[str, ...]
    plan: str
    scopes: tuple[str, ...]
    issued_at: float
    expires_at: float
    token_id: str
    session_id: str
    client_id: str


class RevocationFinder(Protocol):
    """Where revocations are kept."""

    async def covers(self, identity: Identity) -> bool:
        """Tells whether the token that proved `identity` is revoked."""
        ...


class Introspection:
    """Tells what tokens say, to who may know."""

    def __init__(self, verifier: TokenVerifier, revocations: RevocationFinder, sessions: Sessions) -> None:
        """Takes what verifies access tokens, and where revocations and sessions are found."""
        self._verifier = verifier
        self._revocations = revocations
        self._sessions = sessions

    async def look_at(self, caller: Identity, token: str) -> TokenFacts | None:
        """Returns what a token says, or None when it is inactive or not the caller's business.

        Raises:
            Unavailable: The database does not answer.
        """
        facts = await (self._access(token) if token.count(".") == _DOTS_OF_A_JWT else self._refresh(token))
        if facts is None or (facts.tenant != caller.tenant and SYSTEM_ADMIN_ROLE not in caller.roles):
            return None
        return facts

    async def identify(self, token: str) -> Identity:
        """Returns whom an access token proves; raises Unauthenticated for one that is not good."""
        return await self._verifier.verify(token)

    async def _access(self, token: str) -> TokenFacts | None:
        try:
            identity = await self._verifier.verify(token)
        except Unauthenticated:
            return None
        if await self._revocations.covers(identity):
            return None
        return TokenFacts(
            "Bearer",
            identity.subject,
            identity.tenant,
            identity.roles,
            identity.plan,
            tuple(permission_name(each) for each in sorted(identity.permissions)),
            identity.issued_at,
            identity.expires_at,
            identity.token_id,
            identity.session_id,
            identity.client_id,
        )

    async def _refresh(self, token: str) -> TokenFacts | None:
        found = await self._sessions.find(token)
        if found is None or not found.is_good:
            return None
        account = found.account
        return TokenFacts(
            "refresh_token",
            account.id,
            account.tenant,
            account.roles,
            account.plan,
            scopes_of(account.roles),
            found.issued_at.timestamp(),
            found.expires_at.timestamp(),
            "",
            found.session_id,
            SIGN_IN,
        )
