"""The Python client before a real auth service: every way to sign in, and how it stays signed in."""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyotp
import pytest

from geomesh.auth.v1 import account_pb2, auth_pb2
from geomesh_client import (
    AccessToken,
    ApiKey,
    Client,
    ClientCredentials,
    DeadlineExceeded,
    Password,
    Tokens,
    Unauthenticated,
    Unavailable,
)
from geomesh_client.session import Session
from tests.auth.conftest import EMAIL, PASSWORD, Auth, Start
from tests.auth.programs import bearer, create_key, create_service_account
from tests.auth.test_second_factors import code_of, enrol

if TYPE_CHECKING:
    from geomesh.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub

WHO = auth_pb2.WhoAmIRequest()
ME = Password(EMAIL, PASSWORD)


def url(auth: Auth) -> str:
    return f"http://127.0.0.1:{auth.settings.port}"


async def ready(auth: Auth) -> auth_pb2.TokenPair:
    """Waits until the service knows its own keys, which no edge is here to do, and returns a session."""
    session = await auth.login()
    await auth.who(session.access_token)
    return session


@dataclass
class Counted:
    """Credentials that count how often a session is begun with them, and change its tokens as the test says."""

    credentials: Password | ApiKey | ClientCredentials
    change: Callable[[Tokens], Tokens] = lambda tokens: tokens
    begun: int = 0
    given: list[Tokens] = field(default_factory=list)

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        self.begun += 1
        tokens = self.change(await self.credentials.begin(auth))
        self.given.append(tokens)
        return tokens


def due(tokens: Tokens) -> Tokens:
    """Makes tokens that are to be renewed at once, though they are good."""
    return replace(tokens, renew_at=0.0)


async def test_an_api_key_signs_in_and_is_exchanged_again_when_a_token_is_due(auth: Auth) -> None:
    session = await ready(auth)
    key = (await create_key(auth, session.access_token, "read:own_data", "write:own_data")).key
    credentials = Counted(ApiKey(key, scope="read:own_data"), due)
    async with Client(url(auth), credentials) as mesh:
        assert list((await mesh.auth.WhoAmI(WHO)).permissions) == ["read:public_data", "read:own_data"]
        await mesh.auth.WhoAmI(WHO)
    assert credentials.begun == 2


async def test_a_service_account_signs_in(auth: Auth) -> None:
    await auth.add("chief@acme.example", "tenant_admin")
    await ready(auth)
    made = await create_service_account(auth, (await auth.login("chief@acme.example")).access_token, "premium")
    async with Client(
        url(auth), ClientCredentials(made.service_account.service_account_id, made.client_secret)
    ) as mesh:
        who = await mesh.auth.WhoAmI(WHO)
    assert (who.tenant, list(who.roles)) == ("acme", ["premium"])


@pytest.mark.parametrize(
    "credentials",
    [ApiKey("geomesh_key_made-up"), ClientCredentials("4b1c5f3e-27f4-4f0e-9d0b-0f6f0f8a2c11", "made-up")],
    ids=lambda each: type(each).__name__,
)
async def test_a_made_up_credential_is_refused_in_words(auth: Auth, credentials: ApiKey | ClientCredentials) -> None:
    async with Client(url(auth), credentials) as mesh:
        with pytest.raises(Unauthenticated) as refused:
            await mesh.auth.WhoAmI(WHO)
    assert refused.value.reason == "CREDENTIAL_INVALID"
    assert "made-up" not in repr(credentials)


async def test_a_code_is_asked_for_only_when_the_mesh_asks(auth: Auth) -> None:
    asked = 0
    totp: pyotp.TOTP | None = None

    def code() -> str:
        nonlocal asked
        asked += 1
        assert totp is not None
        return code_of(totp)

    await ready(auth)
    async with Client(url(auth), Password(EMAIL, PASSWORD, code)) as mesh:
        await mesh.auth.WhoAmI(WHO)
    assert asked == 0
    totp, _ = await enrol(auth)
    async with Client(url(auth), Password(EMAIL, PASSWORD, code)) as mesh:
        await mesh.auth.WhoAmI(WHO)
    assert asked == 1


