"""Postgres as a service uses it: tenants, transactions, time limits, repeats, bounded waiting."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs
from structlog.typing import EventDict

from meshkit.context import CURRENT, RequestContext
from meshkit.errors import DeadlineExceeded, MeshError, Reason, ResourceExhausted, Unavailable
from meshkit.health import State
from meshkit.postgres import Postgres, load_queries
from tests.meshkit.servers import Server, StoreSettings, postgres_server, until

_SCHEMA = """
DROP TABLE IF EXISTS notes;
CREATE TABLE notes (id integer PRIMARY KEY, tenant_id text NOT NULL, words text NOT NULL);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenancy ON notes
  USING (tenant_id = current_setting('geomesh.tenant', true) OR tenant_id = 'public')
  WITH CHECK (tenant_id = current_setting('geomesh.tenant', true));
DO $$ BEGIN CREATE ROLE service LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO service;
INSERT INTO notes VALUES (1, 'acme', 'a'), (2, 'bolt', 'b'), (3, 'public', 'p');
"""
_READ = "SELECT words FROM notes ORDER BY id"
_WRITE = "INSERT INTO notes VALUES ($1::integer, $2::text, 'new')"
_SLEEP = "SELECT pg_sleep($1::double precision)"

Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as server:
        yield server


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    """What is logged, which would cost much time to print."""
    with capture_logs() as logged:
        yield logged


@pytest.fixture
async def admin(server: Server) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The superuser, in a database with a table under row-level security."""
    server.start()
    connection = await asyncpg.connect(server.url.get_secret_value())
    await connection.execute(_SCHEMA)
    yield connection
    await connection.close()


@pytest.fixture
def connect(server: Server, admin: object) -> Connect:
    """Connects as a role that row-level security binds, with settings of the test's own."""
    dsn = server.url.get_secret_value().replace("postgres@", "service@")

    @asynccontextmanager
    async def connected(**settings: Any) -> AsyncIterator[Postgres]:
        chosen: dict[str, Any] = {"postgres_dsn": SecretStr(dsn), "pool_size": 4} | settings
        database = Postgres(StoreSettings(**chosen))
        await database.start()
        try:
            yield database
        finally:
            await database.close()

    return connected


