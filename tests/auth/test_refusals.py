"""What any service refuses a known caller is in the log of the caller's tenant: soon, once, and seen by its administrators."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest
from pydantic import SecretStr
from redis import asyncio as driver

from auth.refusal_repository import RefusalRepository
from geomesh.auth.v1 import admin_pb2 as pb
from geomesh.spatial_index.v1 import spatial_index_pb2, spatial_index_pb2_grpc
from meshkit.errors import PermissionDenied, Reason, Unauthenticated
from meshkit.postgres import Postgres
from meshkit.refusals import FIELD, STREAM
from meshkit.serve import running
from spatial_index.entities import Entities
from spatial_index.repository import EntityRepository
from spatial_index.servicer import SpatialIndexServicer
from spatial_index.settings import Settings
from tests.auth.conftest import Auth, Start, refusal
from tests.auth.programs import bearer
from tests.auth.test_admin import STRANGER, Bearer, id_of, people
from tests.meshkit.servers import Server, empty, redis_server, until
from tests.meshkit.test_trusted_issuers import Provider, entry
from tests.spatial_index.conftest import entity

REFUSED = "authorization.refused"
UPSERT = "/geomesh.spatial_index.v1.SpatialIndexService/UpsertEntities"
LIST_USERS = "/geomesh.auth.v1.AdminService/ListUsers"
VIEWER = "viewer@acme.example"
WITHIN_SECONDS = 20.0
"""It takes two; the machine may be busy."""

Write = Callable[[Bearer], Any]
Serve = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with redis_server() as server:
        yield server


@pytest.fixture
def spatial_index(database_url: Callable[[str], str]) -> Serve:
    """Starts a spatial-index service beside an auth service, and yields a write of it."""

    @asynccontextmanager
    async def started(auth: Auth, **changes: Any) -> AsyncIterator[Write]:
        settings = Settings(
            port=0,
            metrics_port=0,
            auth_address=auth.settings.auth_address,
            redis_url=auth.settings.redis_url,
            trusted_issuers=auth.settings.trusted_issuers,
            postgres_dsn=SecretStr(database_url("spatial-index")),
            drain_notice_seconds=0.0,
            **changes,
        )
        database = Postgres(settings)
        servicer = SpatialIndexServicer(settings, Entities(EntityRepository(database)))
        request = spatial_index_pb2.UpsertEntitiesRequest(entities=[entity()])
        async with (
            running(settings, servicers=[servicer], dependencies=[database]) as ports,
            grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
        ):
            stub: spatial_index_pb2_grpc.SpatialIndexServiceAsyncStub
            stub = spatial_index_pb2_grpc.SpatialIndexServiceStub(channel)
            yield lambda metadata: stub.UpsertEntities(request, metadata=metadata)

    return started


async def viewer(auth: Auth) -> Bearer:
    """Adds an account that may write nothing, and signs it in."""
    await auth.add(VIEWER, role="public")
    return bearer((await auth.login(VIEWER)).access_token)


async def listed(auth: Auth, administrator: Bearer, **wanted: Any) -> list[pb.AuditEvent]:
    request = pb.ListAuditEventsRequest(event=REFUSED, page_size=1000, **wanted)
    return list((await auth.admin.ListAuditEvents(request, metadata=administrator)).events)


async def entries(auth: Auth, tenant: str = "acme") -> list[dict[str, Any]]:
    """Returns the details of what was refused in a tenant, with the subject."""
    return [
        {"subject": subject} | json.loads(details)
        for event, _outcome, subject, details in await auth.audit(tenant)
        if event == REFUSED
    ]


async def counted(auth: Auth, most: int, tenant: str = "acme") -> list[dict[str, Any]]:
    """Waits until so many refusals are in a tenant's log, and returns its entries."""

    async def all_are_there() -> bool:
        return bool(sum(each["count"] for each in await entries(auth, tenant)) >= most)

    await until(all_are_there, WITHIN_SECONDS)
    return await entries(auth, tenant)


async def denied(call: Any) -> None:
    assert isinstance(await refusal(call), PermissionDenied)


