"""Runs the stack's programs under supervisord, which outlives the terminal and restarts what crashes."""

import contextlib
import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]  # the package ships no types

from geomesh_local.errors import StackError

STORES: Final = frozenset({"postgres", "redis"})
"""The programs that the others need."""
MARK = "GEOMESH_STACK"
"""The variable in every program's environment that tells whose it is."""

_LONGEST_SOCKET_PATH = 100  # Linux takes 107 bytes, and supervisord binds to a longer name first
_ALREADY_STARTED, _NOT_RUNNING, _NO_SUCH_NAME = 60, 70, 10


@dataclass(frozen=True, slots=True)
class Program:
    """What the supervisor is to run.

    Attributes:
        name: The program's name, unique in the stack.
        command: The command and its arguments.
        directory: Its working directory.
        environment: Its variables beside the supervisor's own.
        account: The account to run it as, if another.
        stop_signal: What asks it to stop.
        stop_seconds: How long it may take before it is killed.
    """

    name: str
    command: list[str]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    account: str | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 15


@dataclass(frozen=True, slots=True)
class State:
    """How a program does: `name` of supervisord's states (RUNNING, STOPPED, BACKOFF, …), `pid` 0 where it has none."""

    name: str
    pid: int


class Supervisor:
    """The supervisord of one stack."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._configuration = run / "supervisord.conf"
        self._socket = _short(run / "supervisor.sock")

    @property
    def logs(self) -> Path:
        """The folder with a log of each program, and supervisord's own."""
        return self._run / "logs"

    def log(self, program: str) -> Path:
        """Returns the path of a program's log."""
        return self.logs / f"{program}.log"

    def alive(self) -> bool:
        """Tells whether supervisord answers."""
        try:
            self._call("getState")
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def apply(self, programs: Iterable[Program]) -> None:
        """Makes the given programs the ones supervised: adds, replaces or removes those that differ, starts none.

        Raises:
            StackError: if supervisord does not start, or a variable has a value that it cannot hand on.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        text = self._render(programs)
        if not self._configuration.exists() or self._configuration.read_text() != text:
            self._configuration.unlink(missing_ok=True)
            self._configuration.touch(mode=0o600)
            self._configuration.write_text(text)
        if not self.alive():
            self._launch()
            return
        added, changed, removed = self._call("reloadConfig")[0]
        gone = {*changed, *removed}
        self.stop(gone - STORES)  # all at once: each service waits a while for its calls
        self.stop(gone & STORES)
        for name in gone:
            self._call("removeProcessGroup", name)
        for name in [*added, *changed]:
            self._call("addProcessGroup", name)

    def _launch(self) -> None:
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._socket.parent.stat().st_uid != os.geteuid():
            raise StackError(f"{self._socket.parent} belongs to another account; remove it")
        supervisord = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._configuration)]
        # A clean environment: a variable that happened to be set in one terminal must not live on in the stack.
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME", "/"),
            "LANG": "C.UTF-8",
            MARK: str(self._run),
        }
        started = subprocess.run(  # noqa: S603 -- our own
            supervisord, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        deadline = time.monotonic() + 10
        while not self.alive():
            if started.returncode != 0 or time.monotonic() > deadline:
                raise StackError(f"supervisord did not start:\n{started.stderr or tail(self.log('supervisord'))}")
            time.sleep(0.02)

    def start(self, names: Iterable[str]) -> None:
        """Starts the programs that do not run, without waiting for them."""
        for name in names:
            with _tolerated(_ALREADY_STARTED):
                self._call("startProcess", name, False)

    def stop(self, names: Iterable[str]) -> None:
        """Asks the programs to stop, all at once, and waits until they have."""
        waiting = list(names)
        for name in waiting:
            with _tolerated(_NOT_RUNNING, _NO_SUCH_NAME):
                self._call("stopProcess", name, False)
        while any(self.states().get(name, State("STOPPED", 0)).name == "STOPPING" for name in waiting):
            time.sleep(0.05)

    def signal(self, name: str, signal_name: str) -> None:
        """Sends a signal, such as `KILL`, to a running program."""
        self._call("signalProcess", name, signal_name)

    def states(self) -> dict[str, State]:
        """Returns the state of every program; of none where supervisord does not run."""
        try:
            processes = self._call("getAllProcessInfo")
        except OSError:
            return {}
        return {process["name"]: State(process["statename"], process["pid"]) for process in processes}

    def shut_down(self) -> None:
        """Stops every program and supervisord itself, also those that a dead supervisord left behind.

        The stores stop last, because calls in work still need them. Left to itself supervisord would stop one program
        after the other, and each service waits a while for its calls.
        """
        if self.alive():
            names = set(self.states())
            self.stop(names - STORES)
            self.stop(names & STORES)
            process = psutil.Process(self._call("getPID"))
            self._call("shutdown")
            process.wait(timeout=60)
        self.end_strays()

    def end_strays(self) -> None:
        """Ends the programs of this stack that no supervisor watches any more, and a supervisor that cannot be reached."""
        strays = marked(MARK, self._run)
        # First whoever would start the others again. It may live although it does not answer: its socket can be deleted.
        end([process for process in strays if _is_supervisor(process)], limit_seconds=60)
        end(strays)

    def _render(self, programs: Iterable[Program]) -> str:
        owner = "user=root\n" if os.geteuid() == 0 else ""
        sections = [
            f"[unix_http_server]\nfile={self._socket}\nchmod=0700\n",
            f"[supervisord]\nlogfile={self.log('supervisord')}\nlogfile_maxbytes=5MB\nlogfile_backups=1",
            f"pidfile={self._run / 'supervisord.pid'}\nchildlogdir={self.logs}\n{owner}",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
            *(self._section(program) for program in programs),
        ]
        return "\n".join(sections)

    def _section(self, program: Program) -> str:
        variables = {**program.environment, MARK: str(self._run)}
        settings = {
            "command": shlex.join(program.command),
            "directory": program.directory,
            "environment": ",".join(f"{name}={_quoted(name, value)}" for name, value in sorted(variables.items())),
            "autostart": "false",  # in an order, and only once the database is migrated
            "autorestart": "true",
            "startsecs": 1,
            "startretries": 1_000_000,  # its dependency may be down for the night
            "stopsignal": program.stop_signal,
            "stopwaitsecs": program.stop_seconds,
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": self.log(program.name),
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": 1,
        }
        if program.account is not None:
            settings["user"] = program.account
        # supervisord would expand %(…)s in every value.
        lines = (f"{key}={str(value).replace('%', '%%')}\n" for key, value in settings.items())
        return f"[program:{program.name}]\n{''.join(lines)}"

    def _call(self, method: str, *arguments: Any) -> Any:
        server = xmlrpc.client.ServerProxy(
            "http://localhost", transport=SupervisorTransport(None, None, f"unix://{self._socket}")
        )
        with server:
            return getattr(server.supervisor, method)(*arguments)


class CrashWatch:
    """Tells a program that crashes again and again from one that crashed once, and is helped by its restart."""

    def __init__(self, supervisor: Supervisor, tolerated_seconds: float = 4.0) -> None:
        self._supervisor = supervisor
        self._tolerated_seconds = tolerated_seconds
        self._since: dict[str, float] = {}

    def crashing(self) -> list[str]:
        """Returns the programs that have not stayed up for longer than is tolerated; to be asked every so often."""
        now = time.monotonic()
        for name, state in self._supervisor.states().items():
            if state.name in {"BACKOFF", "FATAL", "EXITED"}:
                self._since.setdefault(name, now)
            elif state.name != "STARTING":
                self._since.pop(name, None)
        return [name for name, since in self._since.items() if now - since > self._tolerated_seconds]


def tail(path: Path, lines: int = 12, width: int = 400) -> str:
    """Returns the last lines of a log, each cut at the width, or that there is none."""
    try:
        return "\n".join(line[:width] for line in path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return f"(no {path})"


def marked(variable: str, run: Path) -> list[psutil.Process]:
    """Returns the processes in whose environment the variable names the run folder, but for this one's."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(variable) == str(run) and process.pid != os.getpid():
                found.append(process)
    return found


