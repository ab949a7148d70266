"""Administration, over gRPC: who may do what, and that tenants are kept apart."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from auth.delivery import Kind
from geomesh.auth.v1 import account_pb2
from geomesh.auth.v1 import admin_pb2 as pb
from meshkit.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, PermissionDenied, Reason
from tests.auth.conftest import EMAIL, PASSWORD, Auth, Start, refusal

ROOT = "root@operator.example"
CHIEF = "chief@acme.example"
STRANGER = "someone@other.example"

Bearer = tuple[tuple[str, str], ...]


async def people(auth: Auth) -> tuple[Bearer, Bearer]:
    """Adds two tenants, and returns a system administrator and the administrator of the first, signed in."""
    await auth.add()
    await auth.add(STRANGER, tenant="other")
    await auth.add(CHIEF, role="tenant_admin")
    await auth.add(ROOT, role="system_admin", tenant="public")
    return await auth.bearer(ROOT), await auth.bearer(CHIEF)


async def id_of(auth: Auth, email: str) -> str:
    return str(await auth.arrange(f"SELECT account_id FROM auth.accounts WHERE email = '{email}'"))  # noqa: S608


async def test_makes_and_changes_a_tenant(start: Start) -> None:
    async with start() as auth:
        root, _chief = await people(auth)
        made = await auth.admin.CreateTenant(pb.CreateTenantRequest(tenant_id="new-one", plan="premium"), metadata=root)
        assert (made.tenant_id, made.display_name, made.plan) == ("new-one", "new-one", "premium")
        assert made.status == pb.ACCOUNT_STATUS_ACTIVE
        limits = pb.TenantLimits(requests_per_hour=7)
        changed = await auth.admin.UpdateTenant(
            pb.UpdateTenantRequest(tenant_id="new-one", display_name="New", limits=limits), metadata=root
        )
        assert (changed.display_name, changed.plan, changed.limits) == ("New", "premium", limits)
        again = await auth.admin.GetTenant(pb.GetTenantRequest(tenant_id="new-one"), metadata=root)
        assert again == changed
        error = await refusal(auth.admin.CreateTenant(pb.CreateTenantRequest(tenant_id="acme"), metadata=root))
        assert isinstance(error, AlreadyExists)
        events = [event[0] for event in await auth.audit("new-one")]
        assert events == ["tenant.created", "tenant.updated"]


async def test_a_plan_is_that_of_all_users_from_their_next_token_on(start: Start) -> None:
    async with start() as auth:
        root, _chief = await people(auth)
        await auth.admin.UpdateTenant(pb.UpdateTenantRequest(tenant_id="acme", plan="enterprise"), metadata=root)
        assert (await auth.who((await auth.login()).access_token)).plan == "enterprise"
        assert (await auth.who((await auth.login(STRANGER)).access_token)).plan == "user"


async def test_a_suspended_tenant_is_kept_out_until_it_is_resumed(start: Start) -> None:
    async with start() as auth:
        root, _chief = await people(auth)
        session = await auth.login()
        tenant = await auth.admin.SuspendTenant(pb.SuspendTenantRequest(tenant_id="acme"), metadata=root)
        assert tenant.status == pb.ACCOUNT_STATUS_SUSPENDED
        assert (await refusal(auth.login())).reason is Reason.LOGIN_FAILED
        assert (await refusal(auth.refresh(session.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
        await auth.login(STRANGER)
        await auth.admin.ResumeTenant(pb.ResumeTenantRequest(tenant_id="acme"), metadata=root)
        await auth.login()


async def test_a_suspended_user_is_kept_out_until_resumed(start: Start) -> None:
    async with start() as auth:
        _root, chief = await people(auth)
        session, user_id = await auth.login(), await id_of(auth, EMAIL)
        await auth.admin.SuspendUser(pb.SuspendUserRequest(user_id=user_id), metadata=chief)
        assert (await refusal(auth.login())).reason is Reason.LOGIN_FAILED
        assert (await refusal(auth.refresh(session.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
        await auth.admin.ResumeUser(pb.ResumeUserRequest(user_id=user_id), metadata=chief)
        await auth.login()


async def test_someone_elses_id_is_not_found(start: Start) -> None:
    async with start() as auth:
        _root, chief = await people(auth)
        stranger, nobody = await id_of(auth, STRANGER), str(uuid.uuid4())

        def about_user(user_id: str) -> list[Awaitable[Message]]:
            return [
                auth.admin.GetUser(pb.GetUserRequest(user_id=user_id), metadata=chief),
                auth.admin.SetUserRoles(pb.SetUserRolesRequest(user_id=user_id, roles=["user"]), metadata=chief),
                auth.admin.SuspendUser(pb.SuspendUserRequest(user_id=user_id), metadata=chief),
                auth.admin.ResumeUser(pb.ResumeUserRequest(user_id=user_id), metadata=chief),
                auth.admin.ResetUserTotp(pb.ResetUserTotpRequest(user_id=user_id), metadata=chief),
                auth.admin.DeleteUser(pb.DeleteUserRequest(user_id=user_id), metadata=chief),
            ]

        for theirs, nobodys in zip(about_user(stranger), about_user(nobody), strict=True):
            one, other = await refusal(theirs), await refusal(nobodys)
            assert isinstance(one, NotFound)
            assert one.reason is other.reason is Reason.USER_NOT_FOUND
            assert one.message.replace(stranger, nobody) == other.message

        def about_tenant(tenant: str) -> list[Awaitable[Message]]:
            invitation = pb.InviteUserRequest(email="x@y.example", tenant_id=tenant)
            return [
                auth.admin.GetTenant(pb.GetTenantRequest(tenant_id=tenant), metadata=chief),
                auth.admin.ListUsers(pb.ListUsersRequest(tenant_id=tenant), metadata=chief),
                auth.admin.InviteUser(invitation, metadata=chief),
                auth.admin.ListAuditEvents(pb.ListAuditEventsRequest(tenant_id=tenant), metadata=chief),
                auth.admin.VerifyAuditLog(pb.VerifyAuditLogRequest(tenant_id=tenant), metadata=chief),
            ]

        for call in (*about_tenant("other"), *about_tenant("public"), *about_tenant("nowhere")):
            assert (await refusal(call)).reason is Reason.TENANT_NOT_FOUND
        await auth.login(STRANGER)


async def test_lists_show_a_tenants_administrator_that_tenant_alone(start: Start) -> None:
    async with start() as auth:
        root, chief = await people(auth)
        own = await auth.admin.ListUsers(pb.ListUsersRequest(), metadata=chief)
        assert [user.email for user in own.users] == [CHIEF, EMAIL]
        every = await auth.admin.ListUsers(pb.ListUsersRequest(), metadata=root)
        assert [user.email for user in every.users] == [CHIEF, ROOT, EMAIL, STRANGER]
        tenants = [
            [each.tenant_id for each in (await auth.admin.ListTenants(pb.ListTenantsRequest(), metadata=who)).tenants]
            for who in (chief, root)
        ]
        assert tenants == [["acme"], ["acme", "other", "public"]]
        found = await auth.admin.ListUsers(pb.ListUsersRequest(email=STRANGER), metadata=chief)
        assert not found.users


async def test_pages_of_users_hold_each_of_them_once(start: Start) -> None:
    async with start() as auth:
        root, _chief = await people(auth)
        emails, token = [], ""
        while True:
            request = pb.ListUsersRequest(page_size=1, page_token=token)
            page = await auth.admin.ListUsers(request, metadata=root)
            emails += [user.email for user in page.users]
            if not (token := page.next_page_token):
                break
        assert emails == [CHIEF, ROOT, EMAIL, STRANGER]


async def test_nobody_grants_more_than_they_hold(start: Start) -> None:
    async with start() as auth:
        root, chief = await people(auth)
        user_id = await id_of(auth, EMAIL)
        for call in (
            auth.admin.SetUserRoles(pb.SetUserRolesRequest(user_id=user_id, roles=["system_admin"]), metadata=chief),
            auth.admin.InviteUser(
                pb.InviteUserRequest(email="x@y.example", roles=["user", "system_admin"]), metadata=chief
            ),
        ):
            error = await refusal(call)
            assert isinstance(error, PermissionDenied)
        request = pb.SetUserRolesRequest(user_id=user_id, roles=["tenant_admin"])
        assert list((await auth.admin.SetUserRoles(request, metadata=chief)).roles) == ["tenant_admin"]
        # A system administrator in a tenant is none of its administrator's business.
        request = pb.SetUserRolesRequest(user_id=user_id, roles=["system_admin"])
        await auth.admin.SetUserRoles(request, metadata=root)
        for refused in (
            auth.admin.SuspendUser(pb.SuspendUserRequest(user_id=user_id), metadata=chief),
            auth.admin.DeleteUser(pb.DeleteUserRequest(user_id=user_id), metadata=chief),
            auth.admin.SetUserRoles(pb.SetUserRolesRequest(user_id=user_id, roles=["user"]), metadata=chief),
            auth.admin.ResetUserTotp(pb.ResetUserTotpRequest(user_id=user_id), metadata=chief),
        ):
            assert isinstance(await refusal(refused), PermissionDenied)


async def test_taking_a_role_away_ends_the_sessions_and_giving_one_does_not(start: Start) -> None:
    async with start() as auth:
        _root, chief = await people(auth)
        user_id, session = await id_of(auth, EMAIL), await auth.login()
        more = pb.SetUserRolesRequest(user_id=user_id, roles=["premium"])
        await auth.admin.SetUserRoles(more, metadata=chief)
        session = await auth.refresh(session.refresh_token)
        assert list((await auth.who(session.access_token)).roles) == ["premium"]
        less = pb.SetUserRolesRequest(user_id=user_id, roles=["user"])
        await auth.admin.SetUserRoles(less, metadata=chief)
        assert (await refusal(auth.refresh(session.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
        changes = [event for event in await auth.audit() if event[0] == "user.roles_changed"]
        assert changes[-1][2:] == (user_id, '{"after":["user"],"before":["premium"]}')


async def test_the_last_administrator_stays(start: Start) -> None:
    async with start() as auth:
        root, _chief = await people(auth)
        user_id = await id_of(auth, ROOT)
        for call in (
            auth.admin.SuspendUser(pb.SuspendUserRequest(user_id=user_id), metadata=root),
            auth.admin.DeleteUser(pb.DeleteUserRequest(user_id=user_id), metadata=root),
            auth.admin.SuspendTenant(pb.SuspendTenantRequest(tenant_id="public"), metadata=root),
        ):
            assert isinstance(await refusal(call), FailedPrecondition)


async def test_two_administrators_cannot_remove_each_other_at_once(start: Start) -> None:
    async with start() as auth:
        root, _chief = await people(auth)
        await auth.add("second@operator.example", role="system_admin", tenant="public")
        second = await auth.bearer("second@operator.example")
        ids = [await id_of(auth, email) for email in (ROOT, "second@operator.example")]
        results = await asyncio.gather(
            auth.admin.DeleteUser(pb.DeleteUserRequest(user_id=ids[1]), metadata=root),
            auth.admin.DeleteUser(pb.DeleteUserRequest(user_id=ids[0]), metadata=second),
            return_exceptions=True,
        )
        assert sum(isinstance(result, BaseException) for result in results) == 1


async def test_the_operators_tenant_holds_system_administrators_alone(start: Start) -> None:
    async with start() as auth:
        root, _chief = await people(auth)
        request = pb.CreateUserRequest(email="x@y.example", password=PASSWORD, tenant_id="public", roles=["user"])
        error = await refusal(auth.admin.CreateUser(request, metadata=root))
        assert isinstance(error, InvalidInput)
        assert error.violations[0].field == "roles"


async def test_makes_a_user_who_can_sign_in(start: Start) -> None:
    async with start() as auth:
        root, chief = await people(auth)
        request = pb.CreateUserRequest(email="X@Y.example", password=PASSWORD, tenant_id="other")
        made = await auth.admin.CreateUser(request, metadata=root)
        assert (made.email, made.tenant_id, list(made.roles), made.plan) == ("x@y.example", "other", ["user"], "user")
        await auth.login("x@y.example")
        assert isinstance(await refusal(auth.admin.CreateUser(request, metadata=root)), AlreadyExists)
        weak = pb.CreateUserRequest(email="z@y.example", password="password1", tenant_id="other")
        assert (await refusal(auth.admin.CreateUser(weak, metadata=root))).reason is Reason.PASSWORD_TOO_WEAK
        nowhere = pb.CreateUserRequest(email="z@y.example", password=PASSWORD, tenant_id="nowhere")
        assert (await refusal(auth.admin.CreateUser(nowhere, metadata=root))).reason is Reason.TENANT_NOT_FOUND
        # It would tell a tenant's administrator who has an account elsewhere.
        assert isinstance(await refusal(auth.admin.CreateUser(request, metadata=chief)), PermissionDenied)


async def test_an_invitation_leads_into_the_tenant_that_invites(start: Start) -> None:
    async with start() as auth:
        _root, chief = await people(auth)
        await auth.admin.InviteUser(pb.InviteUserRequest(email="new@acme.example", roles=["premium"]), metadata=chief)
        await auth.admin.InviteUser(pb.InviteUserRequest(email=STRANGER), metadata=chief)
        invitation, note = sorted(await auth.mails(), key=lambda each: each.email)
        assert (invitation.kind, invitation.tenant, note.kind) == (Kind.INVITATION, "acme", Kind.ACCOUNT_EXISTS)
        assert not note.token
        made = await auth.account.CompleteSignUp(
            account_pb2.CompleteSignUpRequest(sign_up_token=invitation.token, password=PASSWORD)
        )
        user = await auth.admin.GetUser(pb.GetUserRequest(user_id=made.user_id), metadata=chief)
        assert (user.tenant_id, list(user.roles)) == ("acme", ["premium"])
        await auth.login("new@acme.example")


async def test_nobody_is_invited_where_sign_up_is_closed(start: Start) -> None:
    async with start(sign_up="closed") as auth:
        _root, chief = await people(auth)
        request = pb.InviteUserRequest(email="new@acme.example")
        assert (await refusal(auth.admin.InviteUser(request, metadata=chief))).reason is Reason.SIGN_UP_CLOSED
        assert await auth.mails() == []
        assert "user.invited" not in [event[0] for event in await auth.audit()]


async def test_a_deleted_user_is_gone_and_the_log_stays(start: Start) -> None:
    async with start() as auth:
        _root, chief = await people(auth)
        session, user_id = await auth.login(), await id_of(auth, EMAIL)
        await auth.admin.DeleteUser(pb.DeleteUserRequest(user_id=user_id), metadata=chief)
        assert (await refusal(auth.login())).reason is Reason.LOGIN_FAILED
        assert (await refusal(auth.refresh(session.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
        log = await auth.admin.ListAuditEvents(pb.ListAuditEventsRequest(subject=user_id), metadata=chief)
        assert [event.event for event in log.events] == ["user.deleted", "sign_in"]
        assert log.events[0].actor == await id_of(auth, CHIEF)


@pytest.mark.parametrize("role", ["user", "premium"])
async def test_users_administer_nothing(start: Start, role: str) -> None:
    async with start() as auth:
        await auth.add(role=role)
        me = await auth.bearer()
        for rpc in pb.DESCRIPTOR.services_by_name["AdminService"].methods:
            call: Callable[..., Awaitable[object]] = getattr(auth.admin, rpc.name)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(GetMessageClass(rpc.input_type)(), metadata=me)
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_sql_is_text_like_any_other(start: Start) -> None:
    async with start() as auth:
        root, _chief = await people(auth)
        for text in ("' OR true --", "%", "_", "\\", "public'; DROP TABLE auth.accounts; --"):
            assert not (await auth.admin.ListUsers(pb.ListUsersRequest(email=text), metadata=root)).users
            assert not (await auth.admin.ListUsers(pb.ListUsersRequest(tenant_id=text), metadata=root)).users
            request = pb.ListAuditEventsRequest(event=text, subject=text)
            assert not (await auth.admin.ListAuditEvents(request, metadata=root)).events
            named = pb.UpdateTenantRequest(tenant_id="acme", display_name=text)
            assert (await auth.admin.UpdateTenant(named, metadata=root)).display_name == text
