"""Refusals in the audit log, each once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from auth import audit
from auth.audit import Event
from auth.queries import QUERIES
from auth.refusals import details_of
from meshkit.postgres import Postgres
from meshkit.refusals import Refusal


class RefusalRepository:
    """Enters refusals."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Holds a lock that one replica has at a time, and that Postgres takes back from one that is killed."""
        async with self._database.transaction() as connection:
            yield bool(await connection.fetchval(QUERIES["take_refusals_turn"]))

    async def enter(self, refusal: Refusal) -> bool:
        """Enters a refusal in a transaction of its own: whoever appends to the same chain waits until it ends."""
        async with self._database.transaction(tenant=refusal.tenant) as connection:
            if await connection.fetchval(QUERIES["enter_refusal"], refusal.refusal_id) is None:
                return False
            await audit.record(
                connection,
                Event.AUTHORIZATION_REFUSED,
                tenant=refusal.tenant,
                subject=refusal.subject,
                actor=refusal.subject,
                outcome=audit.REFUSED,
                address=refusal.address,
                request_id=refusal.request_id,
                details=details_of(refusal),
            )
        return True

    async def forget(self, older_than: timedelta) -> None:
        """Forgets what was entered so long ago."""
        await self._database.execute(QUERIES["forget_refusals"], older_than)
