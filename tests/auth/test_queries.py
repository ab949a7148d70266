"""Every statement of the service, before anybody needs it."""

from collections.abc import Callable

import asyncpg
import pytest

from auth.repository import QUERIES


async def test_every_statement_can_be_prepared(owner_url: Callable[[str], str]) -> None:
    connection = await asyncpg.connect(owner_url("auth"))
    for sql in QUERIES.values():
        await connection.prepare(sql)
    await connection.close()


async def test_the_service_makes_neither_accounts_nor_keys(database_url: Callable[[str], str]) -> None:
    connection = await asyncpg.connect(database_url("auth"))
    for table in ("accounts", "signing_keys"):
        for change in (f"DELETE FROM auth.{table}", f"UPDATE auth.{table} SET created_at = now()"):  # noqa: S608
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(QUERIES["add_account"], "a@b.example", "hash", "acme", ["system_admin"], "user")
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
