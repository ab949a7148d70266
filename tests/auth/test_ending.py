"""What administrators and owners of accounts do ends tokens within seconds, in a process that runs on."""

from collections.abc import Awaitable, Callable

import pytest

from auth import audit
from geomesh.auth.v1 import account_pb2, admin_pb2
from geomesh.auth.v1 import auth_pb2 as pb
from meshkit.errors import Reason
from tests.auth.conftest import EMAIL, PASSWORD, Auth, Start, refusal
from tests.auth.programs import bearer, by_key, by_secret, create_key, create_service_account, refused_with
from tests.auth.test_admin import CHIEF, STRANGER, Bearer, id_of, people

NEW_PASSWORD = "a violet ladder under water"

Deed = Callable[[Auth, Bearer, str], Awaitable[object]]


async def suspend(auth: Auth, chief: Bearer, user_id: str) -> object:
    return await auth.admin.SuspendUser(admin_pb2.SuspendUserRequest(user_id=user_id), metadata=chief)


async def delete(auth: Auth, chief: Bearer, user_id: str) -> object:
    return await auth.admin.DeleteUser(admin_pb2.DeleteUserRequest(user_id=user_id), metadata=chief)


async def reset_totp(auth: Auth, chief: Bearer, user_id: str) -> object:
    return await auth.admin.ResetUserTotp(admin_pb2.ResetUserTotpRequest(user_id=user_id), metadata=chief)


async def demote(auth: Auth, chief: Bearer, user_id: str) -> object:
    request = admin_pb2.SetUserRolesRequest(user_id=user_id, roles=["public"])
    return await auth.admin.SetUserRoles(request, metadata=chief)


async def change_password(auth: Auth, _chief: Bearer, _user_id: str) -> object:
    request = account_pb2.ChangePasswordRequest(old_password=PASSWORD, new_password=NEW_PASSWORD)
    return await auth.account.ChangePassword(request, metadata=await auth.bearer())


async def reset_password(auth: Auth, _chief: Bearer, _user_id: str) -> object:
    await auth.account.RequestPasswordReset(account_pb2.RequestPasswordResetRequest(email=EMAIL))
    token = (await auth.mails())[-1].token
    return await auth.account.ResetPassword(
        account_pb2.ResetPasswordRequest(reset_token=token, new_password=NEW_PASSWORD)
    )


@pytest.mark.parametrize("deed", [suspend, delete, reset_totp, demote, change_password, reset_password])
async def test_ends_the_tokens_of_a_user_and_of_nobody_else(start: Start, deed: Deed) -> None:
    async with start() as auth:
        _root, chief = await people(auth)
        tokens, others = await auth.login(), await auth.login(STRANGER)
        await auth.who(tokens.access_token)
        await deed(auth, chief, await id_of(auth, EMAIL))
        assert (await refusal(auth.refresh(tokens.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
        await refused_with(lambda: auth.who(tokens.access_token), Reason.TOKEN_REVOKED)
        assert (await auth.who(others.access_token)).tenant == "other"


async def test_a_suspended_tenant_ends_people_and_programs(start: Start) -> None:
    async with start() as auth, start() as replica:
        root, _chief = await people(auth)
        tokens, chief, others = await auth.login(), await auth.login(CHIEF), await auth.login(STRANGER)
        key = (await create_key(auth, tokens.access_token)).key
        program = await create_service_account(auth, chief.access_token)
        held = [
            tokens.access_token,
            (await by_key(auth, key)).access_token,
            (await by_secret(auth, program)).access_token,
        ]
        for token in held:
            await replica.who(token)
        await auth.admin.SuspendTenant(admin_pb2.SuspendTenantRequest(tenant_id="acme"), metadata=root)
        assert (await refusal(auth.refresh(tokens.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
        assert (await refusal(by_key(auth, key))).reason is Reason.CREDENTIAL_INVALID
        assert (await refusal(by_secret(auth, program))).reason is Reason.CREDENTIAL_INVALID
        for token in held:
            await refused_with(lambda token=token: replica.who(token), Reason.TOKEN_REVOKED)  # type: ignore[misc]
        assert (await replica.who(others.access_token)).tenant == "other"
        await auth.admin.ResumeTenant(admin_pb2.ResumeTenantRequest(tenant_id="acme"), metadata=root)
        assert (await auth.refresh(tokens.refresh_token)).access_token
        assert (await by_key(auth, key)).access_token


async def test_a_program_is_on_the_plan_of_its_tenant(start: Start) -> None:
    async with start() as auth:
        root, _chief = await people(auth)
        program = await create_service_account(auth, (await auth.login(CHIEF)).access_token)
        await auth.admin.UpdateTenant(admin_pb2.UpdateTenantRequest(tenant_id="acme", plan="premium"), metadata=root)
        assert (await auth.who((await by_secret(auth, program)).access_token)).plan == "premium"


async def test_what_happens_to_sessions_and_keys_stands_in_the_audit_log(start: Start) -> None:
    async with start() as auth:
        root, _chief = await people(auth)
        tokens = await auth.login()
        made = await create_key(auth, tokens.access_token)
        await auth.stub.RevokeApiKey(
            pb.RevokeApiKeyRequest(api_key_id=made.api_key.api_key_id), metadata=bearer(tokens.access_token)
        )
        await auth.stub.Logout(pb.LogoutRequest(refresh_token=tokens.refresh_token))
        user_id = await id_of(auth, EMAIL)
        own = [(event, outcome) for event, outcome, subject, _ in await auth.audit() if subject == user_id]
        assert own == [
            (name, audit.SUCCESS) for name in ("sign_in", "api_key.created", "api_key.revoked", "session.ended")
        ]
        verdict = await auth.admin.VerifyAuditLog(admin_pb2.VerifyAuditLogRequest(tenant_id="acme"), metadata=root)
        assert verdict.intact
