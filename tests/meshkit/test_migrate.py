# ruff: noqa: S608 -- the names in these statements are made here
"""Provisioning and migrating, on a real Postgres, for a service that exists only here."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from geomesh_local.postgres import create_database, drop_database
from geomesh_local.stack import Stack
from meshkit.migrate import MigrationError, Target, installed_services, migrate

PASSWORD = "p@ss:/?#'\\ö"  # with everything that means something in a URL or in SQL


class Weather:
    """A service with a schema and a role that no other test has: roles belong to the whole cluster."""

    def __init__(self, dsn: str, migrations: Path) -> None:
        self.dsn = dsn
        self.schema = f"weather_{uuid.uuid4().hex[:12]}"
        self.role = f"geomesh_{self.schema}"
        self._migrations = migrations
        self.add_migration(f"CREATE TABLE {self.schema}.stations (id bigint PRIMARY KEY, at geometry(Point, 4326));")

    def add_migration(self, up: str) -> None:
        number = len(list(self._migrations.iterdir())) + 1
        path = self._migrations / f"{number:04}_step.sql"
        path.write_text(f"-- migrate:up\n{up}\n-- migrate:down\nSELECT 1;\n")

    async def migrate(self, password: str = PASSWORD) -> None:
        await migrate(self.dsn, [Target(self.schema, self.role, password, "", self._migrations)])

    async def as_administrator(self, sql: str) -> object:
        return await fetch(await asyncpg.connect(self.dsn), sql)

    async def as_service(self, sql: str, password: str = PASSWORD) -> object:
        return await fetch(await asyncpg.connect(self.dsn, user=self.role, password=password), sql)

    async def applied(self) -> object:
        return await self.as_administrator(f"SELECT array_agg(version ORDER BY 1) FROM {self.schema}.schema_migrations")


async def fetch(connection: "asyncpg.Connection[asyncpg.Record]", sql: str) -> object:
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.fixture
async def weather(stores: Stack, tmp_path: Path) -> AsyncIterator[Weather]:
    admin = stores.admin_dsn("postgres")
    name = f"test_migrate_{uuid.uuid4().hex[:12]}"
    await create_database(admin, name)
    weather = Weather(stores.admin_dsn(name), tmp_path)
    yield weather
    await drop_database(admin, name)
    await fetch(await asyncpg.connect(admin), f'DROP ROLE IF EXISTS "{weather.role}"')


async def test_the_service_can_use_its_tables_and_nothing_else(weather: Weather) -> None:
    await weather.migrate()
    place = "ST_SetSRID(ST_MakePoint(36.8, -1.3), 4326)"
    assert await weather.as_service(f"INSERT INTO stations VALUES (1, {place}) RETURNING id") == 1
    schema = weather.schema
    for forbidden in (f"CREATE TABLE {schema}.mine ()", f"DROP TABLE {schema}.stations", "SELECT 1 FROM pg_authid"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await weather.as_service(forbidden)


async def test_everything_belongs_to_the_owner_and_not_to_the_administrator(weather: Weather) -> None:
    await weather.migrate()
    owners = f"SELECT array_agg(DISTINCT tableowner) FROM pg_tables WHERE schemaname = '{weather.schema}'"
    assert await weather.as_administrator(owners) == ["geomesh_owner"]


async def test_a_second_run_applies_only_what_is_new(weather: Weather) -> None:
    await weather.migrate()
    weather.add_migration(f"ALTER TABLE {weather.schema}.stations ADD COLUMN name text;")
    await weather.migrate()
    await weather.migrate()
    assert await weather.applied() == ["0001", "0002"]


async def test_a_failed_migration_leaves_no_trace_and_names_its_error(weather: Weather) -> None:
    weather.add_migration(f"CREATE TABLE {weather.schema}.half (); SELECT 1/0;")
    with pytest.raises(MigrationError, match="division by zero"):
        await weather.migrate()
    assert await weather.as_administrator(f"SELECT to_regclass('{weather.schema}.half')") is None
    assert await weather.applied() == ["0001"]


async def test_migrators_at_once_apply_each_migration_once(weather: Weather) -> None:
    weather.add_migration("SELECT pg_sleep(0.3);")
    await asyncio.gather(*(weather.migrate() for _ in range(3)))
    assert await weather.applied() == ["0001", "0002"]


async def test_a_new_password_replaces_the_old(weather: Weather) -> None:
    await weather.migrate("old")
    await weather.migrate("new")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await weather.as_service("SELECT 1", "old")
    assert await weather.as_service("SELECT 1", "new") == 1


async def test_refuses_a_role_that_row_level_security_does_not_bind(weather: Weather) -> None:
    await weather.migrate()
    await weather.as_administrator(f"ALTER ROLE {weather.role} BYPASSRLS")
    with pytest.raises(asyncpg.RaiseError, match="above row-level security"):
        await weather.migrate()


@pytest.mark.parametrize(
    "condition",
    [
        "at && ST_MakeEnvelope(0, 0, 1, 1, 4326)",
        "ST_DWithin(at, ST_SetSRID(ST_MakePoint(1, 1), 4326), 0.1)",
        "ST_DWithin(spot, ST_SetSRID(ST_MakePoint(1, 1), 4326)::geography, 1000)",
        "middle <@ cube_enlarge(cube(ARRAY[1, 1, 1]::float8[]), 0.1, 3)",
    ],
)
async def test_row_level_security_leaves_spatial_conditions_their_index(weather: Weather, condition: str) -> None:
    stations = f"{weather.schema}.stations"
    weather.add_migration(
        f"INSERT INTO {stations} SELECT n, ST_SetSRID(ST_MakePoint(n % 180, n % 89), 4326) FROM generate_series(1, 5000) n;"
        f"ALTER TABLE {stations} ADD COLUMN spot geography(Point, 4326); UPDATE {stations} SET spot = at::geography;"
        f"ALTER TABLE {stations} ADD COLUMN middle cube; UPDATE {stations} SET middle = cube(ARRAY[id % 17, id % 71, id % 97]::float8[]);"
        f"CREATE INDEX ON {stations} USING gist (at); CREATE INDEX ON {stations} USING gist (spot);"
        f"CREATE INDEX ON {stations} USING gist (middle);"
        f"ALTER TABLE {stations} ENABLE ROW LEVEL SECURITY; CREATE POLICY even ON {stations} USING (id % 2 = 0);"
    )
    await weather.migrate()
    await weather.as_administrator(f"ANALYZE {stations}")
    plan = str(await weather.as_service(f"EXPLAIN (FORMAT JSON) SELECT id FROM {stations} WHERE {condition}"))
    assert "Index Cond" in plan


@pytest.mark.parametrize(
    ("dsn", "complaint"),
    [
        ("", "GEOMESH_AUTH_POSTGRES_DSN must be set"),
        ("postgresql://geomesh_auth@localhost/geomesh", "hold a password"),
        ("postgresql://postgres:secret@localhost/geomesh", "the service's role is geomesh_auth"),
    ],
)
def test_refuses_a_dsn_that_does_not_say_who_signs_in(dsn: str, complaint: str) -> None:
    with pytest.raises(MigrationError, match=complaint):
        Target.from_environment("auth", {"GEOMESH_AUTH_POSTGRES_DSN": dsn})


def test_refuses_a_service_that_is_not_installed() -> None:
    dsn = "postgresql://geomesh_no_such:secret@localhost/geomesh"
    with pytest.raises(MigrationError, match="no service no_such is installed"):
        Target.from_environment("no-such", {"GEOMESH_NO_SUCH_POSTGRES_DSN": dsn})


def test_takes_a_secret_from_a_file_and_its_escapes_literally(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("postgresql://geomesh_auth:a%40b%2Fc@localhost/geomesh\n")
    found = Target.from_environment("auth", {"GEOMESH_AUTH_POSTGRES_DSN_FILE": str(tmp_path / "dsn")})
    assert (found.schema, found.role, found.password) == ("auth", "geomesh_auth", "a@b/c")


def test_knows_the_services_that_have_migrations() -> None:
    assert {"auth", "airquality", "geocoder", "trajectory"} <= set(installed_services())
    assert "gateway" not in installed_services()
