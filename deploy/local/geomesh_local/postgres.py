"""A private Postgres cluster: made whole or not at all, then left to the supervisor to run."""

import contextlib
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil

from geomesh_local.accounts import database_account, make_data_folder, run_as
from geomesh_local.errors import StackError

# For a machine of two cores that does other work too. Every setting that is not Postgres's default has its reason.
_SETTINGS = """\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''           # one way in, the same as in containers
max_connections = 200                  # two replicas of five services hold 80; tests and people come on top
password_encryption = 'scram-sha-256'
shared_buffers = 256MB
effective_cache_size = 4GB             # what the system's page cache is likely to hold of us
work_mem = 16MB
maintenance_work_mem = 256MB           # indexes are built once, at loading
random_page_cost = 1.1                 # an SSD
max_wal_size = 2GB                     # a whole load between two checkpoints
checkpoint_timeout = 15min
wal_compression = lz4
max_parallel_workers_per_gather = 0    # many small queries: a second process for one of them slows the others
max_parallel_maintenance_workers = 1
jit = off                              # compiles for longer than these queries run
log_min_duration_statement = 1s
log_line_prefix = '%m [%p] %u@%d '
log_timezone = 'UTC'
timezone = 'UTC'
datestyle = 'iso, ymd'
"""
# Survives the death of any process, not of the machine: right for databases that live as long as a test.
_FAST_SETTINGS = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"
_ACCESS = "host all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class PostgresCluster:
    """One cluster.

    Attributes:
        link: Where the stack looks for the cluster's folder.
        port: The port on the loopback address.
        admin: The superuser's name.
        durable: Whether a commit is on the disk when it is acknowledged.
    """

    link: Path
    port: int
    admin: str
    durable: bool

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.link.resolve() / "data"

    def command(self) -> list[str]:
        """Returns the command that runs the server in the foreground."""
        return [str(self._binaries() / "postgres"), "-D", str(self.data)]

    def prepare(self, password: str) -> None:
        """Makes the cluster if there is none, and writes its settings anew.

        Raises:
            StackError: if Postgres is not installed, or cannot make the cluster.
        """
        account = database_account()
        folder = make_data_folder(self.link, account)
        if not self.data.exists():
            # Under another name until it is complete, so that one that was interrupted is never taken for whole.
            unfinished = folder / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            self._initialise(unfinished, folder / "password", password, account)
            unfinished.rename(self.data)
        self._write("postgresql.conf", f"port = {self.port}\n{_SETTINGS}{'' if self.durable else _FAST_SETTINGS}")
        self._write("pg_hba.conf", _ACCESS)

    def _initialise(self, data: Path, password_file: Path, password: str, account: str | None) -> None:
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        if account is not None:
            os.chown(password_file, *_ids(account))
        # C.UTF-8 sorts by code point and folds the case of every script, on any machine the same.
        initdb = [str(self._binaries() / "initdb"), "-D", str(data), "-U", self.admin, f"--pwfile={password_file}"]
        settings = ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync", "--no-instructions"]
        made = run_as(account, *initdb, *settings)
        password_file.unlink()
        if made.returncode != 0:
            raise StackError(f"Postgres could not make a cluster in {data}:\n{made.stderr or made.stdout}")

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        if account := database_account():
            os.chown(path, *_ids(account))

    def _binaries(self) -> Path:
        """Returns the folder of the programs of the cluster's version, or of the newest one installed."""
        version = self.data / "PG_VERSION"
        wanted = version.read_text().strip() if version.exists() else "*"
        versions = [path.parent for path in Path("/usr/lib/postgresql").glob(f"{wanted}/bin/postgres")]
        if versions:
            return max(versions, key=lambda path: int(path.parent.name))
        if wanted == "*" and (found := shutil.which("postgres")):
            return Path(found).resolve().parent
        if wanted != "*":
            raise StackError(
                f"the data in {self.link} is of Postgres {wanted}, which is no longer installed;"
                " install it again, or remove the data by `make clean`"
            )
        raise StackError("Postgres is not installed; `make up` installs it on Debian and Ubuntu")

    def stray_pid(self) -> int | None:
        """Returns the pid of a server that runs on this data, whoever started it."""
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            process = psutil.Process(int((self.data / "postmaster.pid").read_text().splitlines()[0]))
            if process.name() == "postgres" and Path(process.cwd()) == self.data:
                return process.pid
        return None


async def takes_connections(dsn: str) -> bool:
    """Tells whether the server takes connections.

    Raises:
        StackError: if it knows another password.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=2)
    except (OSError, asyncpg.CannotConnectNowError, TimeoutError):
        return False
    except asyncpg.InvalidPasswordError as error:
        raise StackError(
            "Postgres knows another password than .run/secrets.json; `make clean` removes the stack with its data"
        ) from error
    await connection.close()
    return True


async def create_database(admin_dsn: str, name: str, template: str | None = None) -> bool:
    """Creates the database unless it exists, and tells whether it did.

    Args:
        admin_dsn: A superuser on any other database of the cluster.
        name: A plain identifier.
        template: The database to copy; nobody may be connected to it.
    """
    connection = await asyncpg.connect(admin_dsn)
    try:
        if await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            return False
        # The files are copied and not the log of their pages: twice as fast for a small database, more for a large one.
        copied = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
        await connection.execute(f'CREATE DATABASE "{name}"{copied}')
        return True
    finally:
        await connection.close()


async def database_exists(admin_dsn: str, name: str) -> bool:
    """Tells whether the cluster has the database."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name))
    finally:
        await connection.close()


async def rename_database(admin_dsn: str, name: str, new_name: str) -> None:
    """Renames a database that nobody is connected to."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f'ALTER DATABASE "{name}" RENAME TO "{new_name}"')
    finally:
        await connection.close()


async def drop_database(admin_dsn: str, name: str) -> None:
    """Drops the database if it exists, and ends the sessions in it."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


def _ids(account: str) -> tuple[int, int]:
    entry = pwd.getpwnam(account)
    return entry.pw_uid, entry.pw_gid
