"""Starts Postgres and Redis, healing what an interrupted run left, and brings the database to the code's version."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path

import asyncpg
import psutil
import redis
import redis.asyncio

from geomesh_local.errors import StackError
from geomesh_local.ports import holder, is_free
from geomesh_local.postgres import create_database, takes_connections
from geomesh_local.stack import DATABASE, Stack
from geomesh_local.supervisor import STORES, CrashWatch, Program, end, tail
from meshkit.migrate import MigrationError, Target, installed_services, migrate

_START_SECONDS = 60  # Postgres replays its log after a crash before it takes connections
_RUNNING = {"RUNNING", "STARTING", "BACKOFF"}


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Holds a lock on a file that the kernel releases whatever happens to this process.

    Raises:
        StackError: if it is held by another and `wait` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            flock(file, (LOCK_SH if shared else LOCK_EX) | (0 if wait else LOCK_NB))
        except BlockingIOError:
            raise StackError(f"another command is at work on {path.parent}; try again when it is done") from None
        yield


async def start_stores(stack: Stack, programs: Iterable[Program] = ()) -> None:
    """Starts Postgres and Redis under the supervisor and waits for both; what runs already stays as it is.

    Args:
        stack: The stack.
        programs: What else the supervisor is to know; it is not started here.

    Raises:
        StackError: if a port is taken or a store does not start.
    """
    if not stack.supervisor.alive():
        end_strays(stack)
    refuse_taken_ports(stack)
    stack.prepare_stores()
    stack.supervisor.apply([*stack.stores(), *programs])
    stack.supervisor.start(STORES)
    dsn = stack.admin_dsn("postgres")
    await _wait_for(stack, "postgres", lambda: takes_connections(dsn))
    await _wait_for(stack, "redis", lambda: _redis_answers(stack))


def end_strays(stack: Stack) -> None:
    """Ends what a supervisor that was killed left running, so that the ports and the data are free again."""
    stack.supervisor.end_strays()
    stray = stack.postgres.stray_pid()
    if stray is not None:
        end([psutil.Process(stray)])


def refuse_taken_ports(stack: Stack) -> None:
    """Checks the ports of those programs that do not run yet.

    Raises:
        StackError: naming every taken port and who holds it.
    """
    states = stack.supervisor.states()
    running = {name for name, state in states.items() if state.name in _RUNNING}
    taken = [
        f"port {port}, which {name} needs, is taken by {holder(port)}"
        for name, port in stack.ports.of(stack.replicas)
        if name not in running and not is_free(port)
    ]
    if taken:
        raise StackError(
            "\n".join(taken)
            + "\nStop it, or move the stack: GEOMESH_PORT_BASE (now"
            + f" {stack.ports.base}), GEOMESH_EDGE_PORT ({stack.ports.edge}), GEOMESH_EDGE_ADMIN_PORT ({stack.ports.admin})"
        )


async def _wait_for(stack: Stack, program: str, ready: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    watch = CrashWatch(stack.supervisor)
    while not await ready():
        if program in watch.crashing() or time.monotonic() > deadline:
            log = stack.supervisor.log(program)
            raise StackError(f"{program} does not start. The end of {log}:\n{tail(log)}")
        await asyncio.sleep(0.05)


async def _redis_answers(stack: Stack) -> bool:
    async with redis.asyncio.Redis.from_url(stack.redis_url(), socket_connect_timeout=1) as client:
        try:
            await client.ping()
        except redis.AuthenticationError as error:
            raise StackError(f"Redis on port {stack.ports.redis} is not ours: {error}") from error
        except redis.RedisError:
            return False
        return True


async def migrate_database(stack: Stack, database: str = DATABASE, services: Iterable[str] | None = None) -> None:
    """Makes the database if there is none and runs the migrations that it lacks.

    Args:
        stack: The stack; its Postgres must run.
        database: The database's name.
        services: Whose schemas; None means every installed service's.

    Raises:
        StackError: if a migration fails, or Postgres does not do what it is asked, e.g. for want of space.
    """
    environment = stack.setup_environment(database)
    try:
        await create_database(stack.admin_dsn("postgres"), database)
        chosen = installed_services() if services is None else services
        await migrate(stack.admin_dsn(database), [Target.from_environment(name, environment) for name in chosen])
    except MigrationError as error:
        raise StackError(str(error)) from error
    except (asyncpg.PostgresError, OSError) as error:
        raise StackError(f"Postgres could not make or migrate the database {database}: {error}") from error
    sys.stdout.flush()
