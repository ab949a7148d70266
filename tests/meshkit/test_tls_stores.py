"""TLS to Postgres and Redis, which the addresses of the stores turn on."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
import redis as redis_driver
from pydantic import SecretStr

from meshkit.development_ca import issue, subjects
from meshkit.errors import Unavailable
from meshkit.health import State
from meshkit.postgres import Postgres
from meshkit.redis import Redis
from tests.meshkit.servers import Server, StoreSettings, postgres_server, until
from tests.ports import free_port


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates for this machine, and those of an authority that did not sign them."""
    folder = tmp_path_factory.mktemp("stores")
    issue(folder, subjects(["geocoder"]))
    issue(folder / "other", subjects(["geocoder"]))
    return folder


@pytest.fixture(scope="module")
def postgres(certs: Path) -> Iterator[Server]:
    """A Postgres that can speak TLS."""
    with postgres_server() as server:
        with_tls(server, certs)
        yield server


def with_tls(server: Server, certs: Path) -> None:
    """Gives the server its certificate, readable by its account, and has it read its settings again."""
    psql = ["psql", "-qAt", server.url.get_secret_value(), "-c"]
    shown = subprocess.run([*psql, "SHOW data_directory"], check=True, capture_output=True, text=True)
    folder = Path(shown.stdout.strip())
    for name in ("public.pem", "public-key.pem"):
        shutil.copy(certs / name, folder / name)
        (folder / name).chmod(0o600)
        os.chown(folder / name, folder.stat().st_uid, folder.stat().st_gid)
    settings = {"ssl": "on", "ssl_cert_file": folder / "public.pem", "ssl_key_file": folder / "public-key.pem"}
    statements = [f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()]
    for statement in [*statements, "SELECT pg_reload_conf()"]:
        subprocess.run([*psql, statement], check=True, capture_output=True)


def settings(server: Server, authority: Path) -> StoreSettings:
    trust = f"?sslmode=verify-full&sslrootcert={quote(str(authority))}"
    return StoreSettings(postgres_dsn=SecretStr(server.url.get_secret_value() + trust))


async def test_statements_go_to_postgres_through_tls(postgres: Server, certs: Path) -> None:
    database = Postgres(settings(postgres, certs / "ca.pem"))
    await database.start()
    try:

        async def encrypted() -> bool:
            try:
                return bool(await database.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
            except Unavailable:  # the server is still reading its settings
                return False

        await until(encrypted)
    finally:
        await database.close()


async def test_a_postgres_of_another_authority_is_down(postgres: Server, certs: Path) -> None:
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        await asyncpg.connect(settings(postgres, certs / "other" / "ca.pem").postgres_dsn.get_secret_value())
    database = Postgres(settings(postgres, certs / "other" / "ca.pem"))
    await database.start()
    try:
        assert database.state is State.DOWN
    finally:
        await database.close()


@pytest.fixture(scope="module")
def redis_port(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Redis that speaks nothing but TLS."""
    program = shutil.which("redis-server")
    assert program, "Redis is not installed; `make test` installs it"
    port = free_port()
    tls = ["--tls-cert-file", certs / "public.pem", "--tls-key-file", certs / "public-key.pem"]
    command = [program, "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", ""]
    clients = ["--tls-ca-cert-file", certs / "ca.pem", "--tls-auth-clients", "no"]
    folder = tmp_path_factory.mktemp("redis")
    process = subprocess.Popen([*map(str, [*command, *tls, *clients])], stdout=subprocess.PIPE, text=True, cwd=folder)
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "Ready to accept connections" in line:
            break
    else:
        if "TLS" in said or "tls" in said:
            pytest.skip("this Redis was built without TLS")
        pytest.fail(said)
    yield port
    process.terminate()
    process.communicate(timeout=10)


@pytest.fixture
async def redis(redis_port: int, certs: Path) -> AsyncIterator[Redis]:
    """A service's Redis by TLS."""
    client = Redis(
        StoreSettings(redis_url=SecretStr(f"rediss://127.0.0.1:{redis_port}/0?ssl_ca_certs={certs / 'ca.pem'}"))
    )
    await client.start()
    yield client
    await client.close()


async def test_commands_go_to_redis_through_tls(redis: Redis, redis_port: int) -> None:
    async def stored() -> bool:
        try:
            await redis.call(redis.client.set, "key", "value")
            return bool(await redis.call(redis.client.get, "key") == b"value")
        except Unavailable:  # a busy machine takes longer for a handshake than a command may
            return False

    await until(stored)
    assert redis.state is State.OK
    with redis_driver.Redis(port=redis_port) as plain, pytest.raises(redis_driver.RedisError):
        plain.ping()


async def test_a_redis_of_another_authority_is_down(redis_port: int, certs: Path) -> None:
    url = f"rediss://127.0.0.1:{redis_port}/0?ssl_ca_certs={certs / 'other' / 'ca.pem'}"
    client = Redis(StoreSettings(redis_url=SecretStr(url)))
    await client.start()
    try:
        assert client.state is State.DOWN
        with pytest.raises(Unavailable):
            await client.call(client.client.ping)
    finally:
        await client.close()
