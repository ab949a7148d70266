"""Signing in and being known, over gRPC."""

import asyncio
import time

import grpc
import jwt
import pytest
from google.protobuf.json_format import MessageToDict

from geomesh.auth.v1 import auth_pb2 as pb
from meshkit.errors import Reason, Unauthenticated
from meshkit.status import from_rpc_error
from tests.auth.conftest import EMAIL, PASSWORD, Auth, Start, refusal


async def test_signs_in(auth: Auth) -> None:
    tokens = await auth.login()
    assert (tokens.token_type, tokens.expires_in_seconds) == ("Bearer", 900)
    assert tokens.refresh_expires_in_seconds == 2_592_000
    who = await auth.who(tokens.access_token)
    assert (who.tenant, list(who.roles), who.plan) == ("acme", ["user"], "user")
    assert list(who.permissions) == ["read:public_data", "read:own_data", "write:own_data"]
    assert abs(who.expire_time.seconds - time.time() - 900) < 30


async def test_the_address_is_the_same_in_capitals(auth: Auth) -> None:
    assert (await auth.login(EMAIL.upper())).access_token


async def test_the_password_is_not(auth: Auth) -> None:
    assert (await refusal(auth.login(password=PASSWORD.upper()))).reason is Reason.LOGIN_FAILED


async def test_an_unknown_account_and_a_wrong_password_look_the_same(auth: Auth) -> None:
    await auth.add("disabled@acme.example")
    await auth.arrange("UPDATE auth.accounts SET disabled_at = now() WHERE email = 'disabled@acme.example'")
    refusals = [
        await refusal(auth.login(password="wrong")),
        await refusal(auth.login("nobody@acme.example")),
        await refusal(auth.login("disabled@acme.example")),
        await refusal(auth.login("disabled@acme.example", "wrong")),
    ]
    assert {(type(error).__name__, error.reason, error.message) for error in refusals} == {
        ("Unauthenticated", Reason.LOGIN_FAILED, "the email address, the password or the code is wrong")
    }


async def test_an_address_is_no_sql(auth: Auth) -> None:
    for email in ("'or'1'='1@acme.example", "%@acme.example", "_omeone@acme.example"):
        assert (await refusal(auth.login(email))).reason is Reason.LOGIN_FAILED


async def test_a_password_is_any_text(auth: Auth) -> None:
    for password in ("' OR true --", "\x00", "%", "\\", "💧" * 64, "$argon2id$v=19$m=8,t=1,p=1$"):
        assert (await refusal(auth.login(password=password))).reason is Reason.LOGIN_FAILED


async def test_refuses_what_the_contract_rules_out(auth: Auth) -> None:
    for email, password, field in (
        ("", PASSWORD, "email"),
        ("no address", PASSWORD, "email"),
        (f"{'a' * 250}@acme.example", PASSWORD, "email"),
        (EMAIL, "", "password"),
        (EMAIL, "a" * 257, "password"),
    ):
        error = await refusal(auth.login(email, password))
        assert error.reason is Reason.INVALID_FIELD
        assert error.violations[0].field == field


async def test_too_many_passwords_at_once_are_refused_and_the_rest_served(start: Start) -> None:
    async with start(password_threads=1, password_waiting=2) as auth:
        await auth.add()
        results = await asyncio.gather(*(auth.login() for _ in range(40)), return_exceptions=True)
        refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
        assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert len(refused) < 40
        assert (await auth.login()).access_token


async def test_tokens_are_kept_by_no_cache(auth: Auth) -> None:
    login = auth.stub.Login(pb.LoginRequest(email=EMAIL, password=PASSWORD))
    assert dict(await login.initial_metadata())["cache-control"] == "no-store"
    refresh = auth.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=(await login).refresh_token))
    assert dict(await refresh.initial_metadata())["cache-control"] == "no-store"


async def test_keys_are_kept_for_a_minute(auth: Auth) -> None:
    call = auth.stub.GetJwks(pb.GetJwksRequest())
    assert dict(await call.initial_metadata())["cache-control"] == "public, max-age=60"


