"""What administrators do with tenants."""

from auth.accounts import USUAL_PLAN
from auth.audit import Event
from auth.caller import Caller
from auth.directory import (
    Limits,
    Store,
    Tenant,
    existing_tenant,
    last_administrator,
    no_tenant,
    within_reach,
)
from meshkit.errors import AlreadyExists, Reason


class Tenants:
    """Manages tenants."""

    def __init__(self, store: Store) -> None:
        """Takes where they are kept."""
        self._store = store

    async def create(self, caller: Caller, tenant: str, display_name: str, plan: str, limits: Limits) -> Tenant:
        """Makes a tenant.

        Raises:
            AlreadyExists: There is one with this id.
        """
        async with self._store.change(caller) as change:
            if not await change.add_tenant(tenant, display_name or tenant, plan or USUAL_PLAN, limits):
                raise AlreadyExists(Reason.ALREADY_EXISTS, f"there is a tenant {tenant} already")
            await change.record(Event.TENANT_CREATED, tenant, "", {"plan": plan or USUAL_PLAN} | _limits(limits))
            return await existing_tenant(change, tenant)

    async def get(self, caller: Caller, tenant: str) -> Tenant:
        """Returns a tenant.

        Raises:
            NotFound: There is none that the caller may manage.
        """
        found = await self._store.find_tenant(within_reach(caller, tenant))
        if found is None:
            raise no_tenant(tenant)
        return found

    async def list(self, caller: Caller, after: str | None, page_size: int) -> list[Tenant]:
        """Returns one more tenant than fits a page, if there are so many."""
        return await self._store.list_tenants(caller.reach, after, page_size + 1)

    async def update(
        self, caller: Caller, tenant: str, display_name: str | None, plan: str | None, limits: Limits | None
    ) -> Tenant:
        """Changes what is not None.

        Raises:
            NotFound: There is no such tenant.
        """
        async with self._store.change(caller) as change:
            before = await existing_tenant(change, tenant)
            await change.update_tenant(tenant, display_name, plan, limits)
            after = await existing_tenant(change, tenant)
            details: dict[str, object] = {"plan": f"{before.plan} -> {after.plan}"} if before.plan != after.plan else {}
            if before.limits != after.limits:
                details |= _limits(after.limits) or {"limits": "of the plan"}
            await change.record(Event.TENANT_UPDATED, tenant, "", details)
            return after

    async def suspend(self, caller: Caller, tenant: str, *, suspended: bool) -> Tenant:
        """Keeps everyone in the tenant out, or lets them in again.

        Raises:
            NotFound: There is no such tenant.
            FailedPrecondition: Nobody could administer the mesh any more.
        """
        async with self._store.change(caller) as change:
            await existing_tenant(change, tenant)
            if suspended and not await change.has_administrator_without(None, tenant):
                raise last_administrator()
            if await change.suspend_tenant(tenant, suspended=suspended):
                event = Event.TENANT_SUSPENDED if suspended else Event.TENANT_RESUMED
                await change.record(event, tenant, "", {})
            return await existing_tenant(change, tenant)


def _limits(limits: Limits) -> dict[str, object]:
    fields = {name: getattr(limits, name) for name in Limits.__dataclass_fields__}
    return {name: value for name, value in fields.items() if value is not None}