async def test_a_viewers_write_is_one_entry_that_the_tenants_administrator_reads(
    start: Start, spatial_index: Serve
) -> None:
    async with start() as auth, spatial_index(auth) as write:
        _root, chief = await people(auth)
        metadata = await viewer(auth)
        await denied(write(metadata))
        await counted(auth, 1)
        # Later than whatever might come twice.
        await denied(auth.admin.ListUsers(pb.ListUsersRequest(), metadata=metadata))
        await counted(auth, 2)
        (by_auth, by_index) = await listed(auth, chief)
        subject = await id_of(auth, VIEWER)
        assert (by_index.subject, by_index.actor, by_index.outcome) == (subject, subject, pb.AUDIT_OUTCOME_REFUSED)
        assert (by_index.tenant_id, by_index.address) == ("acme", "127.0.0.1")
        assert by_index.request_id
        details = json.loads(by_index.details)
        assert (details["service"], details["method"], details["count"]) == ("spatial-index", UPSERT, 1)
        assert (details["reason"], details["client_id"]) == ("PERMISSION_MISSING", "geomesh")
        assert details["first_time"] == details["last_time"] <= by_index.time.ToJsonString()
        details = json.loads(by_auth.details)
        assert (details["service"], details["method"], details["count"]) == ("auth", LIST_USERS, 1)
        assert await listed(auth, chief, subject=subject) == [by_auth, by_index]
        assert await listed(auth, chief, subject=await id_of(auth, STRANGER)) == []
        verdict = await auth.admin.VerifyAuditLog(pb.VerifyAuditLogRequest(), metadata=chief)
        assert (verdict.intact, verdict.complete) == (True, True)


async def test_nobody_else_sees_it(start: Start, spatial_index: Serve) -> None:
    async with start() as auth, spatial_index(auth) as write:
        await people(auth)
        await auth.add("boss@other.example", role="tenant_admin", tenant="other")
        boss = await auth.bearer("boss@other.example")
        metadata = await viewer(auth)
        await denied(write(metadata))
        await counted(auth, 1)
        assert await listed(auth, boss) == []
        asked = auth.admin.ListAuditEvents(pb.ListAuditEventsRequest(tenant_id="acme"), metadata=boss)
        assert (await refusal(asked)).reason is Reason.TENANT_NOT_FOUND
        await denied(auth.admin.ListAuditEvents(pb.ListAuditEventsRequest(), metadata=metadata))


async def test_the_grant_of_a_role_above_the_grantors_is_entered_too(start: Start) -> None:
    async with start() as auth:
        _root, chief = await people(auth)
        user = await id_of(auth, "someone@acme.example")
        await denied(
            auth.admin.SetUserRoles(pb.SetUserRolesRequest(user_id=user, roles=["system_admin"]), metadata=chief)
        )
        (found,) = await counted(auth, 1)
        assert found["method"].endswith("/SetUserRoles")
        assert found["subject"] == await id_of(auth, "chief@acme.example")


async def test_a_thousand_refusals_are_few_entries_whose_counts_add_up(start: Start, spatial_index: Serve) -> None:
    async with start() as auth, spatial_index(auth, refusal_audit_seconds=2) as write:
        _root, chief = await people(auth)
        metadata = await viewer(auth)
        for _ in range(10):
            await asyncio.gather(*(denied(write(metadata)) for _ in range(100)))
        found = await counted(auth, 1000)
        assert sum(each["count"] for each in found) == 1000
        assert len(found) <= 10
        assert {each["method"] for each in found} == {UPSERT}
        assert (await auth.admin.VerifyAuditLog(pb.VerifyAuditLogRequest(), metadata=chief)).intact


async def test_two_replicas_enter_each_once(start: Start, spatial_index: Serve) -> None:
    async with start() as auth, start(), spatial_index(auth) as write:
        await people(auth)
        emails = [f"viewer-{number}@acme.example" for number in range(40)]
        for email in emails:
            await auth.add(email, role="public")
        tokens = [bearer((await auth.login(email)).access_token) for email in emails]
        await asyncio.gather(*(denied(write(each)) for each in tokens))
        found = await counted(auth, 40)
        assert sorted(each["subject"] for each in found) == sorted([await id_of(auth, email) for email in emails])


async def test_refusals_outlive_an_outage_of_redis(start: Start, spatial_index: Serve, server: Server) -> None:
    empty(server)
    url = server.url
    async with start(redis_url=url) as auth, spatial_index(auth, refusal_audit_seconds=1) as write:
        await people(auth)
        metadata = await viewer(auth)
        await denied(write(metadata))
        await counted(auth, 1)
        server.stop()
        for _ in range(3):
            await asyncio.gather(*(denied(write(metadata)) for _ in range(10)))
            await asyncio.sleep(1)
        server.start()
        found = await counted(auth, 31)
        assert sum(each["count"] for each in found) == 31


