"""Refusals through the whole mesh: by the edge to a service, from there to the log, also when auth is killed on the way."""

import asyncio
import json
import uuid
from typing import Any

import asyncpg
import httpx
from redis import asyncio as driver

from meshkit.refusals import STREAM
from tests.mesh.test_edge_faults import until_restarted
from tests.mesh.test_tokens import authorization, create_user, login
from tests.running_mesh import Mesh

ENTITIES = {"entities": [{"entityId": "ship", "location": {"lat": 1, "lng": 2}, "time": "2024-05-01T00:00:00Z"}]}
WITHIN_SECONDS = 30


async def refused(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post("/v1/entities:batch", json=ENTITIES, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, 7)


async def events(client: httpx.AsyncClient, headers: dict[str, str]) -> list[dict[str, Any]]:
    """Returns the refusals that an administrator finds in the tenant's log."""
    asked = {"event": "authorization.refused"}
    found: list[dict[str, Any]] = (
        (await client.get("/v1/auditEvents", params=asked, headers=headers)).raise_for_status().json()["events"]
    )
    return found


async def some(client: httpx.AsyncClient, headers: dict[str, str]) -> list[dict[str, Any]]:
    async with asyncio.timeout(WITHIN_SECONDS):
        while not (found := await events(client, headers)):  # noqa: ASYNC110 -- it is asked over the wire
            await asyncio.sleep(0.2)
    return found


async def people(mesh: Mesh, client: httpx.AsyncClient) -> tuple[str, dict[str, str], dict[str, str]]:
    """Makes a tenant with a viewer and an administrator, and returns it with what they present."""
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    viewer, chief = [
        authorization((await login(client, create_user(mesh, tenant, role)))["accessToken"])
        for role in ("public", "tenant_admin")
    ]
    return tenant, viewer, chief


async def until_someone_waits(owner: asyncpg.Connection) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'auth.entered_refusals'::regclass"
    async with asyncio.timeout(WITHIN_SECONDS):
        while not await owner.fetchval(waiting):  # noqa: ASYNC110 -- Postgres tells nobody
            await asyncio.sleep(0.05)


async def until_the_stream_is_empty(mesh: Mesh) -> None:
    async with driver.Redis.from_url(mesh.stack.redis_url()) as redis, asyncio.timeout(WITHIN_SECONDS):
        while await redis.xlen(STREAM):  # noqa: ASYNC110 -- nor does Redis
            await asyncio.sleep(0.05)


async def test_a_viewers_write_through_the_edge_is_in_the_tenants_log(mesh: Mesh, client: httpx.AsyncClient) -> None:
    _tenant, viewer, chief = await people(mesh, client)
    _other, _viewer, stranger = await people(mesh, client)
    request_id = str(uuid.uuid4())
    await refused(client, viewer | {"x-request-id": request_id, "x-envoy-external-address": "192.0.2.66"})
    (event,) = await some(client, chief)
    details = json.loads(event["details"])
    assert (details["service"], details["count"]) == ("spatial-index", 1)
    assert details["method"] == "/geomesh.spatial_index.v1.SpatialIndexService/UpsertEntities"
    assert (event["outcome"], event["address"]) == ("AUDIT_OUTCOME_REFUSED", "127.0.0.1")
    assert event["requestId"] == request_id
    assert await events(client, stranger) == []
    verdict = (await client.get("/v1/auditEvents:verify", headers=chief)).json()
    assert (verdict["intact"], verdict["complete"]) == (True, True)


async def test_auth_that_is_killed_while_it_enters_a_refusal_leaves_one_entry(
    mesh: Mesh, client: httpx.AsyncClient
) -> None:
    tenant, viewer, chief = await people(mesh, client)
    owner = await asyncpg.connect(mesh.stack.owner_dsn())
    try:
        # The service has read the refusal and cannot enter it before this ends.
        holding = owner.transaction()
        await holding.start()
        await owner.execute("LOCK TABLE auth.entered_refusals IN ACCESS EXCLUSIVE MODE")
        await refused(client, viewer)
        await until_someone_waits(owner)
        pids = {each: mesh.stack.supervisor.states()[each].pid for each in mesh.programs["auth"]}
        for program in pids:
            mesh.kill(program)
        await holding.rollback()
        for program, pid in pids.items():
            await until_restarted(mesh, program, pid)
        await some(client, chief)
        await until_the_stream_is_empty(mesh)
        counts = await owner.fetch(
            "SELECT details ->> 'count' AS count FROM auth.audit_events "
            "WHERE tenant_id = $1 AND event = 'authorization.refused'",
            tenant,
        )
        assert [each["count"] for each in counts] == ["1"]
    finally:
        await owner.close()
    assert (await client.get("/v1/auditEvents:verify", headers=chief)).json()["intact"]
