"""Real stores for every test, and a whole mesh for those that ask for one.

One private Postgres and Redis serve the session, and each test has databases of its own, copied from a template. The mesh
has its own stores, so that a test may stop them.
"""

import asyncio
import hashlib
import os
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest
import redis
from hypothesis import HealthCheck, settings

from geomesh_local.errors import StackError
from geomesh_local.plan import remember, running
from geomesh_local.ports import PortPlan
from geomesh_local.postgres import create_database, database_exists, drop_database, rename_database
from geomesh_local.stack import CHECKOUT, Stack
from geomesh_local.stores import locked, migrate_database, start_stores
from tests.running_mesh import Mesh

# A busy machine is slow, not wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

T = TypeVar("T")

RUN = CHECKOUT / ".run" / "test"
MESH_RUN = CHECKOUT / ".run" / "test-mesh"
_REPLICAS = 2
_PREPARING_SECONDS = 600.0


class Databases:
    """The databases of one test: one a service, made when first asked for."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._names: dict[str, str] = {}

    def url(self, service: str) -> str:
        """Returns the DSN of the service's own role in a migrated, empty database."""
        return self._stack.service_dsn(service, self._name(service))

    def owner_url(self, service: str) -> str:
        """Returns the DSN of the role that owns the service's tables, in the same database."""
        return self._stack.owner_dsn(self._name(service))

    def admin_url(self, service: str) -> str:
        """Returns the DSN of the superuser, in the same database."""
        return self._stack.admin_dsn(self._name(service))

    def drop(self) -> None:
        for name in self._names.values():
            _finish(drop_database(self._stack.admin_dsn("postgres"), name))

    def _name(self, service: str) -> str:
        if service not in self._names:
            name = f"test_{os.getpid()}_{uuid.uuid4().hex[:12]}"
            template = _template(self._stack, service)
            _finish(create_database(self._stack.admin_dsn("postgres"), name, template))
            self._names[service] = name
        return self._names[service]


@pytest.fixture(scope="session")
def stores() -> Iterator[Stack]:
    """Postgres and Redis of their own, shared by all test sessions of this checkout, stopped by the last."""
    with locked(RUN / "users", shared=True):
        with locked(RUN / "lock"):
            stack = running(RUN) or Stack(RUN, PortPlan.free(1, start=19_000), durable=False)
            _finish(start_stores(stack))
            remember(stack)
        yield stack
    try:
        with locked(RUN / "users", wait=False), locked(RUN / "lock"):
            _finish(_drop_all_but_templates(stack))
            stack.supervisor.shut_down()
    except StackError:
        pass  # another session still uses them


@pytest.fixture(scope="session")
def _running_mesh() -> Iterator[Mesh]:
    with locked(MESH_RUN / "users"):  # one session at a time: its tests stop and kill what others would need
        # Tests call as fast as they can. Those of the limits have an edge of their own. And some sign up.
        environment = dict(os.environ) | {"GEOMESH_EDGE_LIMITS": "false", "GEOMESH_AUTH_SIGN_UP": "open"}
        ports = PortPlan.free(_REPLICAS, start=25_000)
        tls = os.environ.get("GEOMESH_TLS") == "1"  # the same tests hold; tests/local/test_tls_stack.py has more
        mesh = Mesh(Stack(MESH_RUN, ports, _REPLICAS, durable=False, environment=environment, tls=tls))
        try:
            _finish(mesh.start_all())
            if tls:  # what gRPC and requests take for the system's authorities, here and in the programs that tests run
                for each in ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "REQUESTS_CA_BUNDLE"):
                    os.environ[each] = str(mesh.stack.certificate("ca"))
            yield mesh
        finally:
            mesh.stack.supervisor.shut_down()


@pytest.fixture
def mesh(_running_mesh: Mesh) -> Iterator[Mesh]:
    """The whole mesh with the real data, through Envoy; what a test stops or kills in it is started again after it."""
    yield _running_mesh
    _finish(_running_mesh.heal())


def pytest_configure(config: pytest.Config) -> None:
    """Names the marker that this file gives."""
    config.addinivalue_line("markers", "mesh: needs the whole mesh; given to every test that asks for it")


@pytest.hookimpl(tryfirst=True)  # before the markers are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of the mesh, which kill and time things and so run by themselves; loads the gazetteer in one worker."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "mesh" in fixtures:
            item.add_marker(pytest.mark.mesh)
        if "gazetteer" in fixtures:
            item.add_marker(pytest.mark.xdist_group("gazetteer"))


@pytest.fixture
def databases(stores: Stack) -> Iterator[Databases]:
    """The test's own databases."""
    databases = Databases(stores)
    yield databases
    databases.drop()


@pytest.fixture
def database_url(databases: Databases) -> Callable[[str], str]:
    """Returns the DSN of a service's role in a migrated, empty database that only this test has."""
    return databases.url


@pytest.fixture
def owner_url(databases: Databases) -> Callable[[str], str]:
    """Returns the DSN of the schema's owner in the database of `database_url`."""
    return databases.owner_url


@pytest.fixture
def redis_url(stores: Stack) -> str:
    """The URL of an empty Redis database that only this test has."""
    with redis.Redis.from_url(stores.redis_url()) as counter:
        number = int(counter.incr("tests:next")) % 500 + 1
    url = stores.redis_url(number)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def _finish(work: Coroutine[Any, Any, T]) -> T:
    """Runs it to its end, also when an event loop is at work in this thread, as it is in a test."""

    async def bounded() -> T:
        async with asyncio.timeout(_PREPARING_SECONDS):
            return await work

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, bounded()).result()


def _template(stack: Stack, service: str) -> str:
    """Returns the name of a migrated database to copy, made once for each version of the migrations."""
    package = service.replace("-", "_")
    sources = [Path(str(resources.files("meshkit"))) / name for name in ("migrate.py", "provision.sql")]
    sources += sorted((Path(str(resources.files(package))) / "sql" / "migrations").glob("*.sql"))
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    name = f"template_{package}_{digest}"
    with locked(RUN / "template.lock"):
        _finish(_make_template(stack, name, service))
    return name


async def _make_template(stack: Stack, name: str, service: str) -> None:
    admin = stack.admin_dsn("postgres")
    if await database_exists(admin, name):
        return
    # Made under another name, so that one of an interrupted session is never taken for whole.
    await drop_database(admin, "test_template")
    await migrate_database(stack, "test_template", [service])
    await rename_database(admin, "test_template", name)


async def _drop_all_but_templates(stack: Stack) -> None:
    """Drops what killed sessions left behind."""
    connection = await asyncpg.connect(stack.admin_dsn("postgres"))
    try:
        for row in await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'"):
            await connection.execute(f'DROP DATABASE "{row["datname"]}" WITH (FORCE)')
    finally:
        await connection.close()