async def test_what_was_entered_and_not_deleted_is_entered_once(
    start: Start, spatial_index: Serve, server: Server
) -> None:
    empty(server)
    async with driver.Redis.from_url(server.url.get_secret_value()) as redis:
        # As if the service was killed each time before it can delete what it has entered.
        await redis.acl_setuser("undeleting", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-xdel"])
        undeleting = SecretStr(f"redis://undeleting:any@127.0.0.1:{server.port}/0")
        async with start(redis_url=undeleting) as auth, spatial_index(auth) as write:
            await people(auth)
            await denied(write(await viewer(auth)))
            await counted(auth, 1)
            assert await redis.xlen(STREAM) == 1
        async with start(redis_url=server.url) as auth:

            async def nothing_waits() -> bool:
                return not await redis.xlen(STREAM)

            await until(nothing_waits, WITHIN_SECONDS)
            assert [each["count"] for each in await entries(auth)] == [1]


async def test_what_cannot_be_entered_keeps_nothing_waiting(start: Start, spatial_index: Serve, redis_url: str) -> None:
    async with start() as auth, spatial_index(auth) as write:
        await people(auth)
        metadata = await viewer(auth)
        async with driver.Redis.from_url(redis_url) as redis:
            for field, wrong in ((b"other", "x"), (FIELD, "{}"), (FIELD, wrong_time())):
                await redis.xadd(STREAM, {field: wrong})
        await denied(write(metadata))
        assert [each["method"] for each in await counted(auth, 1)] == [UPSERT]


def wrong_time() -> str:
    texts = dict.fromkeys(
        ("tenant", "subject", "client_id", "service", "method", "reason", "address", "request_id"), "x"
    )
    return json.dumps(
        texts
        | {"refusal_id": "6d9a7f0e-1d6f-4b0f-8f5a-1d6f4b0f8f5a", "count": 1, "first_time": 1e300, "last_time": 1e300}
    )


async def test_a_suspended_tenants_calls_are_nobodys_and_what_was_before_stays(
    start: Start, spatial_index: Serve
) -> None:
    async with start() as auth:
        root, _chief = await people(auth)
        metadata, kinds = await viewer(auth), []
        async with spatial_index(auth) as write:

            async def is_kept_out() -> bool:
                kinds.append(type(await refusal(write(metadata))))
                return kinds[-1] is Unauthenticated

            assert not await is_kept_out()
            await auth.admin.SuspendTenant(pb.SuspendTenantRequest(tenant_id="acme"), metadata=root)
            await until(is_kept_out, WITHIN_SECONDS)
            for _ in range(20):
                assert await is_kept_out()
        # The service has handed over all that it had, and what is refused to somebody else now is entered after that.
        await denied(auth.admin.SuspendTenant(pb.SuspendTenantRequest(tenant_id="x"), metadata=await strangers(auth)))
        await counted(auth, 1, "other")
        assert sum(each["count"] for each in await entries(auth)) == kinds.count(PermissionDenied)
        assert await listed(auth, root, tenant_id="acme")


async def strangers(auth: Auth) -> Bearer:
    return bearer((await auth.login(STRANGER)).access_token)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


async def test_a_tenant_that_only_another_issuer_knows_has_a_log_for_its_own_administrators(
    start: Start, spatial_index: Serve, provider: Provider
) -> None:
    issuers = [entry(provider, tenants=["elsewhere"])]
    async with start(trusted_issuers=issuers) as auth, spatial_index(auth) as write:
        root, chief = await people(auth)
        reader = bearer(provider.token(org="elsewhere", sub="reader", realm_access={"roles": []}))
        boss = bearer(provider.token(org="elsewhere", sub="boss"))
        await denied(write(reader))
        (found,) = await counted(auth, 1, "elsewhere")
        assert (found["subject"], found["client_id"]) == ("corp|reader", "corp|portal")
        assert len(await listed(auth, boss)) == len(await listed(auth, root, tenant_id="elsewhere")) == 1
        assert await listed(auth, chief) == await listed(auth, root) == []
        assert (await auth.admin.VerifyAuditLog(pb.VerifyAuditLogRequest(), metadata=boss)).intact


async def test_what_was_entered_long_ago_is_remembered_no_more(start: Start) -> None:
    async with start() as auth:
        database = Postgres(auth.settings)
        await database.start()
        old, new = uuid.uuid4(), uuid.uuid4()
        for each, age in ((old, "8 days"), (new, "6 days")):
            await auth.arrange(f"INSERT INTO auth.entered_refusals VALUES ('{each}', now() - interval '{age}')")  # noqa: S608
        await RefusalRepository(database).forget(timedelta(days=7))
        await database.close()
        async with auth.owner() as connection:
            assert await connection.fetchval("SELECT array_agg(refusal_id) FROM auth.entered_refusals") == [new]
