"""Signing out, the list of sessions, and what is refused from then on."""

import asyncio
from typing import Any

import grpc
import redis.asyncio

from auth import revocation
from auth.credential_repository import RevocationRepository
from geomesh.auth.v1 import auth_pb2 as pb
from meshkit.errors import Reason
from meshkit.postgres import Postgres
from meshkit.revocations import KEYS
from tests.auth.conftest import EMAIL, PASSWORD, Auth, Start, refusal
from tests.auth.programs import bearer, refused_with


async def sessions(auth: Auth, token: str, **fields: Any) -> pb.ListSessionsResponse:
    return await auth.stub.ListSessions(pb.ListSessionsRequest(**fields), metadata=bearer(token))


async def subject(auth: Auth) -> str:
    return str(await auth.arrange(f"SELECT account_id FROM auth.accounts WHERE email = '{EMAIL}'"))  # noqa: S608


async def test_signing_out_ends_both_tokens(auth: Auth) -> None:
    tokens = await auth.login()
    await auth.who(tokens.access_token)
    await auth.stub.Logout(pb.LogoutRequest(refresh_token=tokens.refresh_token))
    assert (await refusal(auth.refresh(tokens.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
    await refused_with(lambda: auth.who(tokens.access_token), Reason.TOKEN_REVOKED)


async def test_signing_out_needs_no_refresh_token(auth: Auth) -> None:
    tokens = await auth.login()
    await auth.stub.Logout(pb.LogoutRequest(), metadata=bearer(tokens.access_token))
    assert (await refusal(auth.refresh(tokens.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
    await refused_with(lambda: auth.who(tokens.access_token), Reason.TOKEN_REVOKED)


async def test_signing_out_by_a_spent_token_ends_the_session(auth: Auth) -> None:
    spent = (await auth.login()).refresh_token
    newest = (await auth.refresh(spent)).refresh_token
    await auth.stub.Logout(pb.LogoutRequest(refresh_token=spent))
    assert (await refusal(auth.refresh(newest))).reason is Reason.REFRESH_TOKEN_INVALID


async def test_signing_out_twice_or_by_nothing_real_is_no_error(auth: Auth) -> None:
    tokens = await auth.login()
    for token in (tokens.refresh_token, tokens.refresh_token, "never a token", "' OR true --"):
        await auth.stub.Logout(pb.LogoutRequest(refresh_token=token))
    assert (await auth.login()).access_token


async def test_signing_out_says_what_it_lacks(auth: Auth) -> None:
    error = await refusal(auth.stub.Logout(pb.LogoutRequest()))
    assert error.violations[0].field == "refresh_token"
    assert (await refusal(auth.stub.Logout(pb.LogoutRequest(), metadata=bearer("x")))).reason is Reason.TOKEN_INVALID


async def test_lists_the_sessions_and_where_they_began(auth: Auth) -> None:
    first = await auth.login()
    edge = (("x-envoy-external-address", "192.0.2.7"),)
    second = await auth.stub.Login(pb.LoginRequest(email=EMAIL, password=PASSWORD), metadata=edge)
    await auth.refresh(first.refresh_token)
    found = (await sessions(auth, second.access_token)).sessions
    assert [each.current for each in found] == [True, False]
    assert found[0].address == "192.0.2.7"
    assert found[0].user_agent.startswith("grpc-python")
    assert not found[0].HasField("refresh_time")
    assert found[1].HasField("refresh_time")
    assert found[0].create_time.ToDatetime() > found[1].create_time.ToDatetime()


async def test_pages_through_the_sessions(auth: Auth) -> None:
    logins = [await auth.login() for _ in range(5)]
    token = logins[0].access_token
    seen: list[str] = []
    page = ""
    while True:
        answer = await sessions(auth, token, page_size=2, page_token=page)
        assert len(answer.sessions) <= 2
        seen += [each.session_id for each in answer.sessions]
        if not (page := answer.next_page_token):
            break
    assert len(seen) == len(set(seen)) == 5
    assert (await refusal(sessions(auth, token, page_token="forged"))).reason is Reason.INVALID_PAGE_TOKEN
    assert (await refusal(sessions(auth, token, page_size=-1))).violations[0].field == "page_size"


async def test_ends_another_session_of_ones_own(auth: Auth) -> None:
    lost, here = await auth.login(), await auth.login()
    lost_id = next(each.session_id for each in (await sessions(auth, here.access_token)).sessions if not each.current)
    await auth.stub.RevokeSession(pb.RevokeSessionRequest(session_id=lost_id), metadata=bearer(here.access_token))
    await refused_with(lambda: auth.who(lost.access_token), Reason.TOKEN_REVOKED)
    assert (await refusal(auth.refresh(lost.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
    assert (await auth.who(here.access_token)).tenant == "acme"
    assert len((await sessions(auth, here.access_token)).sessions) == 1
    again = auth.stub.RevokeSession(pb.RevokeSessionRequest(session_id=lost_id), metadata=bearer(here.access_token))
    assert (await refusal(again)).reason is Reason.SESSION_NOT_FOUND


async def test_a_session_of_someone_else_is_not_found(auth: Auth) -> None:
    await auth.add("other@acme.example")
    other, mine = await auth.login("other@acme.example"), await auth.login()
    other_id = (await sessions(auth, other.access_token)).sessions[0].session_id
    call = auth.stub.RevokeSession(pb.RevokeSessionRequest(session_id=other_id), metadata=bearer(mine.access_token))
    assert (await refusal(call)).reason is Reason.SESSION_NOT_FOUND
    assert (await auth.refresh(other.refresh_token)).access_token


async def test_refuses_an_id_that_is_none(auth: Auth) -> None:
    token = (await auth.login()).access_token
    for session_id in ("", "x", "' OR true --"):
        call = auth.stub.RevokeSession(pb.RevokeSessionRequest(session_id=session_id), metadata=bearer(token))
        assert (await refusal(call)).violations[0].field == "session_id"


async def test_a_copied_refresh_token_ends_the_access_tokens_too(auth: Auth) -> None:
    stolen = await auth.login()
    newest = await auth.refresh(stolen.refresh_token)
    await auth.pass_time("31 s")
    await refusal(auth.refresh(stolen.refresh_token))
    for token in (stolen.access_token, newest.access_token):
        await refused_with(lambda token=token: auth.who(token), Reason.TOKEN_REVOKED)  # type: ignore[misc]


async def test_a_revocation_on_one_replica_is_known_to_the_other(start: Start) -> None:
    async with start() as one, start() as another:
        await one.add()
        tokens = await one.login()
        await another.who(tokens.access_token)
        await one.stub.Logout(pb.LogoutRequest(refresh_token=tokens.refresh_token))
        await refused_with(lambda: another.who(tokens.access_token), Reason.TOKEN_REVOKED)


async def test_a_suspended_account_gets_nothing_until_it_is_restored(auth: Auth) -> None:
    tokens = await auth.login()
    account_id = await subject(auth)
    database = Postgres(auth.settings)
    await database.start()
    async with database.transaction(tenant="acme") as connection:
        await revocation.revoke_subject(connection, account_id, lasting=True)
    assert (await refusal(auth.refresh(tokens.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
    await refused_with(lambda: auth.who(tokens.access_token), Reason.TOKEN_REVOKED)
    await revocation.restore_subject(database, account_id)
    renewed = await auth.login()
    assert (await _accepted(auth, renewed.access_token)).tenant == "acme"
    assert (await refusal(auth.who(tokens.access_token))).reason is Reason.TOKEN_REVOKED
    await database.close()


async def test_a_suspended_tenant_is_at_rest_and_goes_on_afterwards(auth: Auth) -> None:
    await auth.add("user@other.example", tenant="other")
    tokens, others = await auth.login(), await auth.login("user@other.example")
    database = Postgres(auth.settings)
    await database.start()
    await revocation.revoke_tenant(database, "acme", lasting=True)
    assert (await refusal(auth.refresh(tokens.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
    await refused_with(lambda: auth.who(tokens.access_token), Reason.TOKEN_REVOKED)
    assert (await auth.who(others.access_token)).tenant == "other"
    await revocation.restore_tenant(database, "acme")
    renewed = await auth.refresh(tokens.refresh_token)
    assert (await _accepted(auth, renewed.access_token)).tenant == "acme"
    await database.close()


async def test_who_signs_in_right_after_all_was_revoked_is_welcome(auth: Auth) -> None:
    before = await auth.login()
    database = Postgres(auth.settings)
    await database.start()
    async with database.transaction(tenant="acme") as connection:
        await revocation.revoke_subject(connection, await subject(auth))
    after = await auth.login()
    await refused_with(lambda: auth.who(before.access_token), Reason.TOKEN_REVOKED)
    assert (await auth.who(after.access_token)).tenant == "acme"
    await database.close()


async def test_a_change_of_password_spares_the_session_that_makes_it(auth: Auth) -> None:
    other, kept = await auth.login(), await auth.login()
    kept_id = next(each.session_id for each in (await sessions(auth, kept.access_token)).sessions if each.current)
    database = Postgres(auth.settings)
    await database.start()
    async with database.transaction(tenant="acme") as connection:
        assert await revocation.revoke_sessions(connection, await subject(auth), keep=kept_id) == 1
    await refused_with(lambda: auth.who(other.access_token), Reason.TOKEN_REVOKED)
    assert (await auth.refresh(kept.refresh_token)).access_token
    await database.close()


async def test_one_access_token_can_be_refused_by_its_id(auth: Auth) -> None:
    tokens = await auth.login()
    renewed = await auth.refresh(tokens.refresh_token)
    token_id = (await _facts(auth, renewed.access_token, tokens.access_token)).jti
    database = Postgres(auth.settings)
    await database.start()
    await revocation.revoke_token(database, token_id)
    await refused_with(lambda: auth.who(tokens.access_token), Reason.TOKEN_REVOKED)
    assert (await auth.who(renewed.access_token)).tenant == "acme"
    await database.close()


async def test_a_redis_that_lost_everything_is_filled_again(auth: Auth) -> None:
    tokens = await auth.login()
    await auth.stub.Logout(pb.LogoutRequest(refresh_token=tokens.refresh_token))
    await refused_with(lambda: auth.who(tokens.access_token), Reason.TOKEN_REVOKED)
    async with redis.asyncio.Redis.from_url(auth.settings.redis_url.get_secret_value()) as client:
        await client.flushdb()
        async with asyncio.timeout(5):
            while not await client.hlen(KEYS[1]):  # noqa: ASYNC110 - another process fills it
                await asyncio.sleep(0.05)
    assert (await refusal(auth.who(tokens.access_token))).reason is Reason.TOKEN_REVOKED


async def _accepted(auth: Auth, token: str) -> pb.WhoAmIResponse:
    """Returns the answer once the restoration is known."""
    async with asyncio.timeout(5):
        while True:
            try:
                return await auth.who(token)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)


async def _facts(auth: Auth, caller: str, token: str) -> pb.IntrospectTokenResponse:
    return await auth.stub.IntrospectToken(pb.IntrospectTokenRequest(token=token), metadata=bearer(caller))


async def test_sessions_that_nobody_goes_on_with_are_forgotten_in_time(auth: Auth) -> None:
    await auth.add("rare@acme.example")
    gone = (await auth.login("rare@acme.example")).refresh_token
    await auth.refresh(gone)
    await auth.pass_time("31 days")
    kept = (await auth.login()).refresh_token
    database = Postgres(auth.settings)
    await database.start()
    try:
        await RevocationRepository(database).forget_old()
    finally:
        await database.close()
    assert await auth.arrange("SELECT count(*) FROM auth.sessions") == 1
    assert await auth.arrange("SELECT count(*) FROM auth.spent_tokens") == 0
    assert (await auth.refresh(kept)).refresh_token
