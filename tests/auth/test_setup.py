"""Setting up: once or twice, by one or by two, after an interruption, and with everything that may be wrong."""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from auth.account_repository import AccountRepository
from auth.accounts import ADMINISTRATOR_EMAIL, new_account
from auth.passwords import Passwords
from auth.settings import Settings
from auth.setup import SetUpError, create_user, set_up
from auth.signing_keys import KeySeal
from meshkit.errors import InvalidInput
from meshkit.postgres import Postgres
from tests.auth.conftest import KEY_ENCRYPTION_KEY, make_settings

NEW = "the-new-key-encryption-key-abcdefghij"
PASSWORD = "provisioned by the operator"


@dataclass
class Installation:
    """An empty database and what is told to set-up."""

    settings: Settings
    path: Path

    def but(self, key_encryption_key: str) -> Settings:
        """Returns the settings with another key-encryption key."""
        return self.settings.model_copy(update={"key_encryption_key": SecretStr(key_encryption_key)})

    async def find(self, sql: str) -> Any:
        """Returns the first value that a statement finds."""
        connection = await asyncpg.connect(self.settings.owner_dsn.get_secret_value())
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    async def signs_in(self, password: str, email: str = ADMINISTRATOR_EMAIL) -> bool:
        """Tells whether the service would let someone in."""
        database = Postgres(self.settings)
        await database.start()
        try:
            found = await AccountRepository(database).find(email)
            return await Passwords(threads=1, waiting=0).verify(found.password_hash if found else None, password)
        finally:
            await database.close()

    async def run(self, *arguments: str, lines: str = "", **changes: str) -> tuple[int, str, str]:
        """Runs the command and returns its exit code and what it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "auth.setup",
            *arguments,
            env=self._environment() | changes,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate(lines.encode())
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    def _environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("GEOMESH_")},
            "GEOMESH_AUTH_OWNER_DSN": self.settings.owner_dsn.get_secret_value(),
            "GEOMESH_AUTH_KEY_ENCRYPTION_KEY": KEY_ENCRYPTION_KEY,
            "GEOMESH_AUTH_ADMINISTRATOR_PASSWORD_PATH": str(self.path),
        }


@pytest.fixture
def installation(database_url: Callable[[str], str], owner_url: Callable[[str], str], tmp_path: Path) -> Installation:
    path = tmp_path / "made" / "administrator-password"
    settings = make_settings(database_url("auth"), owner_url("auth"), tmp_path, administrator_password_path=path)
    return Installation(settings, path)


async def test_makes_a_key_and_an_administrator_with_a_password_in_a_file(installation: Installation) -> None:
    await set_up(installation.settings)
    assert await installation.find("SELECT count(*) FROM auth.signing_keys WHERE signs_from <= now()") == 1
    assert await installation.find("SELECT roles FROM auth.accounts") == ["system_admin"]
    assert await installation.find("SELECT tenant_id FROM auth.accounts") == "public"
    password = installation.path.read_text().strip()
    assert len(password) >= 24
    assert installation.path.stat().st_mode & 0o777 == 0o600
    assert await installation.signs_in(password)
    assert [each.name for each in installation.path.parent.iterdir()] == [installation.path.name]
    recorded = "SELECT array_agg(event ORDER BY sequence) FROM auth.audit_events WHERE tenant_id = 'public'"
    assert await installation.find(recorded) == ["key.created", "user.created"]


async def test_run_again_it_changes_nothing(installation: Installation) -> None:
    await set_up(installation.settings)
    everything = (
        "SELECT (SELECT string_agg(k::text, '') FROM auth.signing_keys k) || (SELECT a::text FROM auth.accounts a) || "
        "(SELECT count(*) FROM auth.audit_events)"
    )
    before, password = await installation.find(everything), installation.path.read_text()
    await set_up(installation.settings)
    assert await installation.find(everything) == before
    assert installation.path.read_text() == password


async def test_two_at_once_make_one_of_each(installation: Installation) -> None:
    results = await asyncio.gather(*(installation.run() for _ in range(3)))
    assert [code for code, _, _ in results] == [0, 0, 0]
    assert await installation.find("SELECT count(*) FROM auth.signing_keys") == 1
    assert await installation.find("SELECT count(*) FROM auth.accounts") == 1
    assert await installation.signs_in(installation.path.read_text().strip())


async def test_goes_on_where_a_run_ended_between_file_and_account(installation: Installation) -> None:
    await set_up(installation.settings)
    password = installation.path.read_text().strip()
    await installation.find("DELETE FROM auth.accounts")
    await set_up(installation.settings)
    assert installation.path.read_text().strip() == password
    assert await installation.signs_in(password)


@pytest.mark.parametrize("left", ["", "\n"])
async def test_an_empty_password_file_is_none(installation: Installation, left: str) -> None:
    installation.path.parent.mkdir()
    installation.path.write_text(left)
    (installation.path.parent / f".{installation.path.name}.new").write_text("half a passw")
    await set_up(installation.settings)
    assert await installation.signs_in(installation.path.read_text().strip())


async def test_makes_a_key_where_only_that_is_missing(installation: Installation) -> None:
    await set_up(installation.settings)
    await installation.find("DELETE FROM auth.signing_keys")
    await set_up(installation.settings)
    assert await installation.find("SELECT count(*) FROM auth.signing_keys") == 1


async def test_makes_a_key_where_all_are_withdrawn(installation: Installation) -> None:
    await set_up(installation.settings)
    await installation.find("UPDATE auth.signing_keys SET published_until = now()")
    await set_up(installation.settings)
    assert await installation.find("SELECT count(*) FROM auth.signing_keys") == 2


async def test_takes_the_password_that_the_operator_provides(installation: Installation) -> None:
    installation.path.parent.mkdir()
    installation.path.write_text(f"{PASSWORD}\n")
    await set_up(installation.settings)
    assert await installation.signs_in(PASSWORD)
    assert installation.path.read_text() == f"{PASSWORD}\n"


async def test_an_administrator_may_delete_the_file(installation: Installation) -> None:
    await set_up(installation.settings)
    password = installation.path.read_text().strip()
    installation.path.unlink()
    await set_up(installation.settings)
    assert not installation.path.exists()
    assert await installation.signs_in(password)


@pytest.mark.parametrize("password", ["short", "x" * 257])
async def test_refuses_a_provided_password_that_sign_in_would_not_take(
    installation: Installation, password: str
) -> None:
    installation.path.parent.mkdir()
    installation.path.write_text(password)
    with pytest.raises(SetUpError, match=r"administrator-password: password: "):
        await set_up(installation.settings)
    assert await installation.find("SELECT count(*) FROM auth.accounts") == 0
    assert await installation.find("SELECT count(*) FROM auth.signing_keys") == 0


async def test_says_what_is_wrong_with_the_password_file(installation: Installation) -> None:
    installation.path.mkdir(parents=True)
    code, _, errors = await installation.run()
    assert code == 1
    assert "GEOMESH_AUTH_ADMINISTRATOR_PASSWORD_PATH" in errors
    assert "Traceback" not in errors


async def test_asks_for_the_place_of_the_password(installation: Installation) -> None:
    settings = installation.settings.model_copy(update={"administrator_password_path": None})
    with pytest.raises(SetUpError, match="ADMINISTRATOR_PASSWORD_PATH"):
        await set_up(settings)


@pytest.mark.parametrize("secret", ["", "short", "a" * 64])
async def test_a_useless_key_encryption_key_is_refused_in_one_line(installation: Installation, secret: str) -> None:
    code, output, errors = await installation.run(GEOMESH_AUTH_KEY_ENCRYPTION_KEY=secret)
    assert (code, output) == (1, "")
    assert errors.count("\n") == 1
    assert "GEOMESH_AUTH_KEY_ENCRYPTION_KEY" in errors
    assert not secret or secret not in errors


async def test_refuses_a_key_encryption_key_that_does_not_open_the_keys(installation: Installation) -> None:
    await set_up(installation.settings)
    with pytest.raises(SetUpError, match="KEY_ENCRYPTION_KEY"):
        await set_up(installation.but(NEW))
    assert await installation.find("SELECT count(*) FROM auth.signing_keys") == 1


async def test_changes_the_key_encryption_key(installation: Installation) -> None:
    await set_up(installation.settings)
    key_id = await installation.find("SELECT key_id FROM auth.signing_keys")
    await set_up(installation.but(f"{NEW} {KEY_ENCRYPTION_KEY}"))
    only_new = installation.but(NEW)
    await set_up(only_new)
    sealed = await installation.find("SELECT sealed FROM auth.signing_keys")
    assert KeySeal(only_new.derive_keys("signing keys")).open(sealed).public.key_id == key_id


async def test_a_database_that_is_away_is_said_in_one_line(installation: Installation) -> None:
    code, _, errors = await installation.run(GEOMESH_AUTH_OWNER_DSN="postgresql://nobody@127.0.0.1:9/nothing")
    assert code == 1
    assert errors.startswith("auth.setup: GEOMESH_AUTH_OWNER_DSN: ")
    assert errors.count("\n") == 1


async def test_creates_a_user_and_prints_the_password_last(installation: Installation) -> None:
    code, output, _ = await installation.run(
        "create-user", "--email", "New@Acme.example", "--role", "tenant_admin", "--tenant", "acme"
    )
    assert code == 0
    assert await installation.signs_in(output.split()[-1], "new@acme.example")
    assert await installation.find("SELECT plan FROM auth.accounts") == "enterprise"
    recorded = "SELECT details ->> 'roles' FROM auth.audit_events WHERE tenant_id = 'acme' AND event = 'user.created'"
    assert await installation.find(recorded) == '["tenant_admin"]'


async def test_creates_a_user_with_a_password_that_it_does_not_print(installation: Installation) -> None:
    code, output, _ = await installation.run(
        *("create-user", "--email", "new@acme.example", "--role", "user", "--tenant", "acme"),
        *("--plan", "premium", "--password-stdin"),
        lines=f"{PASSWORD}\n",
    )
    assert code == 0
    assert PASSWORD not in output
    assert await installation.signs_in(PASSWORD, "new@acme.example")
    assert await installation.find("SELECT plan FROM auth.accounts") == "premium"


@pytest.mark.parametrize(("lines", "said"), [("", "password: must not be empty"), ("short\n", "at least 8 characters")])
async def test_refuses_a_bad_password_from_the_input(installation: Installation, lines: str, said: str) -> None:
    code, _, errors = await installation.run(
        *("create-user", "--email", "new@acme.example", "--role", "user", "--tenant", "acme", "--password-stdin"),
        lines=lines,
    )
    assert code == 1
    assert said in errors
    assert await installation.find("SELECT count(*) FROM auth.accounts") == 0


async def test_one_address_has_one_account(installation: Installation) -> None:
    await create_user(installation.settings, new_account("one@acme.example", "acme", "user"), PASSWORD)
    with pytest.raises(SetUpError, match="already"):
        await create_user(installation.settings, new_account("ONE@acme.example", "other", "premium"), "another one")
    assert await installation.signs_in(PASSWORD, "one@acme.example")


@pytest.mark.parametrize("email", ["", "no address", "two@acme.example, three@acme.example", f"{'a' * 250}@b.example"])
async def test_makes_no_account_that_could_not_sign_in(installation: Installation, email: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await create_user(installation.settings, new_account(email, "acme", "user"), PASSWORD)
    assert refused.value.violations[0].field == "email"


@pytest.mark.parametrize(
    ("tenant", "role", "plan", "field"),
    [
        ("acme", "emperor", None, "role"),
        ("acme", "", None, "role"),
        ("acme", "user", "unlimited", "plan"),
        ("", "user", None, "tenant"),
        ("Acme", "user", None, "tenant"),
        ("-acme", "user", None, "tenant"),
        ("acme'; --", "user", None, "tenant"),
        ("a" * 64, "user", None, "tenant"),
        ("acme\n", "user", None, "tenant"),
        ("public", "user", None, "tenant"),
        ("public", "tenant_admin", None, "tenant"),
    ],
)
def test_refuses_an_account_that_means_nothing(tenant: str, role: str, plan: str | None, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        new_account("new@acme.example", tenant, role, plan)
    assert refused.value.violations[0].field == field
