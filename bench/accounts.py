"""Signing in and refreshing beside few accounts and beside a million: two databases of one Postgres, an auth service each.

The stack has its own stores and nothing but these two services, so nothing else is measured. The million is made by SQL
and not by signing up: it takes half a minute, and is the same for every run.
"""

import asyncio
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import asyncpg
import grpc
from argon2 import Parameters, PasswordHasher
from pydantic import SecretStr

from auth.access_tokens import AccessTokens
from auth.accounts import Account
from auth.passwords import Passwords, cost
from auth.refresh_tokens import digest
from auth.settings import Settings
from auth.signing_keys import KeySeal
from bench.load import ghz
from bench.mesh import RUN, settle
from bench.report import Row, floor, in_turn, ratio
from gateway.contract import load
from geomesh_local.ports import PortPlan, program_name
from geomesh_local.postgres import drop_database
from geomesh_local.stack import Stack
from geomesh_local.stores import locked, migrate_database, start_stores

SERVICE: Final = "geomesh.auth.v1.AuthService"
SECONDS: Final = 2.0
ROUNDS: Final = 5
FEW: Final = 1_000
USERS: Final = 1_000_000
SESSIONS: Final = 100_000
PER_TENANT: Final = 1_000
PER_SESSION: Final = USERS // SESSIONS
SIGNING_IN: Final = 8
"""Logins under way at one time: enough for all threads that check passwords, and not more than may wait."""
MOST_PER_SECOND: Final = 3_000
"""More calls a second than one process answers, so that no token is used twice."""

_PASSWORD: Final = "nine wet badgers beneath a bench"  # noqa: S105 -- of accounts that live for a minute
CHEAP: Final = {"PASSWORD_MEMORY_KIB": "8192", "PASSWORD_PASSES": "1", "PASSWORD_LANES": "1"}
"""Some 5 ms a password, so that whatever else signing in costs can be seen; at the usual cost it is lost in the noise."""
USUAL: Final[Mapping[str, str]] = MappingProxyType({})

_SETTINGS: Final = {"SIGN_IN_ACCOUNT_BURST": "100000", "SIGN_IN_ADDRESS_BURST": "1000000", "LOG_LEVEL": "WARNING"}

_TENANTS: Final = """
INSERT INTO auth.tenants (tenant_id, display_name, plan)
SELECT 'bench-' || n, 'bench', 'user' FROM generate_series(0, ($1::int - 1) / $2::int) AS n
"""
_ACCOUNTS: Final = """
INSERT INTO auth.accounts (email, password_hash, tenant_id, roles, plan)
SELECT 'bench-' || n || '@bench.example', $1::text, 'bench-' || n / $2::int, '{user}', 'user'
FROM generate_series(0, $3::int - 1) AS n
"""
_ADD_SESSIONS: Final = """
INSERT INTO auth.sessions (session_id, account_id, tenant_id, token_digest, expires_at)
SELECT gen_random_uuid(), a.account_id, a.tenant_id, t.digest, now() + interval '30 days'
FROM unnest($1::bytea[], $2::text[]) AS t (digest, email)
JOIN auth.accounts AS a ON a.email = t.email
"""
_PEOPLE: Final = """
SELECT a.account_id::text AS account_id, a.tenant_id
FROM unnest($1::text[]) AS t (email) JOIN auth.accounts AS a ON a.email = t.email
"""


@dataclass(frozen=True)
class Side:
    """An auth service on a database with so many accounts."""

    stack: Stack
    database: str
    accounts: int
    replica: int

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.stack.ports.grpc('auth', self.replica)}"

    def environment(self, cost_of_passwords: Mapping[str, str]) -> dict[str, str]:
        """Returns its variables."""
        own = {
            "POSTGRES_DSN": self.stack.service_dsn("auth", self.database),
            "REDIS_URL": self.stack.redis_url(self.replica),
            "AUTH_ADDRESS": self.address,
        }
        variables = {
            f"GEOMESH_AUTH_{name}": value for name, value in (_SETTINGS | own | dict(cost_of_passwords)).items()
        }
        programs = {each.name: each.environment for each in self.stack.services()}
        return os.environ | programs[program_name("auth", self.replica)] | variables

    def emails(self, number: int) -> list[str]:
        """Returns addresses of its accounts, drawn at random."""
        return [f"bench-{random.randrange(self.accounts)}@bench.example" for _ in range(number)]


