"""Every statement of the service, before anybody needs it."""

from collections.abc import Callable
from datetime import timedelta

import asyncpg
import pytest

from auth.queries import QUERIES
from tests.conftest import Databases


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


async def test_a_token_is_found_by_an_index(databases: Databases) -> None:
    connection = await asyncpg.connect(databases.admin_url("auth"))
    plans: list[str] = []
    connection.add_log_listener(lambda _connection, message: plans.append(message.message))
    # What runs inside a function shows in no EXPLAIN.
    await connection.execute(
        "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; "
        "SET client_min_messages = log; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan"
    )
    await connection.fetch(QUERIES["rotate_token"], b"x", [b"y"], timedelta(days=30), timedelta(seconds=30))
    await connection.close()
    plan = "\n".join(plans)
    assert "sessions_token_digest_key" in plan
    assert "Seq Scan on" not in plan


async def test_what_hangs_on_an_account_is_seen_with_it(databases: Databases) -> None:
    owner, served = await asyncpg.connect(databases.owner_url("auth")), await asyncpg.connect(databases.url("auth"))
    try:
        for tenant in ("acme", "other"):
            account = await owner.fetchval(
                QUERIES["add_account"], f"x@{tenant}.example", "none", tenant, ["user"], "user"
            )
            await owner.execute(QUERIES["add_recovery_codes"], account, [tenant.encode().ljust(32)])
        for tenant, seen in (("acme", 1), ("other", 1), ("nobody", 0), ("", 0)):
            await served.execute("SELECT set_config('geomesh.tenant', $1, false)", tenant)
            assert await served.fetchval("SELECT count(*) FROM auth.recovery_codes") == seen
            assert await served.execute("DELETE FROM auth.accounts WHERE tenant_id <> $1", tenant) == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await served.fetch("SELECT FROM auth.spent_tokens")
    finally:
        await owner.close()
        await served.close()


async def test_functions_of_the_owner_are_for_the_service_alone(databases: Databases) -> None:
    connection = await asyncpg.connect(databases.admin_url("auth"))
    open_to_all = await connection.fetch(
        "SELECT p.oid::regprocedure::text AS name FROM pg_proc p WHERE p.pronamespace = 'auth'::regnamespace "
        "AND p.prosecdef AND has_function_privilege('public', p.oid, 'EXECUTE')"
    )
    await connection.close()
    assert [each["name"] for each in open_to_all] == []
