"""Keeps the signing keys: `python -m auth.keys list`, `rotate` and `withdraw KEY_ID`.

A new key is published first and signs later, when everyone has it; the key before it stays published until the last
token that it signed has expired. So no call fails while keys change.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import asyncpg

from auth import audit
from auth.repository import SetUpRepository
from auth.settings import Settings
from auth.signing_keys import KeySeal, SealError, generate
from meshkit.identity import PUBLIC_TENANT

# Beyond the life of the last token: a replica may sign with the old key a little longer, and clocks differ.
_MARGIN: Final = timedelta(minutes=10)


class RotationError(Exception):
    """A command cannot be carried out; the text tells an operator what to do."""


async def rotate(settings: Settings, *, publish_seconds: int | None = None) -> str:
    """Publishes a new key that takes over after a while, and returns its id; forgets the keys that nobody needs.

    Args:
        settings: Where the database is, and for how long a key is published before it signs.
        publish_seconds: That time, if it is to be another one.
    """
    seal = KeySeal(settings.derive_keys("signing keys"))
    wait = timedelta(seconds=settings.key_publish_seconds if publish_seconds is None else publish_seconds)
    made = generate()
    async with _repository(settings) as (connection, repository):
        for key in await repository.find_published_keys():
            try:
                seal.open(key.sealed)
            except SealError as error:
                raise RotationError(f"GEOMESH_AUTH_KEY_ENCRYPTION_KEY: {error}") from None
        await repository.add_key(made.public, seal.close(made), signs_after=wait)
        lives = timedelta(seconds=settings.access_token_seconds + settings.signing_keys_seconds) + _MARGIN
        await repository.retire_keys(made.public.key_id, signs_after=wait, tokens_live=lives)
        await repository.forget_keys()
        await audit.record(connection, "key.rotated", tenant=PUBLIC_TENANT, details={"kid": made.public.key_id})
    _say(f"key {made.public.key_id} is published and signs in {wait.total_seconds():g} s")
    # A replica of auth may show an old list for the first of these, and a service that has just asked it waits the second.
    known_after = settings.signing_keys_seconds + settings.jwks_refetch_seconds
    if wait.total_seconds() < known_after:
        _say(f"until {known_after:g} s from now some services may not know it: calls with tokens of this key may fail")
    return made.public.key_id


async def withdraw(settings: Settings, key_id: str) -> None:
    """Withdraws a key that is known to others: at once, with every token that it signed.

    Where no other key signs, a new one does from now on. Services that have not seen it yet ask for it when they meet it.

    Raises:
        RotationError: No such key is published.
    """
    seal = KeySeal(settings.derive_keys("signing keys"))
    async with _repository(settings) as (connection, repository):
        if not await repository.withdraw_key(key_id):
            raise RotationError(f"there is no published key {key_id}")
        if not any(key.signs for key in await repository.find_published_keys()):
            made = generate()
            await repository.add_key(made.public, seal.close(made))
            _say(f"key {made.public.key_id} signs from now on")
        await audit.record(connection, "key.withdrawn", tenant=PUBLIC_TENANT, details={"kid": key_id})
    _say(f"key {key_id} is withdrawn")


async def show(settings: Settings) -> None:
    """Prints the published keys, the newest first."""
    async with _repository(settings) as (_, repository):
        keys = await repository.list_keys()
    signing = next((key.key_id for key in keys if key.signs), "")
    for key in keys:
        state = "signs" if key.key_id == signing else "signed" if key.signs else "will sign"
        until = f", published until {key.published_until:%Y-%m-%d %H:%M:%S}Z" if key.published_until else ""
        _say(f"{key.key_id} {state} from {key.signs_from:%Y-%m-%d %H:%M:%S}Z{until}")


@asynccontextmanager
async def _repository(settings: Settings) -> AsyncIterator[tuple[asyncpg.Connection, SetUpRepository]]:
    """Yields a repository that nobody else works with, and whose changes are made together, at the end."""
    try:
        connection = await asyncpg.connect(settings.owner_dsn.get_secret_value(), server_settings={"timezone": "UTC"})
    except (OSError, asyncpg.PostgresError) as error:
        raise RotationError(f"GEOMESH_AUTH_OWNER_DSN: the database does not let us in: {error}") from error
    try:
        async with connection.transaction():
            repository = SetUpRepository(connection)
            await repository.lock()
            yield connection, repository
    finally:
        await connection.close()


def _say(text: str) -> None:
    print(f"auth: {text}", flush=True)  # noqa: T201 - a command's answer


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m auth.keys", description="Keeps the signing keys.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show the published keys")
    rotating = commands.add_parser("rotate", help="publish a new key, which signs when everyone has it")
    rotating.add_argument(
        "--publish-seconds", type=int, help="how long before it signs; GEOMESH_AUTH_KEY_PUBLISH_SECONDS"
    )
    withdrawing = commands.add_parser("withdraw", help="withdraw a key at once, with the tokens that it signed")
    withdrawing.add_argument("key_id")
    return parser.parse_args()


async def _main(arguments: argparse.Namespace, settings: Settings) -> None:
    if arguments.command == "list":
        await show(settings)
    elif arguments.command == "rotate":
        await rotate(settings, publish_seconds=arguments.publish_seconds)
    else:
        await withdraw(settings, arguments.key_id)


if __name__ == "__main__":
    try:
        asyncio.run(_main(_arguments(), Settings.load()))
    except RotationError as problem:
        sys.exit(f"auth.keys: {problem}")
