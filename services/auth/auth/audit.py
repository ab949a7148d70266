"""The audit log: what happened to accounts, keys and sessions, kept for ever in chains of hashes, one a tenant.

Nothing secret goes in: :func:`record` refuses details whose names are those of secrets. The hash of an event covers the
one before it, so that a change, a gap or a swap shows in every later one; what was cut off at the end shows to whoever
kept an earlier end. `sql/migrations/0002_accounts.sql` computes the hashes under the lock of the chain's end, and this
module computes them again.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from auth.queries import QUERIES
from meshkit.context import current
from meshkit.identity import PUBLIC_TENANT

SUCCESS: Final = "success"
REFUSED: Final = "refused"

FIRST_HASH: Final = bytes(32)
"""What the first event of a chain follows."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_CHARACTERS: Final = 256
_SECRET: Final = re.compile("password|secret|token|code|hash|key$")


class Event(StrEnum):
    """What is recorded of accounts; other modules record further events under names of the same form."""

    SIGN_IN = "sign_in"
    SIGN_IN_THROTTLED = "sign_in.throttled"
    SIGN_UP_REQUESTED = "sign_up.requested"
    SIGN_UP_COMPLETED = "sign_up.completed"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105 - the name of an event
    PASSWORD_RESET_REQUESTED = "password.reset_requested"  # noqa: S105 - the name of an event
    PASSWORD_RESET = "password.reset"  # noqa: S105 - the name of an event
    TOTP_ENABLED = "totp.enabled"
    TOTP_DISABLED = "totp.disabled"
    RECOVERY_USED = "totp.recovery_used"
    TENANT_CREATED = "tenant.created"
    TENANT_UPDATED = "tenant.updated"
    TENANT_SUSPENDED = "tenant.suspended"
    TENANT_RESUMED = "tenant.resumed"
    USER_CREATED = "user.created"
    USER_INVITED = "user.invited"
    USER_UPDATED = "user.updated"
    USER_ROLES_CHANGED = "user.roles_changed"
    USER_SUSPENDED = "user.suspended"
    USER_RESUMED = "user.resumed"
    USER_DELETED = "user.deleted"
    AUTHORIZATION_REFUSED = "authorization.refused"


class Executor(Protocol):
    """A connection inside a transaction, or the database itself, for an event that nothing else must happen with."""

    async def execute(self, query: str, /, *args: Any) -> str:
        """Carries a statement out."""
        ...


async def record(
    connection_or_database: Executor,
    event: str,
    *,
    tenant: str,
    subject: str = "",
    actor: str = "",
    outcome: str = SUCCESS,
    address: str = "",
    request_id: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Appends an event to the tenant's chain.

    Inside a transaction this is the last thing to do: until it ends, everyone who appends to the same chain waits.

    Args:
        connection_or_database: Where to; on a connection in a transaction the event stands or falls with that.
        event: What happened, e.g. ``key.rotated``.
        tenant: In whose log. What belongs to nobody, such as an unknown address, goes to the operator's, for which an
            empty tenant stands.
        subject: The id of the account that it happened to; empty where there is none.
        actor: The id of the account that did it; empty where nobody knows.
        outcome: `SUCCESS` or `REFUSED`.
        address: The client's address.
        request_id: In which request; None for the one in work.
        details: More, without secrets.

    Raises:
        ValueError: A detail has the name of a secret, or the outcome is neither of the two.
    """
    more = dict(details or {})
    if secret := next(filter(_SECRET.search, more), None):
        raise ValueError(f"{secret} has no place in the audit log")
    if outcome not in {SUCCESS, REFUSED}:
        raise ValueError(f"an outcome is {SUCCESS} or {REFUSED}, not {outcome}")
    await connection_or_database.execute(
        QUERIES["append_audit_event"],
        tenant or PUBLIC_TENANT,
        str(event),
        outcome,
        *map(_storable, (subject, actor, address, current().request_id if request_id is None else request_id)),
        json.dumps(more, sort_keys=True, separators=(",", ":")),
    )


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One event as it is stored. `details` is the stored text, letter by letter."""

    tenant: str
    sequence: int
    occurred_at: datetime
    event: str
    outcome: str
    subject: str
    actor: str
    address: str
    request_id: str
    details: str
    previous_hash: bytes
    hash: bytes

    def computed_hash(self) -> bytes:
        """Returns the hash that the event must have."""
        hasher = hashlib.sha256(self.previous_hash)
        hasher.update(_framed(self.tenant))
        hasher.update(self.sequence.to_bytes(8, "big"))
        hasher.update(((self.occurred_at - _EPOCH) // timedelta(microseconds=1)).to_bytes(8, "big", signed=True))
        for text in (self.event, self.outcome, self.subject, self.actor, self.address, self.request_id, self.details):
            hasher.update(_framed(text))
        return hasher.digest()


@dataclass(frozen=True, slots=True)
class Head:
    """An end of a chain: its last event and that one's hash."""

    sequence: int
    hash: bytes


BEGINNING: Final = Head(0, FIRST_HASH)


class ChainBrokenError(Exception):
    """A chain was tampered with; `sequence` is the first event that shows it."""

    def __init__(self, sequence: int, problem: str) -> None:
        super().__init__(f"event {sequence}: {problem}")
        self.sequence = sequence
        self.problem = problem


def follow(head: Head, events: Iterable[AuditEvent]) -> Head:
    """Returns the end after `events`, which come right after `head`.

    Raises:
        ChainBrokenError: One of them is missing, was changed, or follows another one than it should.
    """
    for event in events:
        if event.sequence != head.sequence + 1:
            raise ChainBrokenError(head.sequence + 1, "is missing")
        if event.previous_hash != head.hash:
            raise ChainBrokenError(event.sequence, "does not follow the event before it")
        if event.computed_hash() != event.hash:
            raise ChainBrokenError(event.sequence, "was changed")
        head = Head(event.sequence, event.hash)
    return head


def _framed(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(4, "big") + encoded


def _storable(text: str) -> str:
    return text.replace("\0", "")[:_MOST_CHARACTERS]
