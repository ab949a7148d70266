"""Sessions: they begin when someone signs in and live on by refresh tokens, each of which is good for one use."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from auth.access_tokens import AccessTokens
from auth.accounts import Account
from auth.refresh_tokens import RefreshTokens, digest
from auth.signing_keys import PublishedKeys
from meshkit.errors import NotFound, Reason, Unauthenticated
from meshkit.identity import Identity

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client gets, with the seconds for which each token is good."""

    access_token: str
    access_seconds: int
    refresh_token: str
    refresh_seconds: int


@dataclass(frozen=True, slots=True)
class Rotated:
    """A session after its token was exchanged.

    Attributes:
        account: Whose it is.
        token_digest: The hash of its only good token now.
        refresh_seconds: How long that token is good.
        session_id: Its id.
    """

    account: Account
    token_digest: bytes
    refresh_seconds: int
    session_id: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a session is begun from, as far as it is known: the client's address, and what it calls itself."""

    address: str = ""
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """A session that can be gone on with, as its owner sees it."""

    id: str
    created_at: datetime
    rotated_at: datetime | None
    expires_at: datetime
    origin: Origin


@dataclass(frozen=True, slots=True)
class Owned:
    """A session found by one of its tokens, whether it is over or not.

    Attributes:
        session_id: Its id.
        account: Whose it is.
        issued_at: When its newest token was made.
        expires_at: When that one ends.
        is_good: Whether the token by which it was found is good now.
    """

    session_id: str
    account: Account
    issued_at: datetime
    expires_at: datetime
    is_good: bool


class SessionStore(Protocol):
    """Where sessions are kept."""

    async def begin(
        self, session_id: uuid.UUID, account: Account, token_digest: bytes, origin: Origin, *, seconds: int
    ) -> None:
        """Begins a session whose first token is good for `seconds`."""
        ...

    async def rotate(
        self, token_digest: bytes, successors: list[bytes], *, seconds: int, grace_seconds: float
    ) -> Rotated | None:
        """Puts the first successor in the token's place; returns None when the token is not good.

        A token that was exchanged for one of the successors less than `grace_seconds` ago changes nothing more.
        """
        ...

    async def end_reused(self, token_digest: bytes, *, grace_seconds: float, token_seconds: int) -> str | None:
        """Ends the session that the token was spent in more than `grace_seconds` ago, with its access tokens.

        Returns its id once that is recorded too, or None when there is none to end.
        """
        ...

    async def find(self, token_digest: bytes) -> Owned | None:
        """Returns the session that a token is or was of."""
        ...

    async def page(self, owner: Identity, after: tuple[datetime, str] | None, size: int) -> list[Session]:
        """Returns the sessions of an account, the newest first, from behind a position on."""
        ...

    async def end(self, session_id: str, account_id: str, tenant: str, *, token_seconds: int) -> bool:
        """Ends a session of an account, with its access tokens, and records it; returns False when it has no such session."""
        ...


class Sessions:
    """Begins sessions and keeps them going."""

    def __init__(
        self,
        store: SessionStore,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        keys: PublishedKeys,
        *,
        refresh_token_seconds: int,
        refresh_grace_seconds: float,
    ) -> None:
        """Takes what it works with, and how long refresh tokens are good and may be repeated."""
        self._store = store
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._token_seconds = access_tokens.lifetime_seconds
        self._keys = keys
        self._seconds = refresh_token_seconds
        self._grace_seconds = refresh_grace_seconds

    async def begin(self, account: Account, origin: Origin) -> Tokens:
        """Begins a session of an account that has proved itself."""
        token, session_id = self._refresh_tokens.first(), uuid.uuid4()
        await self._store.begin(session_id, account, digest(token), origin, seconds=self._seconds)
        return await self._tokens(account, token, self._seconds, str(session_id))

    async def refresh(self, token: str) -> Tokens:
        """Spends a refresh token.

        Raises:
            Unauthenticated: REFRESH_TOKEN_INVALID. If the token was spent before, its session is over.
        """
        successors = self._refresh_tokens.successors(token)
        rotated = await self._store.rotate(
            digest(token),
            [digest(successor) for successor in successors],
            seconds=self._seconds,
            grace_seconds=self._grace_seconds,
        )
        if rotated is None:
            await self._suspect(token)
            raise Unauthenticated(
                Reason.REFRESH_TOKEN_INVALID, "the refresh token is unknown, expired, revoked or spent"
            )
        successor = next(successor for successor in successors if digest(successor) == rotated.token_digest)
        return await self._tokens(rotated.account, successor, rotated.refresh_seconds, rotated.session_id)

    async def end_by_token(self, token: str) -> None:
        """Ends the session that a refresh token is or was of; one that is none ends nothing."""
        found = await self._store.find(digest(token))
        if found is not None:
            await self._end(found.session_id, found.account.id, found.account.tenant)

    async def end_own(self, owner: Identity) -> None:
        """Ends the session that the caller's access token is of; a token of none, or of one that is over, ends nothing."""
        if owner.session_id:
            await self._end(owner.session_id, owner.subject, owner.tenant)

    async def end(self, owner: Identity, session_id: str) -> None:
        """Ends a session of the caller.

        Raises:
            NotFound: The caller has no such session, or it is over.
        """
        if not await self._end(session_id, owner.subject, owner.tenant):
            raise NotFound(Reason.SESSION_NOT_FOUND, f"you have no session {session_id}")

    async def page(self, owner: Identity, after: tuple[datetime, str] | None, size: int) -> list[Session]:
        """Returns sessions of the caller that can be gone on with, the newest first, from behind a position on."""
        return await self._store.page(owner, after, size)

    async def find(self, token: str) -> Owned | None:
        """Returns the session that a refresh token is or was of."""
        return await self._store.find(digest(token))

    async def _end(self, session_id: str, account_id: str, tenant: str) -> bool:
        return await self._store.end(session_id, account_id, tenant, token_seconds=self._token_seconds)

    async def _suspect(self, token: str) -> None:
        ended = await self._store.end_reused(
            digest(token), grace_seconds=self._grace_seconds, token_seconds=self._token_seconds
        )
        if ended is not None:
            _LOG.warning("refresh_token_reused", session_id=ended)

    async def _tokens(self, account: Account, refresh_token: str, refresh_seconds: int, session_id: str) -> Tokens:
        access_token = self._access_tokens.issue(account, await self._keys.signing(), session_id=session_id)
        return Tokens(access_token, self._access_tokens.lifetime_seconds, refresh_token, refresh_seconds)