def end(processes: list[psutil.Process], limit_seconds: float = 30) -> None:
    """Asks processes to end, and kills those that do not in time."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            # Asked by SIGTERM, Postgres would wait until its clients have left.
            process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
    for process in psutil.wait_procs(processes, timeout=limit_seconds)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _is_supervisor(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "supervisor.supervisord" in process.cmdline()
    return False


def _quoted(name: str, value: str) -> str:
    """Returns a variable's value as supervisord reads it: in either quotes, without escapes, up to a comment."""
    mark = "'" if '"' in value else '"'
    if mark in value or value != value.strip("'\"") or re.search(r"\n|\s[;#]", value):
        raise StackError(
            f"{name} cannot be handed on to a program: both quotes, quotes at its ends, ` ;`, ` #` or a line end"
        )
    return f"{mark}{value}{mark}"


def _short(path: Path) -> Path:
    """Returns the path, or one in the temporary folder where the kernel would refuse its length for a socket."""
    if len(str(path).encode()) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"geomesh-{os.geteuid()}-{digest}" / "s"


class _tolerated(contextlib.AbstractContextManager[None]):  # noqa: N801 -- used like contextlib.suppress
    """Suppresses supervisord's faults with the given codes."""

    def __init__(self, *codes: int) -> None:
        self._codes = codes

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        return isinstance(error, xmlrpc.client.Fault) and error.faultCode in self._codes
