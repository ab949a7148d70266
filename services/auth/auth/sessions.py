"""Sessions: they begin when someone signs in and live on by refresh tokens, each of which is good for one use."""

import uuid
from dataclasses import dataclass
from typing import Protocol

import structlog

from auth.access_tokens import AccessTokens
from auth.accounts import Account
from auth.refresh_tokens import RefreshTokens, digest
from auth.signing_keys import PublishedKeys
from meshkit.errors import Reason, Unauthenticated

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
    """

    account: Account
    token_digest: bytes
    refresh_seconds: int


class SessionStore(Protocol):
    """Where sessions are kept."""

    async def begin(self, session_id: uuid.UUID, account_id: str, token_digest: bytes, *, seconds: int) -> None:
        """Begins a session whose first token is good for `seconds`."""
        ...

    async def rotate(
        self, token_digest: bytes, successors: list[bytes], *, seconds: int, grace_seconds: float
    ) -> Rotated | None:
        """Puts the first successor in the token's place; returns None when the token is not good.

        A token that was exchanged for one of the successors less than `grace_seconds` ago changes nothing more.
        """
        ...

    async def end_reused(self, token_digest: bytes, *, grace_seconds: float) -> uuid.UUID | None:
        """Ends the session that the token was spent in more than `grace_seconds` ago, and returns its id."""
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
        self._keys = keys
        self._seconds = refresh_token_seconds
        self._grace_seconds = refresh_grace_seconds

    async def begin(self, account: Account) -> Tokens:
        """Begins a session of an account that was proved to call."""
        token = self._refresh_tokens.first()
        await self._store.begin(uuid.uuid4(), account.id, digest(token), seconds=self._seconds)
        return await self._tokens(account, token, self._seconds)

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
        return await self._tokens(rotated.account, successor, rotated.refresh_seconds)

    async def _suspect(self, token: str) -> None:
        ended = await self._store.end_reused(digest(token), grace_seconds=self._grace_seconds)
        if ended is not None:
            _LOG.warning("refresh_token_reused", session_id=str(ended))

    async def _tokens(self, account: Account, refresh_token: str, refresh_seconds: int) -> Tokens:
        access_token = self._access_tokens.issue(account, await self._keys.signing())
        return Tokens(access_token, self._access_tokens.lifetime_seconds, refresh_token, refresh_seconds)