@pytest.fixture
def queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Statements with names, so that a read may be repeated."""
    name = f"made_{time.monotonic_ns()}"
    (tmp_path / name / "sql").mkdir(parents=True)
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "sql/queries.sql").write_text(
        "-- name: read_slowly\n-- Reads for as long as it is told to.\n"
        "SELECT words, pg_sleep($1::double precision) FROM notes;\n"
        "-- name: write_slowly\n-- Writes for as long as it is told to.\n"
        "UPDATE notes SET words = 'c' WHERE id = 3 AND pg_sleep($1::double precision) IS NOT NULL RETURNING words;\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return dict(load_queries(name))


@pytest.fixture
def call() -> Iterator[RequestContext]:
    """The call in work; the test sets its deadline."""
    call = RequestContext("/probe", {}, time.monotonic() + 60)
    token = CURRENT.set(call)
    yield call
    CURRENT.reset(token)


async def _words(database: Postgres, tenant: str | None) -> str:
    return "".join(row["words"] for row in await database.fetch(_READ, tenant=tenant))


async def _running(admin: "asyncpg.Connection[asyncpg.Record]", query: str) -> list[int]:
    """Waits until a service runs such a statement, and returns the pids of the backends that do."""
    found: list[int] = []

    async def some() -> bool:
        found[:] = await _backends(admin, query)
        return bool(found)

    await until(some)
    return found


async def _backends(admin: "asyncpg.Connection[asyncpg.Record]", query: str) -> list[int]:
    rows = await admin.fetch(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'geomesh-runtime' AND state = 'active' AND query ~ $1",
        query,
    )
    return [row["pid"] for row in rows]


async def _end_as_soon_as_it_runs(admin: "asyncpg.Connection[asyncpg.Record]", query: str) -> None:
    for pid in await _running(admin, query):
        await admin.execute("SELECT pg_terminate_backend($1::integer)", pid)


async def test_answers_in_rows_one_row_one_value_and_postgres_own_word(connect: Connect) -> None:
    async with connect() as database:
        assert [dict(row) for row in await database.fetch("SELECT 1 AS one UNION SELECT 2 ORDER BY one")] == [
            {"one": 1},
            {"one": 2},
        ]
        assert tuple(await database.fetchrow("SELECT 1, $1::text", "a")) == (1, "a")
        assert await database.fetchrow("SELECT 1 WHERE false") is None
        assert await database.fetchval("SELECT 7") == 7
        assert await database.execute(_WRITE, 9, "acme", tenant="acme") == "INSERT 0 1"


async def test_a_tenant_sees_its_own_rows_and_the_public_ones(connect: Connect) -> None:
    async with connect() as database:
        assert await _words(database, "acme") == "ap"
        assert await _words(database, "bolt") == "bp"
        assert await _words(database, None) == "p"


async def test_a_tenant_writes_to_its_own_rows_alone(connect: Connect) -> None:
    async with connect() as database:
        for tenant in ("bolt", None):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await database.execute(_WRITE, 9, "acme", tenant=tenant)
        assert await database.execute("DELETE FROM notes WHERE id = 2", tenant="acme") == "DELETE 0"


async def test_tenants_who_share_connections_never_see_each_other(connect: Connect) -> None:
    async with connect(pool_size=2, max_concurrent_requests=1000) as database:
        expected = {"acme": "ap", "bolt": "bp", None: "p"}
        tenants = [*expected] * 60
        assert await asyncio.gather(*(_words(database, tenant) for tenant in tenants)) == [
            expected[tenant] for tenant in tenants
        ]


async def test_a_call_that_went_away_leaves_no_tenant_behind(connect: Connect) -> None:
    async with connect(pool_size=1) as database:
        for _ in range(20):
            going = asyncio.create_task(_words(database, "acme"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)
            assert await _words(database, None) == "p"


async def test_what_breaks_a_rule_of_the_database_is_told_as_the_driver_tells_it(connect: Connect) -> None:
    async with connect() as database:
        with pytest.raises(asyncpg.UniqueViolationError):
            await database.execute(_WRITE, 1, "acme", tenant="acme")
        with pytest.raises(asyncpg.UndefinedTableError):
            await database.fetch("SELECT 1 FROM nowhere")
        assert database.breaker == "closed"


async def test_what_the_database_fails_at_is_told_in_our_words_and_logged_whole_once(
    connect: Connect, admin: "asyncpg.Connection[asyncpg.Record]", logged: list[EventDict]
) -> None:
    async with connect() as database:
        asking = asyncio.create_task(database.execute(_SLEEP, 30.0))
        await _end_as_soon_as_it_runs(admin, "pg_sleep")
        with pytest.raises(Unavailable, match=r"^postgres-primary does not answer$") as raised:
            await asking
    failures = [each for each in logged if each["event"] == "a statement failed"]
    assert [(each["query"], each["exc_info"]) for each in failures] == [("unnamed", raised.value.__cause__)]
    assert isinstance(raised.value.__cause__, asyncpg.PostgresError | ConnectionError)


async def test_a_transaction_is_kept_whole_or_not_at_all(connect: Connect) -> None:
    async with connect() as database:
        async with database.transaction(tenant="acme") as connection:
            await connection.execute(_WRITE, 10, "acme")
            await connection.execute(_WRITE, 11, "acme")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with database.transaction(tenant="acme") as connection:
                await connection.execute(_WRITE, 12, "acme")
                await connection.execute(_WRITE, 10, "acme")
        with pytest.raises(ZeroDivisionError):
            async with database.transaction(tenant="acme") as connection:
                await connection.execute(_WRITE, 13, "acme")
                raise ZeroDivisionError
        ids = await database.fetch("SELECT id FROM notes WHERE id >= 10 ORDER BY id", tenant="acme")
        assert [row["id"] for row in ids] == [10, 11]


async def test_a_transaction_belongs_to_one_tenant_and_hands_the_connection_on_clean(connect: Connect) -> None:
    async with connect(pool_size=1) as database:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.transaction(tenant="bolt") as connection:
                await connection.execute(_WRITE, 10, "acme")
        assert await _words(database, None) == "p"
        assert await _words(database, "acme") == "ap"


async def test_a_transaction_ends_with_its_callers_time(connect: Connect, call: RequestContext) -> None:
    async with connect(pool_size=1) as database:
        call.deadline = time.monotonic() + 0.3
        with pytest.raises(DeadlineExceeded):
            async with database.transaction(tenant="acme") as connection:
                await connection.execute(_WRITE, 10, "acme")
                await connection.execute(_SLEEP, 30.0)
        call.deadline = time.monotonic() + 60
        assert await _words(database, "acme") == "ap"


async def test_no_transaction_begins_after_its_callers_time(connect: Connect, call: RequestContext) -> None:
    call.deadline = time.monotonic() - 0.1
    async with connect() as database:
        with pytest.raises(DeadlineExceeded):
            async with database.transaction():
                pytest.fail("it began")


async def test_a_transaction_whose_caller_goes_away_is_undone_and_its_connection_serves_on(connect: Connect) -> None:
    async with connect(pool_size=1) as database:

        async def write() -> None:
            async with database.transaction(tenant="acme") as connection:
                await connection.execute(_WRITE, 10, "acme")
                await connection.execute(_SLEEP, 30.0)

        for wait_seconds in (0.0, 0.001, 0.01, 0.2):
            writing = asyncio.create_task(write())
            await asyncio.sleep(wait_seconds)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            assert await _words(database, "acme") == "ap"


async def test_a_statement_ends_with_its_caller(connect: Connect, admin: "asyncpg.Connection[asyncpg.Record]") -> None:
    async with connect(pool_size=1) as database:
        asking = asyncio.create_task(database.fetch(_SLEEP, 30.0))
        await _running(admin, "pg_sleep")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await database.fetchval("SELECT 1") == 1
        assert not await _backends(admin, "pg_sleep")


async def test_a_statement_that_nobody_ends_is_ended_by_the_settings_time(connect: Connect) -> None:
    async with connect(request_timeout_seconds=0.3) as database:
        with pytest.raises(DeadlineExceeded, match="did not answer in time") as raised:
            await database.fetch(_SLEEP, 30.0)
        assert isinstance(raised.value.__cause__, asyncpg.QueryCanceledError)


async def test_a_read_is_repeated_when_its_connection_broke(
    connect: Connect, admin: "asyncpg.Connection[asyncpg.Record]", queries: dict[str, str]
) -> None:
    async with connect() as database:
        reading = asyncio.create_task(database.fetch(queries["read_slowly"], 0.2, tenant="acme"))
        await _end_as_soon_as_it_runs(admin, "read_slowly")
        assert [row["words"] for row in await reading] == ["a", "p"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda database, queries: database.fetch(queries["write_slowly"], 0.3),
        lambda database, queries: database.execute(queries["write_slowly"], 0.3),
        lambda database, queries: database.fetch(queries["read_slowly"], 0.3, retries=False),
        lambda database, _: database.fetch(_SLEEP, 0.3),
    ],
    ids=["a statement that writes", "execute", "a read that must not be", "a statement without a name"],
)
async def test_nothing_else_is_repeated_since_nobody_knows_whether_it_was_carried_out(
    connect: Connect, admin: "asyncpg.Connection[asyncpg.Record]", queries: dict[str, str], ask: Callable[..., Any]
) -> None:
    async with connect() as database:
        asking = asyncio.create_task(ask(database, queries))
        await _end_as_soon_as_it_runs(admin, "slowly|pg_sleep")
        with pytest.raises(Unavailable) as raised:
            await asking
        assert (raised.value.message, raised.value.dependency) == (
            "postgres-primary does not answer",
            "postgres-primary",
        )


async def test_connections_that_broke_while_nobody_used_them_are_noticed_by_nobody(
    connect: Connect, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with connect() as database:
        await asyncio.gather(*(database.fetch(_SLEEP, 0.05) for _ in range(4)))
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'geomesh-runtime'"
        )
        await asyncio.sleep(0.05)
        assert await asyncio.gather(*(database.execute("SELECT 1") for _ in range(8))) == ["SELECT 1"] * 8


async def test_opens_no_more_connections_than_it_may(
    connect: Connect, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with connect(pool_size=3) as database:
        asking = asyncio.gather(*(database.fetch(_SLEEP, 0.02) for _ in range(60)))
        await asyncio.sleep(0.2)
        opened = await admin.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'geomesh-runtime'"
        )
        await asking
        assert opened == 3 + 1, "three, and the one that asks whether Postgres answers"


async def test_refuses_those_who_would_only_lengthen_the_queue(connect: Connect) -> None:
    async with connect(pool_size=1, max_concurrent_requests=5) as database:
        await database.fetchval("SELECT 1")
        asked = [asyncio.create_task(database.fetch(_SLEEP, 0.05)) for _ in range(10)]
        ended = await asyncio.gather(*asked, return_exceptions=True)
        refused = [each for each in ended if isinstance(each, BaseException)]
        assert len(refused) == 4
        assert {(type(each), getattr(each, "reason", None)) for each in refused} == {
            (ResourceExhausted, Reason.OVERLOADED)
        }


@pytest.mark.parametrize(
    ("seconds", "error"), [(0.4, ResourceExhausted), (30.0, Unavailable)], ids=["others are served", "nobody is"]
)
async def test_waits_for_a_connection_for_a_second_at_most_and_says_whose_fault_it_was(
    connect: Connect, seconds: float, error: type[MeshError]
) -> None:
    async with connect(pool_size=1) as database:
        await database.fetchval("SELECT 1")
        before = [asyncio.create_task(database.fetch(_SLEEP, seconds)) for _ in range(5)]
        await asyncio.sleep(0.01)
        started = time.monotonic()
        with pytest.raises(error):
            await database.fetchval("SELECT 1")
        assert 0.9 < time.monotonic() - started < 1.4
        for each in before:
            each.cancel()
        await asyncio.gather(*before, return_exceptions=True)


async def test_long_statements_are_not_taken_for_a_server_that_is_gone(connect: Connect) -> None:
    async with connect(pool_size=1) as database:
        await database.fetchval("SELECT 1")
        long = asyncio.create_task(database.fetchval("SELECT 7 FROM pg_sleep(3)"))
        waiting = await asyncio.gather(*(database.fetch("SELECT 1") for _ in range(10)), return_exceptions=True)
        assert {type(each) for each in waiting} == {Unavailable}
        assert (database.state, database.breaker) == (State.OK, "closed")
        assert await long == 7


async def test_failures_of_some_statements_do_not_end_the_others(connect: Connect) -> None:
    async with connect() as database:
        long = asyncio.create_task(database.fetchval("SELECT 7 FROM pg_sleep(2)"))
        for _ in range(3):
            with pytest.raises(Unavailable):
                await database.execute("DO $$ BEGIN RAISE SQLSTATE '53200'; END $$")
        assert database.breaker == "open"
        assert await long == 7
        assert (database.state, database.breaker) == (State.OK, "closed"), "the watcher has seen that it answers"


async def test_a_waiter_who_goes_away_costs_nobody_a_connection(connect: Connect) -> None:
    async with connect(pool_size=1) as database:
        for wait_seconds in (0.0, 0.001, 0.005, 0.02) * 5:
            going = [asyncio.create_task(database.fetch(_SLEEP, 0.002)) for _ in range(5)]
            await asyncio.sleep(wait_seconds)
            for each in going:
                each.cancel()
            await asyncio.gather(*going, return_exceptions=True)
        assert await database.fetchval("SELECT 1") == 1


async def test_starts_without_a_postgres_and_finds_it_later(server: Server, connect: Connect) -> None:
    await asyncio.to_thread(server.stop)
    started = time.monotonic()
    try:
        async with connect() as database:
            assert time.monotonic() - started < 2
            assert database.state is State.DOWN
            with pytest.raises(Unavailable):
                await database.fetchval("SELECT 1")
            await asyncio.to_thread(server.start)

            async def is_back() -> bool:
                return database.state is State.OK

            await until(is_back)
            assert await database.fetchval("SELECT 1") == 1
    finally:
        await asyncio.to_thread(server.start)


async def test_a_database_that_was_closed_answers_nobody(connect: Connect) -> None:
    async with connect() as database:
        await database.fetchval("SELECT 1")
        asking = asyncio.create_task(database.fetch(_SLEEP, 30.0))
        await asyncio.sleep(0.05)
    with pytest.raises(Unavailable):
        await asking
    with pytest.raises(Unavailable) as raised:
        await database.fetchval("SELECT 1")
    assert raised.value.reason is Reason.SHUTTING_DOWN


def test_says_which_setting_is_missing() -> None:
    with pytest.raises(SystemExit, match="GEOMESH_RUNTIME_POSTGRES_DSN: must be set"):
        Postgres(StoreSettings())
