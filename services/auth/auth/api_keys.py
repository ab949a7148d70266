"""API keys: what a program presents for the person who made it."""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from auth.refresh_tokens import digest
from auth.scopes import check_held
from meshkit.errors import InvalidInput, NotFound, PermissionDenied, Reason, ResourceExhausted
from meshkit.identity import SIGN_IN, Identity, permission_name

PREFIX: Final = "geomesh_key_"
"""What every key begins with, so that those who search for leaked secrets find it."""

USUAL_LIFE: Final = timedelta(days=90)
LONGEST_LIFE: Final = timedelta(days=366)
MOST_KEYS: Final = 50
"""Keys that an account may have at one time."""

_KEY_BYTES: Final = 32
_HINT_CHARACTERS: Final = 4


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key, and may be shown."""

    id: str
    display_name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    hint: str


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key to keep: its hash and never itself."""

    id: uuid.UUID
    account_id: str
    tenant: str
    display_name: str
    digest: bytes
    hint: str
    scopes: tuple[str, ...]
    expires_at: datetime


class ApiKeyStore(Protocol):
    """Where keys are kept. What changes one also records it, in the same transaction."""

    async def add(self, key: NewApiKey, *, at_most: int) -> ApiKey | None:
        """Adds a key; returns None when the account has `at_most` already."""
        ...

    async def page(self, owner: Identity, after: tuple[datetime, str] | None, size: int) -> list[ApiKey]:
        """Returns the keys of an account that are not revoked, the newest first, from behind a position on."""
        ...

    async def revoke(self, owner: Identity, key_id: str, *, token_seconds: int) -> bool:
        """Revokes a key, with its access tokens; returns False when the account has no such key."""
        ...


class ApiKeys:
    """Makes, lists and revokes the keys of whoever calls."""

    def __init__(self, store: ApiKeyStore, *, access_token_seconds: int) -> None:
        """Takes where keys are kept, and how long an access token is good."""
        self._store = store
        self._token_seconds = access_token_seconds

    async def create(
        self, owner: Identity, display_name: str, scopes: Sequence[str], expires_at: datetime | None
    ) -> tuple[ApiKey, str]:
        """Returns a new key, and what is kept of it.

        Raises:
            InvalidInput: A scope is wider than what the owner may do, or the end is not within a year.
            PermissionDenied: The owner did not sign in, but came by an API key or another program's credential.
            ResourceExhausted: The account has as many keys as it may.
        """
        if owner.client_id != SIGN_IN:
            # Else a key that leaked could make itself another one, and outlive its own end.
            raise PermissionDenied(Reason.PERMISSION_MISSING, "only who signed in with a password makes API keys")
        check_held(scopes, map(permission_name, owner.permissions), "scopes")
        now = datetime.now(UTC)
        end = expires_at or now + USUAL_LIFE
        if not now < end <= now + LONGEST_LIFE:
            raise InvalidInput("expire_time", f"must be within the next {LONGEST_LIFE.days} days")
        key = PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        made = await self._store.add(
            NewApiKey(
                uuid.uuid4(),
                owner.subject,
                owner.tenant,
                display_name,
                digest(key),
                key[-_HINT_CHARACTERS:],
                tuple(scopes),
                end,
            ),
            at_most=MOST_KEYS,
        )
        if made is None:
            raise ResourceExhausted(
                Reason.RATE_LIMITED,
                f"an account has at most {MOST_KEYS} API keys; revoke one",
                retry_after_seconds=60.0,
            )
        return made, key

    async def page(self, owner: Identity, after: tuple[datetime, str] | None, size: int) -> list[ApiKey]:
        """Returns keys of the caller, the newest first, from behind a position on."""
        return await self._store.page(owner, after, size)

    async def revoke(self, owner: Identity, key_id: str) -> None:
        """Revokes a key of the caller.

        Raises:
            NotFound: The caller has no such key.
        """
        if not await self._store.revoke(owner, key_id, token_seconds=self._token_seconds):
            raise NotFound(Reason.API_KEY_NOT_FOUND, f"you have no API key {key_id}")
