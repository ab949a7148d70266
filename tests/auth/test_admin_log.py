"""What administrators see of the log over gRPC, and what the service itself sees of the tables without asking for a tenant."""

from collections.abc import Callable

import asyncpg
import pytest

from geomesh.auth.v1 import admin_pb2 as pb
from tests.auth.conftest import Start
from tests.auth.test_admin import STRANGER, people


async def test_the_log_is_listed_in_pages_and_verified(start: Start) -> None:
    async with start() as auth:
        _root, chief = await people(auth)
        for _ in range(4):
            await auth.login()
        sequences, token = [], ""
        while True:
            request = pb.ListAuditEventsRequest(event="sign_in", page_size=2, page_token=token)
            page = await auth.admin.ListAuditEvents(request, metadata=chief)
            sequences += [event.sequence for event in page.events]
            if not (token := page.next_page_token):
                break
        assert sequences == [5, 4, 3, 2, 1]
        first = await auth.admin.ListAuditEvents(pb.ListAuditEventsRequest(page_size=1), metadata=chief)
        until = pb.ListAuditEventsRequest(end_time=first.events[0].time)
        assert len((await auth.admin.ListAuditEvents(until, metadata=chief)).events) == 4
        verdict = await auth.admin.VerifyAuditLog(pb.VerifyAuditLogRequest(), metadata=chief)
        assert (verdict.intact, verdict.complete, verdict.head_sequence) == (True, True, 5)
        assert verdict.head_hash == first.events[0].hash


async def test_a_log_that_was_meddled_with_is_not_intact(start: Start) -> None:
    async with start() as auth:
        _root, chief = await people(auth)
        for _ in range(4):
            await auth.login()
        before = await auth.admin.VerifyAuditLog(pb.VerifyAuditLogRequest(), metadata=chief)
        known = pb.VerifyAuditLogRequest(known_sequence=before.head_sequence, known_hash=before.head_hash)
        assert (await auth.admin.VerifyAuditLog(known, metadata=chief)).intact
        await auth.arrange("ALTER TABLE auth.audit_events DISABLE TRIGGER append_only")
        await auth.arrange("UPDATE auth.audit_events SET address = '' WHERE tenant_id = 'acme' AND sequence = 2")
        verdict = await auth.admin.VerifyAuditLog(pb.VerifyAuditLogRequest(), metadata=chief)
        assert (verdict.intact, verdict.broken_sequence, verdict.problem) == (False, 2, "was changed")
        # The end is cut off, and the head with it: that shows only to who kept it.
        await auth.arrange("DELETE FROM auth.audit_events WHERE tenant_id = 'acme' AND sequence >= 2")
        cut = await auth.admin.VerifyAuditLog(pb.VerifyAuditLogRequest(), metadata=chief)
        assert (cut.intact, cut.broken_sequence, cut.problem) == (False, 2, "is missing")
        await auth.arrange(
            "UPDATE auth.audit_heads h SET sequence = 1, hash = e.hash FROM auth.audit_events e "
            "WHERE h.tenant_id = 'acme' AND e.tenant_id = 'acme' AND e.sequence = 1"
        )
        assert (await auth.admin.VerifyAuditLog(pb.VerifyAuditLogRequest(), metadata=chief)).intact
        verdict = await auth.admin.VerifyAuditLog(known, metadata=chief)
        assert (verdict.intact, verdict.broken_sequence) == (False, 5)


async def test_an_unfiltered_select_returns_one_tenant_and_an_unbound_one_none(
    start: Start, database_url: Callable[[str], str]
) -> None:
    async with start() as auth:
        await people(auth)
        await auth.login(STRANGER)
        connection = await asyncpg.connect(database_url("auth"))
        try:
            for bound in ("", "acme"):
                await connection.execute("SELECT set_config('geomesh.tenant', $1, false)", bound)
                for table in ("accounts", "tenants", "sessions", "audit_events", "audit_heads"):
                    rows = await connection.fetch(f"SELECT tenant_id FROM auth.{table}")  # noqa: S608
                    assert {row["tenant_id"] for row in rows} == ({bound} if bound else set())
            assert await connection.execute("UPDATE auth.accounts SET plan = 'public'") == "UPDATE 2"
            assert await connection.execute("DELETE FROM auth.accounts WHERE tenant_id = 'other'") == "DELETE 0"
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("UPDATE auth.accounts SET tenant_id = 'other'")
        finally:
            await connection.close()
