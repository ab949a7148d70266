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
