"""A real auth service on a database of its own, with accounts whose passwords cost little."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from argon2 import Parameters, PasswordHasher
from argon2.low_level import ARGON2_VERSION, Type
from google.protobuf.message import Message as Reply

from auth.accounts import new_account
from auth.delivery import Message
from auth.outbox import Outbox
from auth.repository import SetUpRepository
from auth.settings import Settings
from auth.signing_keys import KeySeal, generate
from auth.wiring import wire
from geomesh.auth.v1 import account_pb2_grpc, admin_pb2_grpc, auth_pb2_grpc
from geomesh.auth.v1 import auth_pb2 as pb
from meshkit.serve import running
from meshkit.status import from_rpc_error
from tests.ports import free_port

KEY_ENCRYPTION_KEY = "for-the-tests-0123456789-abcdefghij"
PASSWORD = "correct horse battery staple"
EMAIL = "someone@acme.example"

CHEAP = Parameters(
    type=Type.ID, version=ARGON2_VERSION, salt_len=16, hash_len=32, time_cost=1, memory_cost=8192, parallelism=1
)
"""Some 5 ms."""


class Mailbox:
    """Where the tests find messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def deliver(self, message: Message) -> None:
        """Keeps a message."""
        self.messages.append(message)

    async def close(self) -> None:
        """Keeps them also afterwards."""


@dataclass
class Auth:
    """A running service, and the means to arrange what it finds."""

    stub: "auth_pb2_grpc.AuthServiceAsyncStub"
    account: "account_pb2_grpc.AccountServiceAsyncStub"
    admin: "admin_pb2_grpc.AdminServiceAsyncStub"
    settings: Settings
    mailbox: Mailbox = field(default_factory=Mailbox)
    outbox: Outbox | None = None

    async def login(self, email: str = EMAIL, password: str = PASSWORD, code: str = "") -> pb.TokenPair:
        """Signs in."""
        return await self.stub.Login(pb.LoginRequest(email=email, password=password, code=code))

    async def bearer(self, email: str = EMAIL, password: str = PASSWORD, code: str = "") -> tuple[tuple[str, str], ...]:
        """Signs in, and returns the metadata that proves it once the service knows its own keys."""
        token = (await self.login(email, password, code)).access_token
        with suppress(grpc.aio.AioRpcError):  # who may not read anything is known all the same
            await self.who(token)
        return (("authorization", f"Bearer {token}"),)

    async def mails(self) -> list[Message]:
        """Returns what was delivered until now, once nothing is under way."""
        assert self.outbox
        await self.outbox.finished()
        return self.mailbox.messages

    async def audit(self, tenant: str = "acme") -> list[tuple[str, str, str, str]]:
        """Returns event, outcome, subject and details of everything in a tenant's log, the oldest first."""
        async with self.owner() as connection:
            rows = await connection.fetch(
                "SELECT event, outcome, subject, details FROM auth.audit_events WHERE tenant_id = $1 ORDER BY sequence",
                tenant,
            )
        return [tuple(row) for row in rows]

    async def refresh(self, token: str) -> pb.TokenPair:
        """Exchanges a refresh token."""
        return await self.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=token))

    async def who(self, token: str) -> pb.WhoAmIResponse:
        """Asks who the bearer is, once the service has fetched its own keys."""
        async with asyncio.timeout(20):
            while True:
                try:
                    return await self.stub.WhoAmI(pb.WhoAmIRequest(), metadata=(("authorization", f"Bearer {token}"),))
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                await asyncio.sleep(0.05)

    async def keys(self) -> pb.JsonWebKeySet:
        """Returns the published keys."""
        return await self.stub.GetJwks(pb.GetJwksRequest())

    async def add(self, email: str = EMAIL, role: str = "user", tenant: str = "acme") -> None:
        """Adds an account with the password of the tests."""
        password_hash = PasswordHasher.from_parameters(CHEAP).hash(PASSWORD)
        async with self.owner() as connection:
            assert await SetUpRepository(connection).add_account(new_account(email, tenant, role), password_hash)

    async def arrange(self, sql: str) -> Any:
        """Carries a statement out as the owner of the tables and returns its first value."""
        async with self.owner() as connection:
            return await connection.fetchval(sql)

    async def pass_time(self, interval: str) -> None:
        """Makes everything in the database so much older."""
        await self.arrange(f"UPDATE auth.spent_tokens SET spent_at = spent_at - interval '{interval}'")  # noqa: S608
        await self.arrange(
            f"UPDATE auth.sessions SET rotated_at = rotated_at - interval '{interval}', "  # noqa: S608
            f"expires_at = expires_at - interval '{interval}'"
        )

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[asyncpg.Connection]:
        """Yields a connection of the owner of the tables."""
        connection = await asyncpg.connect(self.settings.owner_dsn.get_secret_value())
        try:
            yield connection
        finally:
            await connection.close()


Start = Callable[..., AbstractAsyncContextManager[Auth]]


async def refusal(call: Awaitable[Reply]) -> Any:
    """Returns the error that a call ends with, as a client of ours sees it."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return from_rpc_error(refused.value, "auth")


def make_settings(service_dsn: str, owner_dsn: str, tmp_path: Path, **changes: Any) -> Settings:
    """Returns the settings of a service on any free port, which verifies its own tokens."""
    port = free_port()
    chosen: dict[str, Any] = {
        "port": port,
        "metrics_port": 0,
        "auth_address": f"127.0.0.1:{port}",
        "postgres_dsn": service_dsn,
        "owner_dsn": owner_dsn,
        "key_encryption_key": KEY_ENCRYPTION_KEY,
        "administrator_password_path": tmp_path / "administrator-password",
        "drain_notice_seconds": 0.0,
    }
    return Settings(**(chosen | changes))


@pytest.fixture
def start(database_url: Callable[[str], str], owner_url: Callable[[str], str], redis_url: str, tmp_path: Path) -> Start:
    """Starts replicas on the test's stores; the first one makes the signing key."""

    @asynccontextmanager
    async def started(**changes: Any) -> AsyncIterator[Auth]:
        own = {"redis_url": redis_url, "sign_in_account_burst": 10_000, "sign_in_address_burst": 10_000}
        settings = make_settings(database_url("auth"), owner_url("auth"), tmp_path, **(own | changes))
        seal = KeySeal(settings.derive_keys("signing keys"))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.port}") as channel:
            auth = Auth(
                auth_pb2_grpc.AuthServiceStub(channel),
                account_pb2_grpc.AccountServiceStub(channel),
                admin_pb2_grpc.AdminServiceStub(channel),
                settings,
            )
            async with auth.owner() as connection:
                repository = SetUpRepository(connection)
                if not await repository.find_published_keys():
                    key = generate()
                    await repository.add_key(key.public, seal.close(key))
            wired = wire(settings, parameters=CHEAP, delivery=auth.mailbox)
            auth.outbox = wired.outbox
            async with running(
                settings, servicers=wired.servicers, dependencies=wired.dependencies, tokens=wired.verifier
            ):
                yield auth

    return started


@pytest.fixture
async def auth(start: Start) -> AsyncIterator[Auth]:
    """A service with one account."""
    async with start() as auth:
        await auth.add()
        yield auth
