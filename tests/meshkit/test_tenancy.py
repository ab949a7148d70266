"""Tenants are kept apart by the database itself, whatever a statement forgets to ask for."""

import asyncpg
import pytest

from geomesh_local.ports import SERVICES
from tests.conftest import Databases

# In every schema, so that no table can hide in one that nobody thought of.
TABLES = """
SELECT c.oid::regclass::text AS name, c.relrowsecurity AS secured
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname !~ '^(pg_|information_schema$)' AND c.relkind IN ('r', 'p', 'm', 'f')
  AND a.attname = 'tenant_id' AND NOT a.attisdropped
"""
VIEWS = """
SELECT c.oid::regclass::text AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false)
"""
POLICIES = "SELECT tablename, cmd, coalesce(qual, '') || coalesce(with_check, '') AS rule FROM pg_policies WHERE schemaname = $1"


@pytest.mark.parametrize("service", SERVICES)
async def test_every_table_with_a_tenant_is_secured_by_row(databases: Databases, service: str) -> None:
    connection = await asyncpg.connect(databases.admin_url(service))
    try:
        tables = await connection.fetch(TABLES)
        views = await connection.fetch(VIEWS, service.replace("-", "_"))
    finally:
        await connection.close()
    assert [each["name"] for each in tables if not each["secured"]] == []
    assert [each["name"] for each in views] == []  # one would read as its owner, whom no policy binds


@pytest.mark.parametrize("service", SERVICES)
async def test_what_everyone_may_read_nobody_else_may_change(databases: Databases, service: str) -> None:
    connection = await asyncpg.connect(databases.admin_url(service))
    try:
        policies = await connection.fetch(POLICIES, service.replace("-", "_"))
    finally:
        await connection.close()
    assert [each["tablename"] for each in policies if each["cmd"] != "SELECT" and "public" in each["rule"]] == []


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_cannot_switch_the_separation_off(databases: Databases, service: str) -> None:
    connection = await asyncpg.connect(databases.url(service))
    try:
        powers = await connection.fetchrow(
            "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        )
        owned = await connection.fetchval(
            "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = current_user"
        )
    finally:
        await connection.close()
    assert powers is not None
    assert not any(powers.values())
    assert owned == 0


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_that_tries_to_switch_it_off_is_refused(databases: Databases, service: str) -> None:
    connection = await asyncpg.connect(databases.url(service))
    try:
        role = await connection.fetchval("SELECT current_user")
        tables = [each["name"] for each in await connection.fetch(TABLES)]
        everywhere = [
            "SET ROLE geomesh_owner",
            "SET SESSION AUTHORIZATION geomesh_owner",
            "SET session_replication_role = replica",
            f"ALTER ROLE {role} BYPASSRLS",
            f"CREATE TABLE {service.replace('-', '_')}.mine (tenant_id text)",
        ]
        each_table = [
            "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
            "CREATE POLICY everything ON {} USING (true)",
            "TRUNCATE {}",
            # The role may ask not to be bound, and is then told nothing at all.
            "SET LOCAL row_security = off; SELECT FROM {}",
        ]
        for change in everywhere + [change.format(table) for table in tables for change in each_table]:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"BEGIN; {change}; COMMIT")
            await connection.execute("ROLLBACK")
    finally:
        await connection.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_what_runs_as_the_owner_looks_names_up_nowhere_else(databases: Databases, service: str) -> None:
    connection = await asyncpg.connect(databases.admin_url(service))
    try:
        functions = await connection.fetch(
            "SELECT p.oid::regprocedure::text AS name, coalesce(p.proconfig::text, '') AS settings "
            "FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prosecdef AND n.nspname = $1",
            service.replace("-", "_"),
        )
    finally:
        await connection.close()
    assert [each["name"] for each in functions if "search_path=" not in each["settings"]] == []


FILLED = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.atttypid::regtype::text AS base
FROM pg_attribute a
WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef
  AND a.attidentity = '' AND a.attgenerated = '' AND a.attname <> 'tenant_id'
ORDER BY a.attnum
"""


RULES = """
SELECT conrelid::regclass::text AS table, quote_ident(conname) AS name
FROM pg_constraint JOIN pg_namespace ON pg_namespace.oid = connamespace
WHERE contype = 'c' AND nspname = $1 AND conislocal AND coninhcount = 0
"""


@pytest.mark.parametrize("service", SERVICES)
async def test_an_unfiltered_select_returns_the_rows_of_one_tenant(databases: Databases, service: str) -> None:
    """Puts one row of each of three tenants into every table with a tenant, and asks as the service without a WHERE."""
    owner = await asyncpg.connect(databases.admin_url(service))
    served = await asyncpg.connect(databases.url(service))
    try:
        # Rows are put in without what they refer to and whatever they hold: what is tried here is who sees them.
        await owner.execute("SET session_replication_role = replica")
        for rule in await owner.fetch(RULES, service.replace("-", "_")):
            await owner.execute(f"ALTER TABLE {rule['table']} DROP CONSTRAINT {rule['name']}")
        tables = [each["name"] for each in await owner.fetch(TABLES)]
        assert tables or service == "geocoder"
        for name in await owner.fetch("SELECT oid::regclass::text AS table FROM pg_class WHERE relkind = 'p'"):
            await owner.execute(f"CREATE TABLE {name['table']}_rest PARTITION OF {name['table']} DEFAULT")
        for number, tenant in enumerate(("acme", "other", "public")):
            for table in tables:
                await _add_row(owner, table, tenant, number)
        shared = set() if service == "auth" else {"public"}  # the operator's accounts are nobody else's business
        for tenant, seen in (("acme", {"acme"} | shared), ("other", {"other"} | shared), ("", shared)):
            await served.execute("SELECT set_config('geomesh.tenant', $1, false)", tenant)
            for table in tables:
                rows = await served.fetch(f"SELECT tenant_id FROM {table}")  # noqa: S608
                assert {row["tenant_id"] for row in rows} <= seen, table
                assert {row["tenant_id"] for row in rows} >= seen - {"public"}, table
                if tenant:
                    own = await served.fetch(f"SELECT tenant_id FROM {table} WHERE tenant_id <> 'public'")  # noqa: S608
                    assert {row["tenant_id"] for row in own} == {tenant}, table
    finally:
        await owner.close()
        await served.close()


async def _add_row(owner: asyncpg.Connection, table: str, tenant: str, number: int) -> None:
    columns = await owner.fetch(FILLED, table)
    names = ", ".join(["tenant_id", *(each["name"] for each in columns)])
    values = ", ".join(f"{_value(each['base'], number)}::{each['type']}" for each in columns)
    await owner.execute(
        f"INSERT INTO {table} ({names}) VALUES ($1{', ' if values else ''}{values}) ON CONFLICT DO NOTHING",  # noqa: S608
        tenant,
    )


def _value(kind: str, number: int) -> str:
    """Returns something that the type can hold, as SQL."""
    known = {
        "timestamp with time zone": "now()",
        "date": "current_date",
        "uuid": f"'00000000-0000-4000-8000-00000000000{number}'",
        "bytea": f"decode(repeat('0{number}', 32), 'hex')",
        "boolean": "true",
        "jsonb": "'{}'",
        "json": "'{}'",
        "cube": "'(1, 2, 3)'",
        "geography": "'POINT(1 2)'",
        "geometry": "'POINT(1 2)'",
        "text": f"'no-{number}'",
        "interval": "'1 hour'",
    }
    return known.get(kind, "'{}'" if kind.endswith("[]") else str(number + 1))
