"""The audit log keeps what it was told, and shows when somebody meddled with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import asyncpg
import pytest

from auth import audit
from auth.audit import BEGINNING, AuditEvent, ChainBrokenError, follow, record

SWAP = (
    "UPDATE auth.audit_events SET sequence = sequence + 1000 WHERE sequence IN (3, 4); "
    "UPDATE auth.audit_events SET sequence = 1007 - sequence WHERE sequence > 1000"
)


@pytest.fixture
async def service(database_url: Callable[[str], str]) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url("auth"))
    await connection.execute("SELECT set_config('geomesh.tenant', 'acme', false)")
    yield connection
    await connection.close()


@pytest.fixture
async def owner(owner_url: Callable[[str], str]) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(owner_url("auth"))
    yield connection
    await connection.close()


async def chain(connection: asyncpg.Connection, tenant: str = "acme") -> list[AuditEvent]:
    rows = await connection.fetch(
        "SELECT tenant_id, sequence, occurred_at, event, outcome, subject, actor, address, request_id, details, "
        "previous_hash, hash FROM auth.audit_events WHERE tenant_id = $1 ORDER BY sequence",
        tenant,
    )
    return [AuditEvent(*row) for row in rows]


async def test_keeps_what_it_was_told(service: asyncpg.Connection) -> None:
    await record(
        service,
        "key.rotated",
        tenant="acme",
        subject="s",
        actor="a",
        outcome=audit.REFUSED,
        address="192.0.2.1",
        details={"z": 1, "a": "ö"},
    )
    (event,) = await chain(service)
    assert (event.event, event.outcome, event.subject, event.actor) == ("key.rotated", "refused", "s", "a")
    assert (event.address, event.details) == ("192.0.2.1", '{"a":"\\u00f6","z":1}')


async def test_a_chain_follows_from_its_beginning(service: asyncpg.Connection) -> None:
    for number in range(5):
        await record(service, "sign_in", tenant="acme", subject=f"ö{number}\N{PILE OF POO}")
        await record(service, "sign_in", tenant="other")
    events = await chain(service)
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert follow(BEGINNING, events).hash == events[-1].hash


async def test_events_at_one_time_make_one_chain(
    database_url: Callable[[str], str], service: asyncpg.Connection
) -> None:
    async def append() -> None:
        connection = await asyncpg.connect(database_url("auth"))
        for _ in range(10):
            async with connection.transaction():
                await record(connection, "sign_in", tenant="acme")
        await connection.close()

    await asyncio.gather(*(append() for _ in range(6)))
    events = await chain(service)
    assert follow(BEGINNING, events).sequence == 60
    assert [event.occurred_at for event in events] == sorted(event.occurred_at for event in events)


async def test_an_event_is_undone_with_what_it_tells_of(service: asyncpg.Connection) -> None:
    async def fail() -> None:
        async with service.transaction():
            await record(service, "user.deleted", tenant="acme")
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    await record(service, "user.created", tenant="acme")
    events = await chain(service)
    assert [event.event for event in events] == ["user.created"]
    follow(BEGINNING, events)


@pytest.mark.parametrize(
    "meddling",
    [
        "UPDATE auth.audit_events SET outcome = 'success' WHERE sequence = 3",
        "UPDATE auth.audit_events SET subject = 'x', actor = '' WHERE sequence = 3",
        "UPDATE auth.audit_events SET details = '{ }' WHERE sequence = 3",
        "UPDATE auth.audit_events SET occurred_at = occurred_at + interval '1 microsecond' WHERE sequence = 3",
        "DELETE FROM auth.audit_events WHERE sequence = 3",
        "UPDATE auth.audit_events SET sequence = CASE sequence WHEN 3 THEN 1003 ELSE sequence END",
        SWAP,
    ],
)
async def test_meddling_shows(service: asyncpg.Connection, owner: asyncpg.Connection, meddling: str) -> None:
    for number in range(5):
        await record(service, "sign_in", tenant="acme", outcome=audit.REFUSED, subject=str(number), actor="x")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await owner.execute(meddling)
    await owner.execute("ALTER TABLE auth.audit_events DISABLE TRIGGER append_only")
    await owner.execute(meddling)
    with pytest.raises(ChainBrokenError) as broken:
        follow(BEGINNING, await chain(service))
    assert broken.value.sequence == 3


async def test_not_even_the_owner_empties_the_log_by_mistake(
    service: asyncpg.Connection, owner: asyncpg.Connection
) -> None:
    await record(service, "sign_in", tenant="acme")
    for connection in (owner, service):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("TRUNCATE auth.audit_events")
    assert len(await chain(service)) == 1


async def test_text_cannot_move_from_one_column_to_the_next(service: asyncpg.Connection) -> None:
    await record(service, "sign_in", tenant="acme", subject="ab", actor="c")
    (event,) = await chain(service)
    assert replace(event, subject="a", actor="bc").computed_hash() != event.hash


@pytest.mark.parametrize(
    "name", ["password", "refresh_token", "client_secret", "totp_code", "password_hash", "api_key"]
)
async def test_refuses_secrets(service: asyncpg.Connection, name: str) -> None:
    with pytest.raises(ValueError, match="no place in the audit log"):
        await record(service, "sign_in", tenant="acme", details={name: "x"})
    assert await chain(service) == []
