"""What the stack takes: memory, and time to come up."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.mesh import Mesh
from bench.report import Row, ceiling
from geomesh_local.accounts import remove_data_folder
from geomesh_local.plan import running
from geomesh_local.ports import PortPlan
from geomesh_local.stack import CHECKOUT, Stack
from geomesh_local.stores import locked
from geomesh_local.up import prepare_database


def memory(mesh: Mesh) -> Iterator[Row]:
    """The proportional set size of every process of the idle stack: shared pages count once in all."""
    programs = [psutil.Process(state.pid) for state in mesh.stack.supervisor.states().values() if state.pid]
    children = [child for each in programs for child in each.children(recursive=True)]
    processes = {programs[0].parent(), *programs, *children}
    total = sum(_proportional_bytes(process.pid) for process in processes if process is not None)
    yield ceiling(f"memory of the whole stack, idle, {len(processes)} processes", total / 2**30, "GiB", 1.5)


def _proportional_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no Pss of {pid}")


def second_up() -> Iterator[Row]:
    """`make up` when everything is up already."""
    ran_before = running(CHECKOUT / ".run") is not None
    command = ["make", "-s", "up"]
    subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
    started = time.perf_counter()
    subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
    elapsed = time.perf_counter() - started
    if not ran_before:
        subprocess.run(["make", "-s", "down"], cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
    yield ceiling("second `make up`", elapsed, "s", 15)


def gazetteer_load() -> Iterator[Row]:
    """The geocoder's loader on an empty, migrated database, indexes and all."""
    stack = Stack(CHECKOUT / ".run" / "bench-load", PortPlan(22_000, 22_080, 22_081))
    stack.run.mkdir(parents=True, exist_ok=True)
    with locked(stack.run / "lock", wait=False):
        try:
            asyncio.run(prepare_database(stack))
            environment = dict(os.environ) | stack.setup_environment()
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "geocoder.load"], env=environment, check=True)
            elapsed = time.perf_counter() - started
        finally:
            stack.supervisor.shut_down()
            remove_data_folder(stack.run / "postgres")
            shutil.rmtree(stack.run)
    yield ceiling("load of the gazetteer, indexes included", elapsed, "s", 45)