async def test_the_published_keys_verify_a_token_by_any_library(auth: Auth) -> None:
    token = (await auth.login()).access_token
    published = jwt.PyJWKSet.from_dict(MessageToDict(await auth.keys()))
    key = published[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, ["ES256"], audience="geomesh", issuer="https://geomesh.local")
    assert claims["tenant"] == "acme"


async def test_publishes_no_private_half(auth: Auth) -> None:
    for key in MessageToDict(await auth.keys())["keys"]:
        assert set(key) == {"kty", "use", "alg", "kid", "crv", "x", "y"}


async def test_whoever_has_no_token_is_nobody(auth: Auth) -> None:
    assert (await refusal(auth.stub.WhoAmI(pb.WhoAmIRequest()))).reason is Reason.TOKEN_MISSING


async def test_a_refresh_token_is_no_access_token(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    assert (await refusal(auth.who(token))).reason is Reason.TOKEN_INVALID


async def test_an_expired_access_token_does_not_keep_anyone_from_signing_in(start: Start) -> None:
    async with start(access_token_seconds=3, token_leeway_seconds=0) as auth:
        await auth.add()
        tokens = await auth.login()
        await auth.who(tokens.access_token)
        error = await _end(auth, tokens.access_token)
        assert isinstance(error, Unauthenticated)
        assert error.reason is Reason.TOKEN_EXPIRED
        expired = (("authorization", f"Bearer {tokens.access_token}"),)
        await auth.stub.Login(pb.LoginRequest(email=EMAIL, password=PASSWORD), metadata=expired)
        await auth.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=tokens.refresh_token), metadata=expired)


async def _end(auth: Auth, token: str) -> Exception:
    async with asyncio.timeout(20):
        while True:
            try:
                await auth.who(token)
            except grpc.aio.AioRpcError as error:
                return from_rpc_error(error, "auth")
            await asyncio.sleep(0.05)


async def test_the_names_of_permissions_are_those_of_the_contract(auth: Auth) -> None:
    added = {
        "user": {"read:public_data", "read:own_data", "write:own_data"},
        "premium": {"read:tenant_data"},
        "tenant_admin": {"write:tenant_data", "manage:tenant_users"},
        "system_admin": {"admin:users", "admin:system", "admin:monitoring"},
    }
    allowed: set[str] = set()
    for role, more in added.items():
        allowed |= more
        await auth.add(f"{role}@acme.example", role=role)
        token = (await auth.login(f"{role}@acme.example")).access_token
        assert set((await auth.who(token)).permissions) == allowed


async def test_an_account_without_data_of_its_own_has_nothing_to_be_told(auth: Auth) -> None:
    await auth.add("reader@acme.example", role="public")
    token = (await auth.login("reader@acme.example")).access_token
    assert (await refusal(auth.who(token))).reason is Reason.PERMISSION_MISSING


async def test_a_database_that_is_away_is_no_wrong_password(start: Start) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:9/nothing"
    async with start() as auth, start(postgres_dsn=nowhere) as lost:
        await auth.add()
        for call in (lost.login(), lost.refresh("x"), lost.keys()):
            assert (await refusal(call)).reason is Reason.DEPENDENCY_UNAVAILABLE


async def test_no_log_line_holds_a_secret(auth: Auth, capfd: pytest.CaptureFixture[str]) -> None:
    tokens = await auth.login()
    await refusal(auth.login(password="a-wrong-password"))
    renewed = await auth.refresh(tokens.refresh_token)
    await auth.pass_time("31 s")
    await refusal(auth.refresh(tokens.refresh_token))
    written = "".join(capfd.readouterr())
    for secret in (PASSWORD, "a-wrong-password", tokens.refresh_token, tokens.access_token, renewed.refresh_token):
        assert secret not in written


def test_a_message_with_secrets_prints_none_of_them() -> None:
    for message in (
        pb.LoginRequest(email=EMAIL, password="a-secret", code="a-secret"),
        pb.RefreshTokenRequest(refresh_token="a-secret"),
        pb.TokenPair(access_token="a-secret", refresh_token="a-secret"),
    ):
        redacted = [field.name for field in message.DESCRIPTOR.fields if field.GetOptions().debug_redact]
        assert {field.name for field, value in message.ListFields() if value == "a-secret"} == set(redacted)
