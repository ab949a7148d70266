"""A Postgres and a Redis of one test module's own, which it may stop, freeze and bring back."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import redis
from pydantic import SecretStr

from meshkit.settings import ServiceSettings
from tests.ports import free_port

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


class StoreSettings(ServiceSettings, service="runtime"):
    """The settings of a service whose stores are `Server`s."""


class Server:
    """A server program on a port that it keeps over all its starts."""

    def __init__(self, command: list[str], port: int, url: str, is_ready: list[str], account: str | None) -> None:
        self.port = port
        self.url = SecretStr(url)
        self._command = command
        self._is_ready = is_ready
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None

    def is_running(self) -> bool:
        """Tells whether it was started and not stopped; a frozen one runs too."""
        return self._process is not None

    def start(self) -> None:
        """Starts it, if it does not run, and waits until it answers."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=self._account
            )
        deadline = time.monotonic() + _START_SECONDS
        while not _succeeds(self._is_ready):
            assert self._process.poll() is None, f"{self._command[0]} ended by itself"
            assert time.monotonic() < deadline, f"{self._command[0]} does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """Stops it at once, whatever it does and also when it is frozen; its port refuses connections from then on."""
        if self._process is None:
            return
        self.thaw()
        self._process.send_signal(signal.SIGINT)  # to Postgres: do not wait for those who are connected
        self._process.wait(_STOP_SECONDS)
        self._process = None

    def freeze(self) -> None:
        """Stops it from running. It keeps its connections, and the system makes more for it, but it never answers."""
        for process in self._family():
            process.suspend()

    def thaw(self) -> None:
        """Lets it run again."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _family(self) -> list[psutil.Process]:
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]


@contextmanager
def postgres_server() -> Iterator[Server]:
    """A running Postgres, empty but for what comes with it."""
    programs = _postgres_programs()
    assert programs, "Postgres is not installed; `make test` installs it"
    account = "postgres" if os.geteuid() == 0 else None  # Postgres refuses to run as root
    with _folder(account) as folder:
        data = str(folder / "data")
        made = [str(programs / "initdb"), "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]
        subprocess.run(made, check=True, capture_output=True, user=account)
        port = free_port()
        chosen = {
            "port": str(port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "100",
        }
        command = [str(programs / "postgres"), "-D", data]
        for name, value in chosen.items():
            command += ["-c", f"{name}={value}"]
        is_ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        server = Server(command, port, f"postgresql://postgres@127.0.0.1:{port}/postgres", is_ready, account)
        with _run(server):
            yield server


@contextmanager
def redis_server() -> Iterator[Server]:
    """A running, empty Redis."""
    program = shutil.which("redis-server")
    assert program, "Redis is not installed; `make test` installs it"
    with _folder(None) as folder:
        port = free_port()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        is_ready = ["redis-cli", "-h", "127.0.0.1", "-p", str(port), "ping"]
        server = Server(command, port, f"redis://127.0.0.1:{port}/0", is_ready, None)
        with _run(server):
            yield server


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> float:
    """Waits until it holds, and returns how long that took in seconds; fails when it takes longer than `seconds`."""
    started = time.monotonic()
    while not await holds():
        assert time.monotonic() < started + seconds, f"still not so after {seconds} s"
        await asyncio.sleep(0.01)
    return time.monotonic() - started


def empty(server: Server) -> None:
    """Starts the Redis if a test left it stopped or frozen, and removes what is in it."""
    server.start()
    with redis.Redis(port=server.port) as client:
        client.flushall()


@contextmanager
def _run(server: Server) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.stop()


@contextmanager
def _folder(account: str | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="geomesh-test-") as folder:
        if account is not None:
            entry = pwd.getpwnam(account)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        yield Path(folder)


def _postgres_programs() -> Path | None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if installed:
        return installed[-1]
    found = shutil.which("initdb")
    return Path(found).parent if found else None


def _succeeds(command: list[str]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, check=False, capture_output=True, timeout=1).returncode == 0
    return False
