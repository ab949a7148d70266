"""What is told of a token, and to whom; and where libraries find what."""

import grpc
import jwt
from google.protobuf.json_format import MessageToDict

from auth import revocation
from geomesh.auth.v1 import auth_pb2 as pb
from meshkit.errors import Reason
from meshkit.postgres import Postgres
from tests.auth.conftest import Auth, Start, refusal
from tests.auth.programs import bearer, by_key, create_key, introspect
from tests.meshkit.test_trusted_issuers import Provider, entry


async def test_an_access_token_says_what_it_holds(auth: Auth) -> None:
    token = (await auth.login()).access_token
    said = jwt.decode(token, options={"verify_signature": False})
    told = MessageToDict(await introspect(auth, token, token))
    assert told["active"] is True
    assert told["token_type"] == "Bearer"
    for claim in ("sub", "aud", "iss", "jti", "sid", "tenant", "roles", "plan", "scope", "client_id", "exp"):
        assert told[claim] == said[claim]
    assert told["iat"] == int(said["iat"])


async def test_a_refresh_token_is_told_apart(auth: Auth) -> None:
    tokens = await auth.login()
    told = await introspect(auth, tokens.access_token, tokens.refresh_token)
    assert (told.active, told.token_type, told.tenant) == (True, "refresh_token", "acme")
    assert abs(told.exp - told.iat - 2_592_000) <= 1
    await auth.refresh(tokens.refresh_token)
    assert not (await introspect(auth, tokens.access_token, tokens.refresh_token)).active


async def test_of_an_inactive_token_nothing_else_is_told(auth: Auth) -> None:
    tokens = await auth.login()
    header, payload, signature = tokens.access_token.split(".")
    for token in ("x", "a.b.c", f"{header}.{payload}.{signature[::-1]}", "' OR true --", tokens.refresh_token + "A"):
        told = await introspect(auth, tokens.access_token, token)
        assert MessageToDict(told, always_print_fields_with_no_presence=True) == {"active": False, "roles": []}


async def test_a_revocation_shows_at_once(auth: Auth) -> None:
    caller, token = (await auth.login()).access_token, await auth.login()
    await auth.stub.Logout(pb.LogoutRequest(refresh_token=token.refresh_token))
    assert not (await introspect(auth, caller, token.access_token)).active
    assert not (await introspect(auth, caller, token.refresh_token)).active


async def test_a_suspended_account_has_no_active_refresh_token(auth: Auth) -> None:
    await auth.add("other@acme.example")
    caller, token = (await auth.login()).access_token, await auth.login("other@acme.example")
    database = Postgres(auth.settings)
    await database.start()
    other = jwt.decode(token.access_token, options={"verify_signature": False})["sub"]
    async with database.transaction(tenant="acme") as connection:
        await revocation.revoke_subject(connection, other, lasting=True)
    assert not (await introspect(auth, caller, token.refresh_token)).active
    assert not (await introspect(auth, caller, token.access_token)).active
    await database.close()


async def test_other_tenants_are_told_nothing_but_the_operator_is(auth: Auth) -> None:
    await auth.add("spy@other.example", tenant="other")
    await auth.add("operator@public.example", role="system_admin", tenant="public")
    token = await auth.login()
    spy = (await auth.login("spy@other.example")).access_token
    operator = (await auth.login("operator@public.example")).access_token
    for each in (token.access_token, token.refresh_token):
        assert MessageToDict(await introspect(auth, spy, each)) == {}
        assert (await introspect(auth, operator, each)).tenant == "acme"


async def test_who_has_no_token_may_not_look_at_any(auth: Auth) -> None:
    token = (await auth.login()).access_token
    call = auth.stub.IntrospectToken(pb.IntrospectTokenRequest(token=token))
    assert (await refusal(call)).reason is Reason.TOKEN_MISSING


async def test_the_token_of_a_key_names_the_key(auth: Auth) -> None:
    caller = (await auth.login()).access_token
    made = await create_key(auth, caller)
    told = await introspect(auth, caller, (await by_key(auth, made.key)).access_token)
    assert (told.client_id, told.sid) == (made.api_key.api_key_id, made.api_key.api_key_id)
    assert told.scope == "read:public_data read:own_data"


async def test_discovery_has_the_members_of_the_standard(start: Start) -> None:
    async with start(public_url="https://maps.example/") as auth:
        call = auth.stub.GetOpenIdConfiguration(pb.GetOpenIdConfigurationRequest())
        told = MessageToDict(await call, always_print_fields_with_no_presence=True)
        assert dict(await call.initial_metadata())["cache-control"] == "public, max-age=60"
    assert told["issuer"] == "https://geomesh.local"
    assert told["jwks_uri"] == "https://maps.example/.well-known/jwks.json"
    assert told["token_endpoint"] == "https://maps.example/oauth2/token"
    required = {
        "issuer",
        "jwks_uri",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    }
    assert required <= set(told)
    assert "admin:system" in told["scopes_supported"]


async def test_what_is_never_kept_says_so(auth: Auth) -> None:
    made = await create_key(auth, (await auth.login()).access_token)
    request = pb.ExchangeTokenRequest(grant_type="api_key", api_key=made.key)
    call: grpc.aio.UnaryUnaryCall[pb.ExchangeTokenRequest, pb.AccessToken] = auth.stub.ExchangeToken(request)
    assert dict(await call.initial_metadata())["cache-control"] == "no-store"


async def test_a_token_of_another_issuer_is_told_as_such_and_opens_no_accounts_of_ours(start: Start) -> None:
    provider = Provider()
    try:
        async with start(trusted_issuers=[entry(provider)]) as auth:
            await auth.add()
            theirs, ours = provider.token(), (await auth.login()).access_token
            await auth.who(ours)
            told = await introspect(auth, ours, theirs)
            assert (told.active, told.iss, told.aud) == (True, provider.issuer, "maps")
            assert (told.sub, told.tenant, list(told.roles)) == ("corp|f:1", "acme", ["tenant_admin"])
            assert (await introspect(auth, ours, ours)).iss == auth.settings.token_issuer
            assert not (await auth.stub.ListSessions(pb.ListSessionsRequest(), metadata=bearer(theirs))).sessions
            error = await refusal(create_key(auth, theirs))
            assert error.reason is Reason.PERMISSION_MISSING
            assert (await refusal(auth.refresh(theirs))).reason is Reason.REFRESH_TOKEN_INVALID
    finally:
        provider.close()
