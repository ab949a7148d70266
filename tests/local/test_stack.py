"""The stack starts, heals, and says what is in its way; tried with its two stores, which are the quickest to start."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from geomesh_local import __main__ as commands
from geomesh_local import plan
from geomesh_local.accounts import remove_data_folder
from geomesh_local.errors import StackError
from geomesh_local.ports import PortPlan
from geomesh_local.stack import Stack
from geomesh_local.stores import end_strays, locked, migrate_database, start_stores

FIRST_PORT = 28_000 + os.getpid() % 7 * 500  # another session may look for free ports at the same moment


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    run = tmp_path / "run"
    stack = Stack(run, PortPlan.free(1, FIRST_PORT), durable=False)
    yield stack
    stack.supervisor.shut_down()
    end_strays(stack)
    remove_data_folder(run / "postgres")


def pids(stack: Stack) -> dict[str, int]:
    return {name: state.pid for name, state in stack.supervisor.states().items()}


async def write(stack: Stack, statement: str) -> None:
    connection = await asyncpg.connect(stack.admin_dsn("postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def read(stack: Stack, query: str) -> object:
    connection = await asyncpg.connect(stack.admin_dsn("postgres"))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_starting_twice_restarts_nothing(stack: Stack) -> None:
    await start_stores(stack)
    before = pids(stack)
    await start_stores(stack)
    assert pids(stack) == before
    assert set(before) == {"postgres", "redis"}


async def test_data_outlives_a_stop(stack: Stack) -> None:
    await start_stores(stack)
    await write(stack, "CREATE TABLE kept AS SELECT 42 AS answer")
    stack.supervisor.shut_down()
    assert not stack.supervisor.alive()
    assert stack.postgres.stray_pid() is None
    await start_stores(stack)
    assert await read(stack, "SELECT answer FROM kept") == 42


async def test_takes_over_from_a_supervisor_that_was_killed(stack: Stack) -> None:
    await start_stores(stack)
    await write(stack, "CREATE TABLE kept AS SELECT 42 AS answer")
    orphans = [psutil.Process(pid) for pid in pids(stack).values()]
    supervisord = orphans[0].parent()
    assert supervisord is not None
    supervisord.kill()
    supervisord.wait(10)
    assert all(process.is_running() for process in orphans)
    await start_stores(stack)
    assert not any(process.is_running() for process in orphans)
    assert await read(stack, "SELECT answer FROM kept") == 42


async def test_takes_over_from_a_supervisor_whose_socket_was_deleted(stack: Stack) -> None:
    await start_stores(stack)
    await write(stack, "CREATE TABLE kept AS SELECT 42 AS answer")
    supervisord = psutil.Process(pids(stack)["redis"]).parent()
    assert supervisord is not None
    (stack.run / "supervisor.sock").unlink()
    assert not stack.supervisor.alive()
    await start_stores(stack)
    assert not supervisord.is_running()
    assert await read(stack, "SELECT answer FROM kept") == 42


async def test_clean_ends_also_what_a_measurement_left_running(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    within = Stack(stack.run / "bench", stack.ports, durable=False)
    await start_stores(within)
    plan.remember(within)
    programs = [psutil.Process(pid) for pid in pids(within).values()]
    data = within.postgres.data
    monkeypatch.setattr(commands, "RUN", stack.run)
    commands.command_clean()
    assert not any(process.is_running() for process in programs)
    assert not data.exists()
    assert not stack.run.exists()


async def test_starts_a_crashed_program_again(stack: Stack) -> None:
    await start_stores(stack)
    before = pids(stack)["redis"]
    crashed = psutil.Process(before)
    os.kill(before, signal.SIGKILL)
    psutil.wait_procs([crashed], timeout=10)
    await start_stores(stack)
    assert pids(stack)["redis"] not in {0, before}


async def test_makes_anew_a_cluster_that_was_interrupted_in_the_making(stack: Stack) -> None:
    stack.prepare_stores()
    stack.postgres.data.rename(stack.postgres.data.with_name("unfinished"))
    (stack.postgres.data.with_name("unfinished") / "PG_VERSION").unlink()
    await start_stores(stack)
    assert await read(stack, "SELECT 42") == 42


async def test_names_the_port_that_is_taken_and_who_holds_it(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", stack.ports.redis)), pytest.raises(StackError) as refusal:
        await start_stores(stack)
    assert f"port {stack.ports.redis}, which redis needs, is taken by" in str(refusal.value)
    assert f"pid {os.getpid()}" in str(refusal.value)
    assert "GEOMESH_PORT_BASE" in str(refusal.value)


async def test_shows_the_log_of_a_store_that_does_not_start(stack: Stack) -> None:
    stack.prepare_stores()
    (stack.postgres.data / "global" / "pg_control").unlink()
    with pytest.raises(StackError, match="could not find the database system"):
        await start_stores(stack)


async def test_says_in_plain_words_what_postgres_could_not_do(stack: Stack) -> None:
    with pytest.raises(StackError, match=r"migrate the database geomesh: .*Connect call failed"):
        await migrate_database(stack)
    await start_stores(stack)
    with pytest.raises(StackError, match='migrate the database ge"o: unterminated quoted identifier'):
        await migrate_database(stack, database='ge"o')


async def test_runs_in_a_folder_whose_path_no_socket_could_have(tmp_path: Path) -> None:
    run = tmp_path / ("a" * 60) / ("b" * 60) / "run"
    stack = Stack(run, PortPlan.free(1, FIRST_PORT), durable=False)
    try:
        await start_stores(stack)
        assert set(pids(stack)) == {"postgres", "redis"}
    finally:
        stack.supervisor.shut_down()
        remove_data_folder(run / "postgres")


def test_secrets_are_kept_from_others(stack: Stack) -> None:
    first = stack.admin_dsn()
    assert (stack.run / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert Stack(stack.run, stack.ports).admin_dsn() == first


def test_says_what_to_do_about_damaged_secrets(stack: Stack) -> None:
    stack.run.mkdir()
    (stack.run / "secrets.json").write_text('{"redis": ')
    with pytest.raises(StackError, match="make clean"):
        stack.admin_dsn()


def test_two_commands_at_once_are_refused(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock"),
        pytest.raises(StackError, match="another command is at work"),
        locked(tmp_path / "lock", wait=False),
    ):
        pass


def test_no_two_programs_share_a_port() -> None:
    ports = [port for _, port in PortPlan().of(replicas=10)]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize(("variable", "value"), [("GEOMESH_REPLICAS", "11"), ("GEOMESH_EDGE_PORT", "http")])
def test_refuses_a_setting_out_of_range(variable: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=f"{variable} must be a whole number from 1 to"):
        plan.asked_for(tmp_path, {variable: value})


def test_hands_a_service_its_own_settings_and_no_others(tmp_path: Path) -> None:
    environment = {"GEOMESH_AUTH_LOG_LEVEL": "DEBUG", "GEOMESH_GEOCODER_LOG_LEVEL": "ERROR", "HOME": "/root"}
    stack = Stack(tmp_path, PortPlan(), replicas=2, environment=environment)
    given = stack.program_environment("auth", 1)
    assert given["GEOMESH_AUTH_LOG_LEVEL"] == "DEBUG"
    assert given["GEOMESH_AUTH_PORT"] == "18141"
    assert given["GEOMESH_AUTH_AUTH_ADDRESS"] == "ipv4:127.0.0.1:18140,127.0.0.1:18141"
    assert not [name for name in given if not name.startswith("GEOMESH_AUTH_") or "OWNER" in name]
