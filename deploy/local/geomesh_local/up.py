"""From a clone to a running mesh, a step at a time; every step leaves alone what is done already."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from geomesh_local.errors import StackError
from geomesh_local.loading import end_stray_loaders, load_data, set_up_accounts
from geomesh_local.plan import remember, running
from geomesh_local.readiness import wait_until_well
from geomesh_local.stack import Stack
from geomesh_local.stores import migrate_database, start_stores

_WELL_SECONDS = 120.0


@contextmanager
def step(name: str) -> Iterator[None]:
    """Says what is being done, and then how long it took."""
    sys.stdout.write(f"  {name} …\n")
    sys.stdout.flush()
    start = time.monotonic()
    yield
    sys.stdout.write(f"  {name}: done in {time.monotonic() - start:.1f} s\n")
    sys.stdout.flush()


async def up(stack: Stack, *, data: bool = True) -> None:
    """Starts everything and waits until it is well.

    Args:
        stack: The stack; its lock must be held.
        data: Whether to load the data.

    Raises:
        StackError: if a step fails.
    """
    await prepare_database(stack)
    with step("accounts"):
        await set_up_accounts(stack)
    if data:
        with step("data"):
            await load_data(stack)
    with step("services and edge"):
        stack.supervisor.start([program.name for program in (*stack.services(), stack.envoy())])
        await wait_until_well(stack, _WELL_SECONDS)


async def prepare_database(stack: Stack) -> None:
    """Starts the stores alone, and migrates.

    Raises:
        StackError: if a step fails.
    """
    before = running(stack.run)
    if before is not None and (before.ports, before.durable) != (stack.ports, stack.durable):
        before.supervisor.shut_down()  # everything moves to other ports
    end_stray_loaders(stack)
    with step("Postgres and Redis"):
        await render_edge(stack)
        await start_stores(stack, [*stack.services(), stack.envoy()])
        remember(stack)
    with step("migrations"):
        await migrate_database(stack, stack.database)


async def render_edge(stack: Stack) -> None:
    """Writes Envoy's configuration, and with TLS the certificates that it names.

    Raises:
        StackError: if that fails.
    """
    if stack.tls:
        stack.prepare_certificates()
    stack.envoy_configuration.parent.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.render",
        "--out",
        str(stack.envoy_configuration),
        env=dict(os.environ) | stack.edge_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise StackError(f"Envoy's configuration could not be rendered:\n{output.decode().strip()}")
