"""Tokens for programs: API keys, service accounts, scopes."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import jwt
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from auth import revocation
from auth.api_keys import MOST_KEYS
from geomesh.auth.v1 import auth_pb2 as pb
from meshkit.errors import PermissionDenied, Reason, ResourceExhausted
from meshkit.postgres import Postgres
from tests.auth.conftest import Auth, Start, refusal
from tests.auth.programs import bearer, by_key, by_secret, create_key, create_service_account, refused_with


def claims(token: str) -> dict[str, Any]:
    read: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return read


def at(offset: timedelta) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(datetime.now(UTC) + offset)
    return moment


async def keys(auth: Auth, token: str, **fields: Any) -> pb.ListApiKeysResponse:
    return await auth.stub.ListApiKeys(pb.ListApiKeysRequest(**fields), metadata=bearer(token))


async def admin(auth: Auth, tenant: str = "acme") -> str:
    email = f"admin@{tenant}.example"
    await auth.add(email, role="tenant_admin", tenant=tenant)
    return (await auth.login(email)).access_token


async def test_an_api_key_becomes_a_token_of_its_owner_with_its_scopes_alone(auth: Auth) -> None:
    owner = (await auth.login()).access_token
    made = await create_key(auth, owner, "read:own_data")
    token = await by_key(auth, made.key)
    assert (token.token_type, token.expires_in_seconds) == ("Bearer", 900)
    assert token.scope == "read:public_data read:own_data"
    who = await auth.who(token.access_token)
    assert (who.subject, who.tenant) == (claims(owner)["sub"], "acme")
    assert list(who.permissions) == ["read:public_data", "read:own_data"]
    said = claims(token.access_token)
    assert (said["client_id"], said["sid"]) == (made.api_key.api_key_id, made.api_key.api_key_id)
    call = create_key(auth, token.access_token, "read:own_data")
    error = await refusal(call)
    assert error.message == "CreateApiKey needs write:own_data, which the scope of your token leaves out"


async def test_what_a_program_signs_in_with_is_recorded(auth: Auth) -> None:
    made = await create_key(auth, (await auth.login()).access_token)
    await by_key(auth, made.key)
    await refusal(by_key(auth, made.key + "x"))
    owner = claims((await by_key(auth, made.key)).access_token)["sub"]
    recorded = [each for each in await auth.audit() if each[0] == "token.exchanged"]
    assert [(outcome, subject) for _, outcome, subject, _ in recorded] == [("success", owner)] * 2
    assert json.loads(recorded[0][3]) == {"client_id": made.api_key.api_key_id}
    assert [each[1] for each in await auth.audit("public") if each[0] == "token.exchanged"] == ["refused"]


async def test_a_caller_may_ask_for_less_than_the_key_is_good_for(auth: Auth) -> None:
    made = await create_key(auth, (await auth.login()).access_token, "read:own_data", "write:own_data")
    assert (await by_key(auth, made.key, "read:own_data")).scope == "read:own_data"
    for scope, description in (
        ("read:tenant_data", "may hold read:public_data read:own_data write:own_data for this credential"),
        ("everything", "must be one of"),
    ):
        error = await refusal(by_key(auth, made.key, scope))
        assert error.violations[0].field.startswith("scope")
        assert error.violations[0].description.startswith(description)


async def test_a_key_is_shown_once_and_stored_as_a_hash(auth: Auth) -> None:
    owner = (await auth.login()).access_token
    made = await create_key(auth, owner)
    assert made.key.startswith("geomesh_key_")
    assert made.key not in str(await keys(auth, owner))
    stored = await auth.arrange("SELECT string_agg(k::text, ' ') FROM auth.api_keys AS k")
    assert made.key not in stored
    assert made.key.removeprefix("geomesh_key_") not in stored
    assert made.api_key.hint == made.key[-4:]


async def test_the_list_tells_when_a_key_was_used(auth: Auth) -> None:
    owner = (await auth.login()).access_token
    made = [await create_key(auth, owner) for _ in range(3)]
    await by_key(auth, made[0].key)
    first = await keys(auth, owner, page_size=2)
    rest = await keys(auth, owner, page_size=2, page_token=first.next_page_token)
    found = [*first.api_keys, *rest.api_keys]
    assert [each.api_key_id for each in found] == [each.api_key.api_key_id for each in reversed(made)]
    assert [each.HasField("last_use_time") for each in found] == [False, False, True]
    days = (found[0].expire_time.ToDatetime() - found[0].create_time.ToDatetime()).days
    assert 89 <= days <= 90


async def test_a_revoked_key_and_its_tokens_are_refused(auth: Auth) -> None:
    owner = (await auth.login()).access_token
    made, other = await create_key(auth, owner), await create_key(auth, owner)
    token, untouched = await by_key(auth, made.key), await by_key(auth, other.key)
    request = pb.RevokeApiKeyRequest(api_key_id=made.api_key.api_key_id)
    await auth.stub.RevokeApiKey(request, metadata=bearer(owner))
    assert (await refusal(by_key(auth, made.key))).reason is Reason.CREDENTIAL_INVALID
    await refused_with(lambda: auth.who(token.access_token), Reason.TOKEN_REVOKED)
    assert (await auth.who(untouched.access_token)).tenant == "acme"
    assert (await auth.who(owner)).tenant == "acme"
    again = auth.stub.RevokeApiKey(request, metadata=bearer(owner))
    assert (await refusal(again)).reason is Reason.API_KEY_NOT_FOUND


async def test_an_expired_key_is_refused(auth: Auth) -> None:
    made = await create_key(auth, (await auth.login()).access_token)
    await auth.arrange("UPDATE auth.api_keys SET expires_at = now()")
    assert (await refusal(by_key(auth, made.key))).reason is Reason.CREDENTIAL_INVALID


@pytest.mark.parametrize("offset", [timedelta(seconds=-1), timedelta(days=367)])
async def test_a_key_ends_within_a_year(auth: Auth, offset: timedelta) -> None:
    token = (await auth.login()).access_token
    error = await refusal(create_key(auth, token, expire_time=at(offset)))
    assert error.violations[0].field == "expire_time"


async def test_a_key_is_never_wider_than_its_maker(auth: Auth) -> None:
    token = (await auth.login()).access_token
    for scope, description in (
        ("read:tenant_data", "is a permission that you do not hold"),
        ("admin:system", "is a permission that you do not hold"),
        ("*", "must be one of"),
    ):
        error = await refusal(create_key(auth, token, "read:own_data", scope))
        assert error.violations[0].field == "scopes[1]"
        assert error.violations[0].description.startswith(description)


async def test_a_key_shrinks_with_its_owners_roles(auth: Auth) -> None:
    await auth.add("premium@acme.example", role="premium")
    owner = (await auth.login("premium@acme.example")).access_token
    made = await create_key(auth, owner, "read:tenant_data", "read:own_data")
    await auth.arrange("UPDATE auth.accounts SET roles = '{user}'")
    assert (await by_key(auth, made.key)).scope == "read:public_data read:own_data"


async def test_a_key_cannot_make_another_key(auth: Auth) -> None:
    made = await create_key(auth, (await auth.login()).access_token, "read:own_data", "write:own_data")
    error = await refusal(create_key(auth, (await by_key(auth, made.key)).access_token))
    assert isinstance(error, PermissionDenied)
    assert error.message == "only who signed in with a password makes API keys"


async def test_an_account_has_only_so_many_keys(auth: Auth) -> None:
    token = (await auth.login()).access_token
    await auth.who(token)
    made = await asyncio.gather(*(create_key(auth, token) for _ in range(MOST_KEYS + 10)), return_exceptions=True)
    assert [isinstance(each, pb.CreateApiKeyResponse) for each in made].count(True) == MOST_KEYS
    assert isinstance(await refusal(create_key(auth, token)), ResourceExhausted)
    recorded = [event for event, _, _, _ in await auth.audit()]
    assert recorded.count("api_key.created") == MOST_KEYS


async def test_a_key_of_someone_else_is_not_found(auth: Auth) -> None:
    await auth.add("other@acme.example")
    made = await create_key(auth, (await auth.login("other@acme.example")).access_token)
    mine = (await auth.login()).access_token
    request = pb.RevokeApiKeyRequest(api_key_id=made.api_key.api_key_id)
    assert (await refusal(auth.stub.RevokeApiKey(request, metadata=bearer(mine)))).reason is Reason.API_KEY_NOT_FOUND
    assert not (await keys(auth, mine)).api_keys
    assert (await by_key(auth, made.key)).access_token


async def test_a_disabled_owner_ends_the_key(auth: Auth) -> None:
    made = await create_key(auth, (await auth.login()).access_token)
    await auth.arrange("UPDATE auth.accounts SET disabled_at = now()")
    assert (await refusal(by_key(auth, made.key))).reason is Reason.CREDENTIAL_INVALID


async def test_a_suspended_tenant_ends_keys_and_service_accounts(auth: Auth) -> None:
    token = await admin(auth)
    made, program = await create_key(auth, token), await create_service_account(auth, token)
    running = await by_secret(auth, program)
    database = Postgres(auth.settings)
    await database.start()
    await revocation.revoke_tenant(database, "acme", lasting=True)
    assert (await refusal(by_key(auth, made.key))).reason is Reason.CREDENTIAL_INVALID
    assert (await refusal(by_secret(auth, program))).reason is Reason.CREDENTIAL_INVALID
    await refused_with(lambda: auth.who(running.access_token), Reason.TOKEN_REVOKED)
    await revocation.restore_tenant(database, "acme")
    assert (await by_secret(auth, program)).access_token
    await database.close()


async def test_a_service_account_acts_for_its_tenant(auth: Auth) -> None:
    made = await create_service_account(auth, await admin(auth))
    token = await by_secret(auth, made)
    who = await auth.who(token.access_token)
    assert (who.subject, who.tenant) == (made.service_account.service_account_id, "acme")
    assert (list(who.roles), who.plan) == (["user"], "enterprise")
    assert "sid" not in claims(token.access_token)
    await by_secret(auth, made, "read:own_data")


async def test_the_scopes_of_a_service_account_bound_its_tokens(auth: Auth) -> None:
    made = await create_service_account(auth, await admin(auth), "premium", "read:tenant_data")
    token = await by_secret(auth, made)
    assert token.scope == "read:public_data read:tenant_data"
    assert (await refusal(by_secret(auth, made, "read:own_data"))).violations[0].field == "scope"


async def test_a_wrong_secret_and_an_unknown_account_look_the_same(auth: Auth) -> None:
    made = await create_service_account(auth, await admin(auth))
    wrong, unknown, no_id = (pb.ServiceAccountSecret.FromString(made.SerializeToString()) for _ in range(3))
    wrong.client_secret = made.client_secret[:-1]
    unknown.service_account.service_account_id = "00000000-0000-4000-8000-000000000000"
    no_id.service_account.service_account_id = "' OR true --"
    messages = {str(await refusal(by_secret(auth, each))) for each in (wrong, unknown, no_id)}
    messages.add(str(await refusal(by_key(auth, "geomesh_key_unknown"))))
    assert messages == {"the API key or the client's secret is unknown, expired or revoked"}


async def test_a_new_secret_ends_the_old_one_and_its_tokens(auth: Auth) -> None:
    token = await admin(auth)
    made = await create_service_account(auth, token)
    before = await by_secret(auth, made)
    request = pb.ResetServiceAccountSecretRequest(service_account_id=made.service_account.service_account_id)
    changed = await auth.stub.ResetServiceAccountSecret(request, metadata=bearer(token))
    after = await by_secret(auth, changed)
    assert (await refusal(by_secret(auth, made))).reason is Reason.CREDENTIAL_INVALID
    await refused_with(lambda: auth.who(before.access_token), Reason.TOKEN_REVOKED)
    assert (await auth.who(after.access_token)).tenant == "acme"


async def test_a_deleted_service_account_is_gone(auth: Auth) -> None:
    token = await admin(auth)
    made = await create_service_account(auth, token)
    running = await by_secret(auth, made)
    request = pb.DeleteServiceAccountRequest(service_account_id=made.service_account.service_account_id)
    await auth.stub.DeleteServiceAccount(request, metadata=bearer(token))
    assert (await refusal(by_secret(auth, made))).reason is Reason.CREDENTIAL_INVALID
    await refused_with(lambda: auth.who(running.access_token), Reason.TOKEN_REVOKED)
    listed = await auth.stub.ListServiceAccounts(pb.ListServiceAccountsRequest(), metadata=bearer(token))
    assert not listed.service_accounts


async def test_only_an_administrator_keeps_service_accounts(auth: Auth) -> None:
    error = await refusal(create_service_account(auth, (await auth.login()).access_token))
    assert error.reason is Reason.PERMISSION_MISSING


@pytest.mark.parametrize("role", ["system_admin", "root", "premium "])
async def test_no_service_account_is_more_than_its_tenant(auth: Auth, role: str) -> None:
    error = await refusal(create_service_account(auth, await admin(auth), role))
    assert error.violations[0].field == "role"


async def test_a_service_account_of_another_tenant_is_not_found(auth: Auth) -> None:
    theirs, mine = await admin(auth, "other"), await admin(auth)
    made = await create_service_account(auth, theirs)
    name = made.service_account.service_account_id
    for call in (
        auth.stub.DeleteServiceAccount(pb.DeleteServiceAccountRequest(service_account_id=name), metadata=bearer(mine)),
        auth.stub.ResetServiceAccountSecret(
            pb.ResetServiceAccountSecretRequest(service_account_id=name), metadata=bearer(mine)
        ),
    ):
        assert (await refusal(call)).reason is Reason.SERVICE_ACCOUNT_NOT_FOUND
    assert (await by_secret(auth, made)).access_token


async def test_an_exchange_says_what_it_lacks(auth: Auth) -> None:
    for request, field in (
        (pb.ExchangeTokenRequest(), "grant_type"),
        (pb.ExchangeTokenRequest(grant_type="password"), "grant_type"),
        (pb.ExchangeTokenRequest(grant_type="api_key"), "api_key"),
        (pb.ExchangeTokenRequest(grant_type="client_credentials", client_id="x"), "client_secret"),
        (pb.ExchangeTokenRequest(grant_type="client_credentials", client_secret="x"), "client_id"),
        (pb.ExchangeTokenRequest(grant_type="api_key", api_key="x" * 257), "api_key"),
    ):
        assert (await refusal(auth.stub.ExchangeToken(request))).violations[0].field == field


async def test_an_access_token_and_a_refresh_token_are_no_api_keys(auth: Auth) -> None:
    tokens = await auth.login()
    assert (await refusal(by_key(auth, tokens.refresh_token))).reason is Reason.CREDENTIAL_INVALID
    made = await create_key(auth, tokens.access_token)
    assert (await refusal(auth.refresh(made.key))).reason is Reason.REFRESH_TOKEN_INVALID
    assert (await refusal(auth.who(made.key))).reason is Reason.TOKEN_INVALID


async def test_the_service_sees_one_tenant_where_it_forgets_to_ask(start: Start) -> None:
    async with start() as auth:
        for tenant in ("acme", "other"):
            token = await admin(auth, tenant)
            await create_key(auth, token)
            await create_service_account(auth, token)
        connection = await asyncpg.connect(auth.settings.postgres_dsn.get_secret_value())
        await connection.execute("SELECT set_config('geomesh.tenant', 'acme', false)")
        for table in ("sessions", "api_keys", "service_accounts"):
            rows = await connection.fetch(f"SELECT DISTINCT tenant_id FROM auth.{table}")  # noqa: S608
            assert [row["tenant_id"] for row in rows] == ["acme"]
            done = await connection.execute(f"DELETE FROM auth.{table} WHERE tenant_id = 'other'")  # noqa: S608
            assert done == "DELETE 0"
        await connection.close()
