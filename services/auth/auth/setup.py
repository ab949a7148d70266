"""Prepares the auth service: `python -m auth.setup` makes the signing key and the administrator where they are missing.

Run again, it skips what is there, and mends what an interrupted run left. `python -m auth.setup create-user` adds an
account.
"""

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg

from auth.accounts import ADMINISTRATOR, LEAST_PASSWORD_LENGTH, NewAccount, new_account
from auth.audit import Event
from auth.guessing import refuse_guessable
from auth.passwords import Passwords, cost
from auth.repository import SetUpRepository
from auth.settings import Settings
from auth.signing_keys import KeySeal, SealError, generate
from geomesh.auth.v1 import auth_pb2 as pb
from meshkit.errors import InvalidInput
from meshkit.identity import PLANS, PUBLIC_TENANT, ROLES
from meshkit.validation import validate

_PASSWORD_BYTES: Final = 18


class SetUpError(Exception):
    """Set-up cannot go on; the text tells an operator what to do."""


async def set_up(settings: Settings) -> None:
    """Makes the signing key and the administrator's account where they are missing.

    Raises:
        SetUpError: The key-encryption key or the password file is of no use.
    """
    async with _repository(settings) as repository:
        await repository.lock()
        await _ensure_signing_key(repository, KeySeal(settings.derive_keys("signing keys")))
        await _ensure_administrator(repository, settings)


async def create_user(settings: Settings, account: NewAccount, password: str | None) -> None:
    """Adds an account and prints its password, unless the caller knows it.

    Args:
        settings: Where the database is.
        account: The account.
        password: Its password; None makes a random one.

    Raises:
        InvalidInput: Nobody could sign in with this address or password.
        SetUpError: There is an account with this address.
    """
    async with _repository(settings) as repository:
        await _add(repository, settings, account, chosen := password or _random_password())
    known = "" if password else f"; its password is {chosen}"
    print(f"auth: {account.email} is a {account.role} of tenant {account.tenant}{known}")  # noqa: T201 - a command's answer


@asynccontextmanager
async def _repository(settings: Settings) -> AsyncIterator[SetUpRepository]:
    """Yields a repository whose changes are made together, at the end."""
    try:
        connection = await asyncpg.connect(settings.owner_dsn.get_secret_value(), server_settings={"timezone": "UTC"})
    except (OSError, asyncpg.PostgresError) as error:
        raise SetUpError(f"GEOMESH_AUTH_OWNER_DSN: the database does not let us in: {error}") from error
    try:
        async with connection.transaction():
            yield SetUpRepository(connection)
    finally:
        await connection.close()


async def _ensure_signing_key(repository: SetUpRepository, seal: KeySeal) -> None:
    stored = await repository.find_published_keys()
    for key in stored:
        try:
            opened = seal.open(key.sealed)
        except SealError as error:
            raise SetUpError(f"GEOMESH_AUTH_KEY_ENCRYPTION_KEY: {error}") from None
        if not seal.is_current(key.sealed):
            await repository.seal_key(key.public.key_id, seal.close(opened))
            _say(f"signing key {key.public.key_id} is sealed with the new key-encryption key")
    if any(key.signs for key in stored):
        _say("the signing key is there")
        return
    made = generate()
    await repository.add_key(made.public, seal.close(made))
    await repository.record("key.created", PUBLIC_TENANT, "", {"kid": made.public.key_id})
    _say(f"signing key {made.public.key_id} is made")


async def _ensure_administrator(repository: SetUpRepository, settings: Settings) -> None:
    if await repository.has_account(ADMINISTRATOR.email):
        _say(f"the administrator {ADMINISTRATOR.email} is there")
        return
    path = settings.administrator_password_path
    if path is None:
        raise SetUpError("GEOMESH_AUTH_ADMINISTRATOR_PASSWORD_PATH: say where the administrator's password is or goes")
    # The file comes before the account: a run that ends between the two is mended by the next one, which takes the
    # password from the file. The other way round nobody would ever know the password.
    try:
        await _add(repository, settings, ADMINISTRATOR, _password_in(path))
    except InvalidInput as error:
        raise SetUpError(f"{path}: {error}") from None
    _say(f"the administrator {ADMINISTRATOR.email} is made, with the password in {path}")


def _password_in(path: Path) -> str:
    """Returns the password in the file; makes one where there is none, or an empty file."""
    try:
        if path.exists() and (password := path.read_text().strip()):
            return password
        password = _random_password()
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - of a descriptor
            file.write(f"{password}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise SetUpError(f"GEOMESH_AUTH_ADMINISTRATOR_PASSWORD_PATH: {error}") from error
    return password


async def _add(repository: SetUpRepository, settings: Settings, account: NewAccount, password: str) -> None:
    # By the contract's own rules, so that no account is made that sign-in would refuse.
    validate(pb.LoginRequest(email=account.email, password=password))
    if len(password) < LEAST_PASSWORD_LENGTH:
        raise InvalidInput("password", f"must be at least {LEAST_PASSWORD_LENGTH} characters")
    refuse_guessable("password", password, (account.email, account.tenant))
    parameters = cost(settings.password_memory_kib, settings.password_passes, settings.password_lanes)
    hashed = await Passwords(threads=1, waiting=0, parameters=parameters).hash(password)
    account_id = await repository.add_account(account, hashed)
    if account_id is None:
        raise SetUpError(f"there is an account {account.email} already")
    details = {"email": account.email, "roles": [account.role]}
    await repository.record(Event.USER_CREATED, account.tenant, account_id, details)


def _random_password() -> str:
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def _say(text: str) -> None:
    print(f"auth: {text}", flush=True)  # noqa: T201 - a command's answer


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m auth.setup", description="Prepares the auth service.")
    create = parser.add_subparsers(dest="command").add_parser("create-user", help="add an account")
    create.add_argument("--email", required=True)
    create.add_argument("--role", required=True, help=", ".join(ROLES))
    create.add_argument("--tenant", required=True)
    create.add_argument("--plan", help=f"{', '.join(PLANS)}; usually the role's own")
    create.add_argument(
        "--password-stdin", action="store_true", help="read the password instead of making and printing one"
    )
    return parser.parse_args()


async def _main(arguments: argparse.Namespace, settings: Settings) -> None:
    if arguments.command is None:
        await set_up(settings)
        return
    account = new_account(arguments.email, arguments.tenant, arguments.role, arguments.plan)
    if not arguments.password_stdin:
        await create_user(settings, account, None)
        return
    # Empty input is an empty password, which is refused, and not none, which would be made up and printed.
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise InvalidInput("password", "must not be empty")
    await create_user(settings, account, password)


if __name__ == "__main__":
    try:
        asyncio.run(_main(_arguments(), Settings.load()))
    except (SetUpError, InvalidInput) as problem:
        sys.exit(f"auth.setup: {problem}")
