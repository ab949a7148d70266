"""Limits of tenants reach Redis, where the rate-limit service reads them."""

import asyncio

import redis.asyncio

from geomesh.auth.v1 import admin_pb2 as pb
from tests.auth.conftest import Auth, Start


async def root(auth: Auth) -> tuple[tuple[str, str], ...]:
    await auth.add("root@operator.example", role="system_admin", tenant="public")
    await auth.add()
    return await auth.bearer("root@operator.example")


async def until(client: redis.asyncio.Redis, wanted: dict[bytes, bytes]) -> None:
    async with asyncio.timeout(20):
        while await client.hgetall("geomesh:limits:acme") != wanted:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


async def test_a_change_is_there_at_once_and_a_limit_taken_back_is_gone(start: Start, redis_url: str) -> None:
    async with start() as auth, redis.asyncio.Redis.from_url(redis_url) as client:
        bearer = await root(auth)
        limits = pb.TenantLimits(requests_per_hour=7, batch_calls_per_hour=2)
        await auth.admin.UpdateTenant(pb.UpdateTenantRequest(tenant_id="acme", limits=limits), metadata=bearer)
        assert await client.hgetall("geomesh:limits:acme") == {
            b"requests_per_hour": b"7",
            b"batch_calls_per_hour": b"2",
        }
        renamed = pb.UpdateTenantRequest(tenant_id="acme", display_name="Acme")
        await auth.admin.UpdateTenant(renamed, metadata=bearer)
        assert await client.hget("geomesh:limits:acme", "requests_per_hour") == b"7"
        none = pb.UpdateTenantRequest(tenant_id="acme", limits=pb.TenantLimits())
        await auth.admin.UpdateTenant(none, metadata=bearer)
        assert not await client.exists("geomesh:limits:acme")


async def test_what_redis_lost_is_written_again_and_what_is_no_more_taken_away(start: Start, redis_url: str) -> None:
    async with start(tenant_limits_seconds=0.1) as auth, redis.asyncio.Redis.from_url(redis_url) as client:
        await root(auth)
        await auth.arrange("UPDATE auth.tenants SET streams_per_minute = 3 WHERE tenant_id = 'acme'")
        await until(client, {b"streams_per_minute": b"3"})
        await client.flushdb()
        await until(client, {b"streams_per_minute": b"3"})
        await auth.arrange("UPDATE auth.tenants SET streams_per_minute = NULL")
        await until(client, {})