async def test_a_code_may_be_given_at_once_and_is_missed_where_there_is_none(auth: Auth) -> None:
    await ready(auth)
    totp, _ = await enrol(auth)
    async with Client(url(auth), ME) as mesh:
        with pytest.raises(Unauthenticated) as refused:
            await mesh.auth.WhoAmI(WHO)
    assert refused.value.reason == "SECOND_FACTOR_REQUIRED"
    async with Client(url(auth), Password(EMAIL, PASSWORD, code_of(totp))) as mesh:
        assert (await mesh.auth.WhoAmI(WHO)).tenant == "acme"


async def test_accounts_and_administration_are_offered_too(auth: Auth) -> None:
    await ready(auth)
    async with Client(url(auth), ME) as mesh:
        enrolled = await mesh.account.EnrolTotp(account_pb2.EnrolTotpRequest(password=PASSWORD))
    assert enrolled.secret


async def test_whoever_gives_up_does_not_end_the_renewal_that_others_wait_for(auth: Auth) -> None:
    await ready(auth)
    credentials = Counted(ME, due)
    async with Client(url(auth), credentials) as mesh:
        await mesh.auth.WhoAmI(WHO)
        before = await auth.arrange("SELECT count(*) FROM auth.spent_tokens")

        async def who() -> auth_pb2.WhoAmIResponse:
            return await mesh.auth.WhoAmI(WHO)

        calls = [asyncio.create_task(who()) for _ in range(20)]
        await asyncio.sleep(0.001)  # long enough to ask, and too short for an answer
        calls[0].cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each).__name__ for each in done].count("WhoAmIResponse") == 19
    assert await auth.arrange("SELECT count(*) FROM auth.spent_tokens") == before + 1
    assert credentials.begun == 1


async def test_a_good_token_is_used_on_while_it_cannot_be_renewed(start: Start) -> None:
    async with start() as auth:
        await auth.add()
        credentials = Counted(ME, due)
        mesh = Client(url(auth), credentials, timeout_seconds=1.0, attempts=1)
        session = Session(credentials, mesh.auth)
        token = await session.access_token()
    try:
        assert await session.access_token() == token
        with pytest.raises(Unavailable):
            await session.access_token(instead_of=token)
    finally:
        await mesh.close()


async def test_signs_in_again_when_the_session_was_revoked(auth: Auth) -> None:
    await ready(auth)
    credentials = Counted(ME)
    async with Client(url(auth), credentials) as mesh:
        await mesh.auth.WhoAmI(WHO)
        refresh = credentials.given[0].refresh
        await auth.stub.Logout(auth_pb2.LogoutRequest(refresh_token=refresh))
        async with asyncio.timeout(10):
            while credentials.begun == 1:
                await mesh.auth.WhoAmI(WHO)
                await asyncio.sleep(0.05)
    assert credentials.begun == 2


async def test_a_ready_token_that_is_revoked_is_refused_in_words(auth: Auth) -> None:
    session = await ready(auth)
    await auth.stub.Logout(auth_pb2.LogoutRequest(), metadata=bearer(session.access_token))
    async with Client(url(auth), AccessToken(session.access_token)) as mesh, asyncio.timeout(10):
        with pytest.raises(Unauthenticated) as refused:
            while True:
                await mesh.auth.WhoAmI(WHO)
                await asyncio.sleep(0.05)
    assert refused.value.reason == "TOKEN_REVOKED"


async def test_signing_in_takes_no_more_than_the_calls_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes connections, and never says a word
        async with Client(f"http://127.0.0.1:{deaf.getsockname()[1]}", ME) as mesh:
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await mesh.auth.WhoAmI(WHO, timeout=0.5)
            assert time.monotonic() - began < 3
