"""Administration over gRPC."""

from datetime import datetime
from typing import Any, Final, TypeVar

import grpc

from auth import admin_convert as convert
from auth.audit import Head
from auth.audit_reading import AuditLog
from auth.caller import caller_of
from auth.directory import Limits
from auth.tenant_limits import TenantLimits
from auth.tenants import Tenants
from auth.users import Users
from geomesh.auth.v1 import admin_pb2 as pb
from geomesh.auth.v1.admin_pb2_grpc import AdminServiceServicer
from meshkit.paging import PageToken

ItemT = TypeVar("ItemT")

_USUAL: Final = 100
_MOST: Final = 500
_MOST_EVENTS: Final = 1000

Context = grpc.aio.ServicerContext[Any, Any]


class AdminServicer(AdminServiceServicer):
    """Translates."""

    def __init__(self, tenants: Tenants, users: Users, log: AuditLog, limits: TenantLimits) -> None:
        """Takes the domain, and what brings limits to where they are held."""
        self._tenants = tenants
        self._users = users
        self._log = log
        self._limits = limits

    async def CreateTenant(self, request: pb.CreateTenantRequest, context: Context) -> pb.Tenant:
        """Makes a tenant."""
        limits = convert.limits_of(request.limits)
        made = await self._tenants.create(
            caller_of(context), request.tenant_id, request.display_name, request.plan, limits
        )
        await self._limits.publish(made.id, made.limits)
        return convert.tenant(made)

    async def GetTenant(self, request: pb.GetTenantRequest, context: Context) -> pb.Tenant:
        """Returns a tenant."""
        return convert.tenant(await self._tenants.get(caller_of(context), request.tenant_id))

    async def ListTenants(self, request: pb.ListTenantsRequest, context: Context) -> pb.ListTenantsResponse:
        """Lists tenants."""
        size = _size(request.page_size, _MOST)
        after = PageToken.decode(request.page_token, query=request, types=(str,))
        found, more = _page(await self._tenants.list(caller_of(context), after[0] if after else None, size), size)
        position = (found[-1].id,) if more else None
        token = PageToken.encode(position, query=request)
        return pb.ListTenantsResponse(tenants=map(convert.tenant, found), next_page_token=token)

    async def UpdateTenant(self, request: pb.UpdateTenantRequest, context: Context) -> pb.Tenant:
        """Changes a tenant."""
        name = request.display_name if request.HasField("display_name") else None
        plan = request.plan if request.HasField("plan") else None
        limits: Limits | None = convert.limits_of(request.limits) if request.HasField("limits") else None
        changed = await self._tenants.update(caller_of(context), request.tenant_id, name, plan, limits)
        await self._limits.publish(changed.id, changed.limits)
        return convert.tenant(changed)

    async def SuspendTenant(self, request: pb.SuspendTenantRequest, context: Context) -> pb.Tenant:
        """Keeps a tenant out."""
        return convert.tenant(await self._tenants.suspend(caller_of(context), request.tenant_id, suspended=True))

    async def ResumeTenant(self, request: pb.ResumeTenantRequest, context: Context) -> pb.Tenant:
        """Lets a tenant in."""
        return convert.tenant(await self._tenants.suspend(caller_of(context), request.tenant_id, suspended=False))

    async def CreateUser(self, request: pb.CreateUserRequest, context: Context) -> pb.User:
        """Makes a user."""
        made = await self._users.create(
            caller_of(context), request.email, request.password, request.tenant_id, request.roles
        )
        return convert.user(made)

    async def InviteUser(self, request: pb.InviteUserRequest, context: Context) -> pb.InviteUserResponse:
        """Invites someone."""
        await self._users.invite(caller_of(context), request.email, request.tenant_id, request.roles)
        return pb.InviteUserResponse()

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.User:
        """Returns a user."""
        return convert.user(await self._users.get(caller_of(context), request.user_id))

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        """Lists users."""
        size = _size(request.page_size, _MOST)
        after = PageToken.decode(request.page_token, query=request, types=(str,))
        position = after[0] if after else None
        found, more = _page(
            await self._users.list(caller_of(context), request.tenant_id, request.email, position, size), size
        )
        token = PageToken.encode((found[-1].email,) if more else None, query=request)
        return pb.ListUsersResponse(users=map(convert.user, found), next_page_token=token)

    async def SetUserRoles(self, request: pb.SetUserRolesRequest, context: Context) -> pb.User:
        """Gives a user other roles."""
        return convert.user(await self._users.set_roles(caller_of(context), request.user_id, request.roles))

    async def SuspendUser(self, request: pb.SuspendUserRequest, context: Context) -> pb.User:
        """Keeps a user out."""
        return convert.user(await self._users.suspend(caller_of(context), request.user_id, suspended=True))

    async def ResumeUser(self, request: pb.ResumeUserRequest, context: Context) -> pb.User:
        """Lets a user in."""
        return convert.user(await self._users.suspend(caller_of(context), request.user_id, suspended=False))

    async def ResetUserTotp(self, request: pb.ResetUserTotpRequest, context: Context) -> pb.User:
        """Takes a second factor away."""
        return convert.user(await self._users.reset_totp(caller_of(context), request.user_id))

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: Context) -> pb.DeleteUserResponse:
        """Deletes a user."""
        await self._users.delete(caller_of(context), request.user_id)
        return pb.DeleteUserResponse()

    async def ListAuditEvents(self, request: pb.ListAuditEventsRequest, context: Context) -> pb.ListAuditEventsResponse:
        """Lists what happened."""
        size = _size(request.page_size, _MOST_EVENTS)
        position = PageToken.decode(request.page_token, query=request, types=(datetime, int))
        before = (position[0], position[1]) if position else None
        found, more = _page(
            await self._log.list(caller_of(context), request.tenant_id, convert.wanted(request), before, size), size
        )
        last = (found[-1].occurred_at, found[-1].sequence) if more else None
        token = PageToken.encode(last, query=request)
        return pb.ListAuditEventsResponse(events=map(convert.audit_event, found), next_page_token=token)

    async def VerifyAuditLog(self, request: pb.VerifyAuditLogRequest, context: Context) -> pb.VerifyAuditLogResponse:
        """Verifies the log."""
        known = Head(request.known_sequence, request.known_hash) if request.known_sequence else None
        return convert.verdict(await self._log.verify(caller_of(context), request.tenant_id, known))


def _size(asked: int, most: int) -> int:
    return min(asked, most) if asked else _USUAL


def _page(found: list[ItemT], size: int) -> tuple[list[ItemT], bool]:
    return found[:size], len(found) > size
