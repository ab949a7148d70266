"""Runs what fills the database: the auth service's set-up and every service's loader."""

import asyncio
import importlib.util
import os
import subprocess
import sys

from geomesh_local.errors import StackError
from geomesh_local.ports import SERVICES
from geomesh_local.stack import Stack
from geomesh_local.supervisor import end, marked

_MARK = "GEOMESH_STACK_TASK"


def end_stray_loaders(stack: Stack) -> None:
    """Ends the loaders of a command that was killed; to be called by who alone is at work on the stack."""
    end(marked(_MARK, stack.run))


async def set_up_accounts(stack: Stack) -> None:
    """Makes the signing key and the first administrator where there are none.

    Raises:
        StackError: if that fails.
    """
    await _run_beside_others(stack, "auth.setup", asyncio.Semaphore(1))


async def load_data(stack: Stack) -> None:
    """Loads the data of every service that brings a loader; what is loaded is left alone.

    On a terminal the loaders run one after the other, so that each draws its own progress bars; elsewhere as many at
    once as there are cores, each line with the name of its loader.

    Raises:
        StackError: if a loader fails; the others have run to their end.
    """
    packages = (service.replace("-", "_") for service in SERVICES)
    loaders = [f"{package}.load" for package in packages if importlib.util.find_spec(f"{package}.load")]
    if sys.stdout.isatty():
        for loader in loaders:
            _run_on_terminal(stack, loader)
        return
    cores = asyncio.Semaphore(os.cpu_count() or 1)
    results = await asyncio.gather(
        *(_run_beside_others(stack, loader, cores) for loader in loaders), return_exceptions=True
    )
    if failures := [str(result) for result in results if isinstance(result, BaseException)]:
        raise StackError("\n".join(failures))


def train_forecasts(stack: Stack, pollutants: list[str]) -> None:
    """Trains forecast models of some pollutants on what is stored.

    Raises:
        StackError: if there is too little to learn from, or it fails.
    """
    _run_on_terminal(stack, "airquality.train", *pollutants)


def _run_on_terminal(stack: Stack, module: str, *arguments: str) -> None:
    finished = subprocess.run([sys.executable, "-m", module, *arguments], env=_environment(stack), check=False)  # noqa: S603 -- our own
    if finished.returncode != 0:
        raise StackError(f"{module} failed with exit code {finished.returncode}; the same command tries again")


async def _run_beside_others(stack: Stack, module: str, places: asyncio.Semaphore) -> None:
    async with places:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            env=_environment(stack),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None  # noqa: S101 -- it is a pipe
        line = ""
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            whose = f"{module.partition('.')[0].replace('_', '-')}: "  # as the loaders name themselves
            sys.stdout.write(f"    {whose}{line.removeprefix(whose)}\n")
            sys.stdout.flush()
        if await process.wait() != 0:
            raise StackError(f"{module} failed: {line}; `make load` tries again")


def _environment(stack: Stack) -> dict[str, str]:
    return dict(os.environ) | stack.setup_environment() | {"PYTHONUNBUFFERED": "1", _MARK: str(stack.run)}
