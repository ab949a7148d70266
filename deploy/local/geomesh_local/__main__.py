"""The commands behind the Makefile: `python -m geomesh_local up`."""

import argparse
import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from geomesh_local import check, plan, status
from geomesh_local.accounts import remove_data_folder
from geomesh_local.errors import StackError
from geomesh_local.examples import answers
from geomesh_local.loading import load_data, set_up_accounts, train_forecasts
from geomesh_local.replaying import replay
from geomesh_local.stack import CHECKOUT, Stack
from geomesh_local.stores import end_strays, locked
from geomesh_local.up import prepare_database, step, up

RUN = CHECKOUT / ".run"


def main() -> None:
    """Runs one command, or says in plain words why it cannot."""
    parser = argparse.ArgumentParser(prog="python -m geomesh_local", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for function in (command_up, command_down, command_status, command_logs, command_migrate, command_load):
        _add(commands, function)
    _add(commands, command_train)
    _add(commands, command_clean)
    _add(commands, command_certs)
    _add(commands, command_replay)
    _add(commands, check.command_check)
    try:
        options = parser.parse_args()
        _refuse_another_account()
        options.run()
    except StackError as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit("\nstopped half-way; the same command goes on from here")


def _refuse_another_account() -> None:
    if RUN.exists() and RUN.stat().st_uid != os.geteuid():
        raise StackError(f"{RUN} belongs to another account; use that account, or let it run `make clean`")


def _add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", function: Callable[[], None]) -> None:
    name = function.__name__.removeprefix("command_")
    commands.add_parser(name, help=(function.__doc__ or "").splitlines()[0]).set_defaults(run=function)


def command_up() -> None:
    """Starts everything and prints what to try."""
    start = time.monotonic()
    stack = plan.asked_for(RUN, os.environ)
    sys.stdout.write(f"geomesh, in {RUN}\n")
    with locked(RUN / "lock", wait=False):
        asyncio.run(up(stack))
    sys.stdout.write(f"\nEverything is well, after {time.monotonic() - start:.0f} s. Try, as was done just now:\n")
    for answer in answers(stack):
        sys.stdout.write(f"\n  {answer.command}\n    {answer.gist}\n")
    sys.stdout.write(
        f"\n  administrator  admin@localhost, password in {stack.administrator_password_path}\n"
        + (f"  certificates   {stack.certificates}, by a development CA; see docs/security.md\n" if stack.tls else "")
        + "  more           make status, make logs, make down\n"
    )


def command_down() -> None:
    """Stops everything and keeps the data."""
    with locked(RUN / "lock", wait=False):
        stack = _known()
        with step("stop, once the calls in work are done"):
            stack.supervisor.shut_down()
            end_strays(stack)
    sys.stdout.write("stopped; the data is kept\n")


def command_certs() -> None:
    """Makes the certificates that TLS needs; RENEW=1 replaces good ones too."""
    with locked(RUN / "lock", wait=False):
        stack = plan.asked_for(RUN, os.environ) if "GEOMESH_CERTS_DIR" in os.environ else _known()
        issued = stack.prepare_certificates(renew=os.environ.get("RENEW") == "1")
    sys.stdout.write(f"{stack.certificates}: {', '.join(issued) or 'nothing'} issued\n")


def command_status() -> None:
    """Shows every program's state, pid, port, memory and health."""
    stack = plan.running(RUN)
    if stack is None:
        raise StackError("nothing runs; `make up` starts it")
    Console().print(status.table(asyncio.run(status.rows(stack))))


def command_logs() -> None:
    """Follows the logs, of one program or service with SERVICE=name."""
    wanted = os.environ.get("SERVICE", "")
    logs = sorted(str(path) for path in (RUN / "logs").glob(f"{wanted}*.log"))
    if not logs:
        raise StackError(f"there are no logs of {wanted or 'anything'} in {RUN / 'logs'}")
    os.execvp("tail", ["tail", "-n", "20", "-F", *logs])  # noqa: S606, S607 -- becomes tail, found as any command is


def command_migrate() -> None:
    """Starts the stores and runs the migrations that the database lacks."""
    with locked(RUN / "lock", wait=False):
        asyncio.run(prepare_database(plan.asked_for(RUN, os.environ)))


def command_load() -> None:
    """Starts the stores, migrates, and loads the data that the database lacks."""

    async def load(stack: Stack) -> None:
        await prepare_database(stack)
        with step("accounts"):
            await set_up_accounts(stack)
        with step("data"):
            await load_data(stack)

    with locked(RUN / "lock", wait=False):
        asyncio.run(load(plan.asked_for(RUN, os.environ)))


def command_replay() -> None:
    """Sends the sample of AirNow to the running stack as if it came in now; SPEED=60 HOURS=48."""
    replay(_known())


def command_train() -> None:
    """Starts the stores, migrates, and trains forecast models; POLLUTANTS="pm25 o3" for which."""

    async def train(stack: Stack) -> None:
        await prepare_database(stack)
        train_forecasts(stack, os.environ.get("POLLUTANTS", "pm25").split())

    with locked(RUN / "lock", wait=False):
        asyncio.run(train(plan.running(RUN) or plan.asked_for(RUN, os.environ)))


def command_clean() -> None:
    """Stops everything and removes it, with the data."""
    # Those of tests and measurements lie within, so they end first, while it is still known what runs there.
    for run in [*(path.parent for path in RUN.glob("*/supervisord.conf")), RUN]:
        if run.exists():
            _remove(run)
    sys.stdout.write(f"removed {RUN}\n")


def _remove(run: Path) -> None:
    with locked(run / "lock", wait=False):
        stack = plan.running(run) or plan.asked_for(run, os.environ)
        stack.supervisor.shut_down()
        end_strays(stack)
        remove_data_folder(run / "postgres")
    shutil.rmtree(run)


def _known() -> Stack:
    return plan.running(RUN) or plan.asked_for(RUN, os.environ)


if __name__ == "__main__":
    main()
