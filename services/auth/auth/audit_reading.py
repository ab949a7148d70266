"""The audit log as administrators read and verify it."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from auth.audit import BEGINNING, AuditEvent, ChainBrokenError, Head, follow
from auth.caller import Caller
from auth.directory import within_reach

_AT_A_TIME: Final = 2_000
MOST_VERIFIED: Final = 100_000
"""Events that one call verifies at most: some seconds."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events to list; None wants any."""

    event: str | None
    subject: str | None
    start_time: datetime | None
    end_time: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found.

    Attributes:
        head: The last good event.
        complete: Whether that is the last one of the log.
        broken_sequence: The first bad event; 0 for none.
        problem: What is wrong with it.
    """

    head: Head
    complete: bool
    broken_sequence: int = 0
    problem: str = ""


class AuditStore(Protocol):
    """Where the log is kept."""

    async def newest(
        self,
        tenant: str,
        event: str | None,
        subject: str | None,
        between: tuple[datetime | None, datetime | None],
        before: tuple[datetime, int] | None,
        most: int,
    ) -> list[AuditEvent]:
        """Returns events of a tenant, the newest first."""
        ...

    async def following(self, tenant: str, sequence: int, most: int) -> list[AuditEvent]:
        """Returns events of a tenant after one, the oldest first."""
        ...

    async def hash_of(self, tenant: str, sequence: int) -> bytes | None:
        """Returns the hash of an event."""
        ...

    async def head(self, tenant: str) -> Head | None:
        """Returns the end of a chain."""
        ...


class AuditLog:
    """Shows a tenant's log to its administrators."""

    def __init__(self, store: AuditStore, *, most_verified: int = MOST_VERIFIED) -> None:
        """Takes where it is kept, and how many events one call verifies."""
        self._store = store
        self._most_verified = most_verified

    async def list(
        self, caller: Caller, tenant: str, wanted: Wanted, before: tuple[datetime, int] | None, page_size: int
    ) -> list[AuditEvent]:
        """Returns one more event than fits a page, if there are so many.

        Raises:
            NotFound: The caller may not manage that tenant.
        """
        return await self._store.newest(
            within_reach(caller, tenant),
            wanted.event,
            wanted.subject,
            (wanted.start_time, wanted.end_time),
            before,
            page_size + 1,
        )

    async def verify(self, caller: Caller, tenant: str, known: Head | None) -> Verdict:
        """Computes the hashes after an earlier end again.

        Raises:
            NotFound: The caller may not manage that tenant.
        """
        tenant = within_reach(caller, tenant)
        # Before the events: what is appended meanwhile must not look like too much.
        end = await self._store.head(tenant) or BEGINNING
        if known is not None and await self._store.hash_of(tenant, known.sequence) != known.hash:
            why = "is not the one that was seen before"
            return Verdict(BEGINNING, complete=False, broken_sequence=known.sequence, problem=why)
        verdict = await self._follow(tenant, known or BEGINNING)
        if verdict.complete and verdict.head.sequence < end.sequence:
            return replace(verdict, broken_sequence=verdict.head.sequence + 1, problem="is missing")
        return verdict

    async def _follow(self, tenant: str, head: Head) -> Verdict:
        most = head.sequence + self._most_verified
        while head.sequence < most:
            events = await self._store.following(tenant, head.sequence, min(_AT_A_TIME, most - head.sequence))
            for event in events:
                try:
                    head = follow(head, [event])
                except ChainBrokenError as broken:
                    return Verdict(head, complete=False, broken_sequence=broken.sequence, problem=broken.problem)
            if not events:
                return Verdict(head, complete=True)
        return Verdict(head, complete=False)