def rows() -> Iterator[Row]:
    """Each figure is taken beside a million accounts and beside few, in turn, so that the machine's moods hit both."""
    with _sides() as (few, many), tempfile.TemporaryDirectory() as folder:
        protoset = Path(folder) / "geomesh.binpb"
        protoset.write_bytes(load().descriptor_set())

        def rate(side: Side, method: str, requests: list[dict[str, Any]], in_flight: int = 32) -> float:
            (bearer,) = asyncio.run(_access_tokens(side, 1, "system_admin"))
            found = ghz(
                side.address,
                f"{SERVICE}.{method}",
                requests,
                protoset=protoset,
                seconds=SECONDS,
                metadata={"authorization": f"Bearer {bearer}"},
                in_flight=in_flight,
            )
            return found.per_second

        def refreshing(side: Side) -> float:
            return rate(side, "RefreshToken", _refreshes(side))

        def looking(side: Side) -> float:
            return rate(side, "IntrospectToken", _introspections(side))

        def signing_in(side: Side) -> float:
            requests = [{"email": email, "password": _PASSWORD} for email in side.emails(500)]
            return rate(side, "Login", requests, SIGNING_IN)

        beside = f"{USERS:,} accounts, {SESSIONS:,} sessions / {FEW:,} accounts"
        with _serving(few, CHEAP), _serving(many, CHEAP):
            settle()
            ours, limit = in_turn(lambda: refreshing(many), lambda: refreshing(few), rounds=ROUNDS)
            yield floor("RefreshToken, one process", limit, "calls/s", 500)
            yield ratio(f"RefreshToken, {beside}", ours, limit, "calls/s", 0.90)
            ours, limit = in_turn(lambda: looking(many), lambda: looking(few), rounds=ROUNDS)
            yield ratio(
                f"IntrospectToken, each token verified for the first time, {beside}", ours, limit, "calls/s", 0.90
            )
            ours, limit = in_turn(lambda: signing_in(many), lambda: signing_in(few), rounds=ROUNDS)
            yield ratio(f"Login with a cheap password hash, {beside}", ours, limit, "calls/s", 0.90)
        asyncio.run(_hash_anew(few))
        with _serving(few, USUAL):
            ours, limit = in_turn(lambda: signing_in(few), _argon2_alone, rounds=ROUNDS)
            yield ratio("Login / Argon2id alone: its share of Login", ours, limit, "calls/s", 0.80)


def _argon2_alone() -> float:
    """Returns how many passwords a second the service's own threads check when nobody calls."""

    async def checked() -> float:
        settings = _settings()
        passwords = Passwords(
            threads=settings.password_threads, waiting=settings.password_waiting, parameters=_cost(settings)
        )
        hashed = await passwords.hash(_PASSWORD)
        started = time.monotonic()

        async def one() -> int:
            done = 0
            while time.monotonic() < started + SECONDS:
                assert await passwords.verify(hashed, _PASSWORD)
                done += 1
            return done

        done = sum(await asyncio.gather(*(one() for _ in range(SIGNING_IN))))
        return done / (time.monotonic() - started)

    return asyncio.run(checked())


def _settings(
    cost_of_passwords: Mapping[str, str] = USUAL, key_encryption_key: str = "that-nothing-is-sealed-with-0123456789"
) -> Settings:
    costs: dict[str, Any] = {name.lower(): value for name, value in cost_of_passwords.items()}
    return Settings(key_encryption_key=SecretStr(key_encryption_key), **costs)


def _cost(settings: Settings) -> Parameters:
    return cost(settings.password_memory_kib, settings.password_passes, settings.password_lanes)


