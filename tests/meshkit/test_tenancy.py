"""Tenants are kept apart by the database itself, whatever a statement forgets to ask for."""

import asyncpg
import pytest

from tests.conftest import Databases

SERVICES = ["geocoder", "spatial-index", "trajectory", "airquality", "auth"]

TABLES = """
SELECT c.oid::regclass::text AS name, c.relrowsecurity AS secured
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND a.attname = 'tenant_id' AND NOT a.attisdropped
"""
POLICIES = "SELECT tablename, cmd, coalesce(qual, '') || coalesce(with_check, '') AS rule FROM pg_policies WHERE schemaname = $1"


@pytest.mark.parametrize("service", SERVICES)
async def test_every_table_with_a_tenant_is_secured_by_row(databases: Databases, service: str) -> None:
    connection = await asyncpg.connect(databases.admin_url(service))
    try:
        tables = await connection.fetch(TABLES, service.replace("-", "_"))
    finally:
        await connection.close()
    assert [each["name"] for each in tables if not each["secured"]] == []


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
        tables = [each["name"] for each in await owner.fetch(TABLES, service.replace("-", "_"))]
        for name in await owner.fetch("SELECT oid::regclass::text AS table FROM pg_class WHERE relkind = 'p'"):
            await owner.execute(f"CREATE TABLE {name['table']}_rest PARTITION OF {name['table']} DEFAULT")
        for number, tenant in enumerate(("acme", "other", "public")):
            for table in tables:
                await _add_row(owner, table, tenant, number)
        callers = [("acme", {"acme", "public"}), ("other", {"other", "public"}), ("", {"public"})]
        if service == "auth":  # whose sign-in knows no tenant yet, and sees every account
            callers.pop()
        for tenant, seen in callers:
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
