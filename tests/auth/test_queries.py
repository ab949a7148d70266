"""Every statement of the service, before anybody needs it."""

from collections.abc import Callable

import asyncpg
import pytest

from auth.queries import QUERIES


async def test_every_statement_can_be_prepared(owner_url: Callable[[str], str]) -> None:
    connection = await asyncpg.connect(owner_url("auth"))
    for sql in QUERIES.values():
        await connection.prepare(sql)
    await connection.close()


async def test_the_service_makes_no_keys_and_rewrites_no_history(database_url: Callable[[str], str]) -> None:
    connection = await asyncpg.connect(database_url("auth"))
    for change in (
        "DELETE FROM auth.signing_keys",
        "UPDATE auth.signing_keys SET created_at = now()",
        "DELETE FROM auth.tenants",
        "INSERT INTO auth.audit_heads VALUES ('acme', 1, decode(repeat('00', 32), 'hex'))",
        "UPDATE auth.audit_heads SET sequence = 0",
        "UPDATE auth.audit_events SET outcome = 'success'",
        "DELETE FROM auth.audit_events",
        "TRUNCATE auth.audit_events",
        "ALTER TABLE auth.audit_events DISABLE TRIGGER ALL",
        "DROP POLICY own_tenant ON auth.accounts",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(change)
    await connection.close()


async def test_a_token_is_found_by_an_index(database_url: Callable[[str], str]) -> None:
    connection = await asyncpg.connect(database_url("auth"))
    await connection.execute("SET enable_seqscan = off")
    plan = "\n".join(
        row[0]
        for row in await connection.fetch(
            f"EXPLAIN {QUERIES['rotate_token']}".replace("$1", "'\\x00'")
            .replace("$2", "'{}'")
            .replace("$3", "'1s'")
            .replace("$4", "'1s'")
        )
    )
    await connection.close()
    assert "sessions_token_digest_key" in plan
    assert "Seq Scan on" not in plan