def _refreshes(side: Side) -> list[dict[str, Any]]:
    tokens = [secrets.token_urlsafe(32) for _ in range(round(MOST_PER_SECOND * SECONDS))]
    asyncio.run(_add_sessions(side, tokens))
    return [{"refresh_token": token} for token in tokens]


async def _add_sessions(side: Side, tokens: Sequence[str]) -> None:
    async with _superuser(side) as owner:
        await owner.execute(_ADD_SESSIONS, [digest(each) for each in tokens], side.emails(len(tokens)))


def _introspections(side: Side) -> list[dict[str, Any]]:
    return [{"token": each} for each in asyncio.run(_access_tokens(side, round(MOST_PER_SECOND * SECONDS)))]


async def _access_tokens(side: Side, number: int, role: str = "user") -> list[str]:
    """Returns tokens of accounts drawn at random, signed as the service itself does it."""
    async with _superuser(side) as owner:
        people = await owner.fetch(_PEOPLE, side.emails(number))
        sealed = await owner.fetchval("SELECT sealed FROM auth.signing_keys")
    settings = _settings(key_encryption_key=side.stack.credentials["key_encryption"])
    key = KeySeal(settings.derive_keys("signing keys")).open(sealed)
    issuer = AccessTokens(settings.token_issuer, settings.token_audience, settings.access_token_seconds)
    return [issuer.issue(Account(each["account_id"], each["tenant_id"], (role,), "user"), key) for each in people]


@asynccontextmanager
async def _superuser(side: Side) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(side.stack.admin_dsn(side.database), command_timeout=300)
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def _sides() -> Iterator[tuple[Side, Side]]:
    """Makes both databases, for this run alone."""
    run = RUN.with_name("bench-accounts")
    run.mkdir(parents=True, exist_ok=True)
    stack = Stack(run, PortPlan.free(2, start=23_000), 2)
    sides = Side(stack, "few", FEW, 0), Side(stack, "many", USERS, 1)
    with locked(run / "lock", wait=False), ExitStack() as running:
        running.callback(stack.supervisor.shut_down)
        asyncio.run(start_stores(stack))
        for side in sides:
            _make(side)
        yield sides


def _make(side: Side) -> None:
    """Makes the database anew, with its accounts and sessions."""
    started = time.monotonic()
    asyncio.run(drop_database(side.stack.admin_dsn("postgres"), side.database))
    asyncio.run(migrate_database(side.stack, side.database, ["auth"]))
    set_up = [sys.executable, "-m", "auth.setup"]
    subprocess.run(set_up, env=side.stack.setup_environment(side.database), check=True, stdout=subprocess.DEVNULL)
    asyncio.run(_fill(side))
    print(f"  {side.accounts:,} accounts: made in {time.monotonic() - started:.0f} s", flush=True)


async def _fill(side: Side) -> None:
    hashed = _hashed(CHEAP)
    async with _superuser(side) as connection:
        # What is inserted is right as it is; looking up each row's tenant would take most of the time.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(_TENANTS, side.accounts, PER_TENANT)
        await connection.execute(_ACCOUNTS, hashed, PER_TENANT, side.accounts)
    await _add_sessions(side, [secrets.token_urlsafe(32) for _ in range(side.accounts // PER_SESSION)])
    async with _superuser(side) as connection:
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")


async def _hash_anew(side: Side) -> None:
    async with _superuser(side) as connection:
        await connection.execute("UPDATE auth.accounts SET password_hash = $1", _hashed(USUAL))


def _hashed(cost_of_passwords: Mapping[str, str]) -> str:
    return PasswordHasher.from_parameters(_cost(_settings(cost_of_passwords))).hash(_PASSWORD)


@contextmanager
def _serving(side: Side, cost_of_passwords: Mapping[str, str]) -> Iterator[None]:
    environment = side.environment(cost_of_passwords)
    process = subprocess.Popen([sys.executable, "-m", "auth"], env=environment, stdout=subprocess.DEVNULL)
    try:
        with grpc.insecure_channel(side.address) as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        yield
    finally:
        process.terminate()
        process.wait()
