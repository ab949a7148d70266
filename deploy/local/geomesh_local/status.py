"""Shows what runs: state, pid, port, memory and health of every program."""

import contextlib
from dataclasses import dataclass

import psutil
from rich.table import Table

from geomesh_local.ports import GATEWAY, LIMITS, SERVICES, program_name
from geomesh_local.readiness import Health, health_of_all
from geomesh_local.stack import Stack

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Row:
    """One program."""

    name: str
    state: str
    pid: int
    port: int
    memory_bytes: int
    health: Health


async def rows(stack: Stack) -> list[Row]:
    """Returns every program of the stack in the order in which they start."""
    states = stack.supervisor.states()
    healths = await health_of_all(stack)
    ports = {"postgres": stack.ports.postgres, "redis": stack.ports.redis, "envoy": stack.ports.edge}
    ports |= {
        program_name(each, n): stack.ports.grpc(each, n) for each in (*SERVICES, LIMITS) for n in range(stack.replicas)
    }
    ports[GATEWAY] = stack.ports.grpc(GATEWAY, 0)
    return [
        Row(name, state.name, state.pid, ports.get(name, 0), memory_bytes(state.pid), healths.get(name, Health("")))
        for name, state in sorted(states.items(), key=lambda item: ports.get(item[0], 0))
    ]


def memory_bytes(pid: int) -> int:
    """Returns the memory of a process and its children; what several share is counted once, split among them."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid) if pid else None
        for each in [process, *process.children(recursive=True)] if process else []:
            with contextlib.suppress(psutil.Error):
                total += each.memory_full_info().pss
    return total


def table(programs: list[Row]) -> Table:
    """Returns the rows as a table to print."""
    result = Table("program", "state", "pid", "port", "MiB", "health")
    for row in programs:
        health = f"{row.health.state} ({row.health.detail})" if row.health.detail else row.health.state
        pid, memory = (str(row.pid), f"{row.memory_bytes / _MEBIBYTE:.0f}") if row.pid else ("", "")
        result.add_row(row.name, row.state.lower(), pid, str(row.port), memory, health)
    result.add_section()
    result.add_row("all", "", "", "", f"{sum(row.memory_bytes for row in programs) / _MEBIBYTE:.0f}", "")
    return result
