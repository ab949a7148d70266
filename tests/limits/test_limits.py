"""How often who may call, through the edge."""

import asyncio
import base64
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2

from auth.directory import Limits as TenantsLimits
from auth.tenant_limits import TenantLimits
from meshkit.redis import Redis
from tests.gateway.error_form import error_of
from tests.limits.running_limits import Limits
from tests.meshkit.forging import settings

# One worker has the edge that they share.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("limits")]

CALL = "/v1/cells/8928308280fffff"
RPC = "/geomesh.spatial_index.v1.SpatialIndexService/GetCell"
STREAM = "/geomesh.trajectory.v1.TrajectoryService/IngestPositions"
BATCH = "/v1/geocode:batch"


def told(response: httpx.Response) -> tuple[int, int]:
    """Returns the limit and what remains of it."""
    return int(response.headers["x-ratelimit-limit"]), int(response.headers["x-ratelimit-remaining"])


async def test_of_a_thousand_at_once_as_many_pass_as_the_limit_says(limits: Limits, subject: str) -> None:
    async with AsyncExitStack() as stack:
        # A pool of httpx looks at each of its connections for each of its requests: ten small ones are much faster.
        bearer = limits.bearer(subject)
        clients = [await stack.enter_async_context(limits.client(**bearer)) for _ in range(10)]
        responses = await asyncio.gather(*(client.get(CALL) for client in clients for _ in range(100)))
    assert Counter(response.status_code for response in responses) == {200: 100, 429: 900}
    remaining = sorted(told(response)[1] for response in responses if response.status_code == 200)
    assert remaining == list(range(100))


async def test_of_a_thousand_at_once_over_grpc_as_many(limits: Limits, subject: str) -> None:
    metadata = tuple(limits.bearer(subject).items())
    async with grpc.aio.insecure_channel(limits.target) as channel:
        call: Any = channel.unary_unary(RPC)

        async def code() -> grpc.StatusCode:
            code: grpc.StatusCode = await call(b"", metadata=metadata).code()
            return code

        codes = await asyncio.gather(*(code() for _ in range(1_000)))
    assert Counter(codes) == {grpc.StatusCode.OK: 100, grpc.StatusCode.RESOURCE_EXHAUSTED: 900}


async def test_rest_and_grpc_count_together(limits: Limits, subject: str) -> None:
    bearer = limits.bearer(subject)
    async with limits.client(**bearer) as client, grpc.aio.insecure_channel(limits.target) as channel:
        assert told(await client.get(CALL)) == (100, 99)
        method: Any = channel.unary_unary(RPC)
        call = method(b"", metadata=tuple(bearer.items()))
        headers = dict(await call.initial_metadata())
        assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("100", "98")
        assert told(await client.get(CALL)) == (100, 97)


@pytest.mark.parametrize(("plan", "most"), [("public", 5), ("user", 100), ("premium", 10_000), ("enterprise", 100_000)])
async def test_every_plan_has_its_limit(limits: Limits, subject: str, plan: str, most: int) -> None:
    async with limits.client(**limits.bearer(subject, plan=plan)) as client:
        assert told(await client.get(CALL)) == (most, most - 1)


async def test_an_unknown_plan_allows_what_everyone_may(limits: Limits, subject: str) -> None:
    async with limits.client(**limits.bearer(subject, plan="galactic")) as client:
        assert told(await client.get(CALL)) == (5, 4)


async def test_who_has_no_token_is_counted_by_address(limits: Limits, address: str) -> None:
    async with limits.client(address) as client, limits.client("127.0.2.1") as other:
        assert [told(await client.get(CALL))[1] for _ in range(5)] == [4, 3, 2, 1, 0]
        assert (await client.get(CALL)).status_code == 429
        assert (await other.get(CALL)).status_code == 200


@pytest.mark.parametrize("authorization", ["Bearer nonsense", "Bearer a.b.c", "Basic YTpi", ""])
async def test_a_wrong_token_is_counted_by_address_and_judged_by_the_service(
    limits: Limits, address: str, authorization: str
) -> None:
    async with limits.client(address, authorization=authorization) as client:
        assert told(await client.get(CALL))[0] == 5
    assert limits.backend.metadata["authorization"] == authorization


@pytest.mark.parametrize(
    "claims", [{"iss": "https://elsewhere"}, {"aud": "another"}, {"exp": 1_000_000_000}, {"nbf": 4_000_000_000}]
)
async def test_a_token_that_does_not_count_here_buys_nothing(
    limits: Limits, address: str, subject: str, claims: dict[str, str]
) -> None:
    async with limits.client(address, **limits.bearer(subject, plan="enterprise", **claims)) as client:
        assert told(await client.get(CALL)) == (5, 4)
        assert told(await client.get(CALL)) == (5, 3)


async def test_the_same_account_id_in_two_tenants_is_two_callers(limits: Limits, subject: str) -> None:
    async with limits.client() as client:
        for tenant in ("one", "two"):
            response = await client.get(CALL, headers=limits.bearer(subject, tenant=tenant))
            assert told(response) == (100, 99)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-forwarded-for", "8.8.8.{n}"),
        ("x-real-ip", "8.8.8.{n}"),
        ("forwarded", "for=8.8.8.{n}"),
        ("x-envoy-external-address", "8.8.8.{n}"),
        ("x-envoy-internal", "true"),
        ("x-jwt-payload", "eyJzdWIiOiJ7bn0ifQ"),
        ("x-jwt-claim-sub", "someone-{n}"),
        ("x-jwt-claim-plan", "enterprise"),
        ("x-tenant-id", "tenant-{n}"),
        ("x-tenant", "tenant-{n}"),
        ("x-geomesh-tenant", "tenant-{n}"),
        ("x-geomesh-kind", "sign_in"),
    ],
)
async def test_a_forged_header_buys_nothing(limits: Limits, address: str, name: str, value: str) -> None:
    async with limits.client(address) as client:
        remaining = [told(await client.get(CALL, headers={name: value.format(n=n)})) for n in range(3)]
    assert remaining == [(5, 4), (5, 3), (5, 2)]
    if name.startswith(("x-jwt", "x-tenant", "x-geomesh")):
        assert name not in limits.backend.metadata


async def test_a_refusal_over_rest_has_the_one_error_form(limits: Limits, address: str) -> None:
    async with limits.client(address) as client:
        for _ in range(5):
            await client.get(CALL)
        response = await client.get(CALL)
    details = error_of(response, 429, "RATE_LIMITED")
    wait = int(response.headers["retry-after"])
    assert 3_500 < wait <= 3_660
    assert details["RetryInfo"]["retryDelay"] == f"{wait}s"
    assert response.headers["x-ratelimit-reset"] == str(wait)
    assert told(response) == (5, 0)
    assert response.json()["message"] == f"the limit of 5 calls an hour is reached; try again in {wait} s"
    assert not [name for name in response.headers if name.startswith(("x-envoy", "grpc-"))]


async def test_a_refusal_over_grpc_has_the_same_details(limits: Limits, subject: str) -> None:
    metadata = tuple(limits.bearer(subject, plan="public").items())
    async with grpc.aio.insecure_channel(limits.target) as channel:
        call: Any = channel.unary_unary(RPC)
        for _ in range(5):
            await call(b"", metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", metadata=metadata)
    error = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    found = {**dict(error.initial_metadata()), **dict(error.trailing_metadata())}
    serialized = found["grpc-status-details-bin"]
    assert isinstance(serialized, bytes)
    status = status_pb2.Status.FromString(serialized)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert any(each.Unpack(info) for each in status.details)
    assert any(each.Unpack(retry) for each in status.details)
    assert (info.reason, info.domain) == ("RATE_LIMITED", "geomesh")
    assert 3_500 < retry.retry_delay.seconds <= 3_660
    assert f"try again in {retry.retry_delay.seconds} s" in status.message


async def test_a_refusal_over_grpc_web_has_the_same_details(limits: Limits, address: str) -> None:
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    async with limits.client(address, **headers) as client:
        answers = [await client.post(RPC, content=b"\x00\x00\x00\x00\x00") for _ in range(6)]
    assert [told(answer)[1] for answer in answers] == [4, 3, 2, 1, 0, 0]
    refused = answers[-1]
    assert (refused.status_code, refused.headers["grpc-status"]) == (200, "8")
    details = refused.headers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    retry = error_details_pb2.RetryInfo()
    assert any(each.Unpack(retry) for each in status.details)
    assert refused.headers["retry-after"] == str(retry.retry_delay.seconds)


async def test_a_refused_call_reaches_no_service(limits: Limits, address: str) -> None:
    async with limits.client(address) as client:
        for _ in range(5):
            await client.get(CALL)
        limits.backend.metadata = {}
        assert (await client.get(CALL)).status_code == 429
    assert limits.backend.metadata == {}


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/livez", "/openapi.json", "/docs", "/.well-known/jwks.json", "/.well-known/openid-configuration"],
)
async def test_what_the_mesh_says_of_itself_is_not_counted(limits: Limits, address: str, path: str) -> None:
    async with limits.client(address) as client:
        for _ in range(10):
            response = await client.get(path)
            assert response.status_code == 200
            assert "x-ratelimit-limit" not in response.headers
        assert told(await client.get(CALL)) == (5, 4)


async def test_signing_in_is_counted_apart_from_what_an_address_reads(limits: Limits, address: str) -> None:
    """Someone whose neighbours used up what their address may read can still renew a session."""
    login = {"email": "someone@acme.example", "password": "x"}
    async with limits.client(address) as client:
        for _ in range(6):
            refused = await client.get(CALL)
        assert refused.status_code == 429
        assert told(await client.post("/v1/auth/refresh", json={"refreshToken": "x"})) == (7, 6)
        # Also with a token of whatever kind: nobody gets more tries by changing accounts.
        headers = limits.bearer("anyone")
        assert told(await client.post("/v1/auth/login", json=login, headers=headers)) == (7, 5)


async def test_streams_are_counted_by_the_minute(limits: Limits, subject: str) -> None:
    metadata = tuple(limits.bearer(subject).items())
    async with grpc.aio.insecure_channel(limits.target) as channel, limits.client(**dict(metadata)) as client:

        async def code() -> grpc.StatusCode:
            # One message with its end, since a client that still writes when it is refused calls that an internal error.
            stream: Any = channel.unary_unary(STREAM)
            code: grpc.StatusCode = await stream(b"", metadata=metadata).code()
            return code

        codes = [await code() for _ in range(12)]
        assert Counter(codes) == {grpc.StatusCode.OK: 10, grpc.StatusCode.RESOURCE_EXHAUSTED: 2}
        # A stream is a call too, and one that was refused is none.
        assert told(await client.get(CALL)) == (100, 89)


async def test_batches_are_counted_by_the_hour(limits: Limits, subject: str) -> None:
    async with limits.client(**limits.bearer(subject, plan="premium")) as client:
        answers = [await client.post(BATCH, json={}) for _ in range(51)]
        assert Counter(answer.status_code for answer in answers) == {200: 50, 429: 1}
        assert "50 batch calls an hour" in answers[-1].json()["message"]
        assert told(await client.get(CALL)) == (10_000, 9_949)


async def test_a_tenants_own_limits_hold_from_the_next_call(limits: Limits, subject: str) -> None:
    tenant = f"tenant-of-{subject}"
    key = f"geomesh:limits:{tenant}"
    async with limits.client(**limits.bearer(subject, tenant=tenant)) as client:
        assert told(await client.get(CALL)) == (100, 99)
        limits.store.hset(key, mapping={"requests_per_hour": 2, "batch_calls_per_hour": 0})
        assert told(await client.get(CALL)) == (2, 0)
        assert (await client.get(CALL)).status_code == 429
        limits.store.hset(key, "requests_per_hour", 1_000_000)
        assert told(await client.get(CALL)) == (1_000_000, 999_997)
        assert (await client.post(BATCH, json={})).status_code == 429
        limits.store.delete(key)
        assert told(await client.get(CALL)) == (100, 96)


async def test_what_an_administrator_sets_reaches_the_next_call(limits: Limits, subject: str) -> None:
    """By the code with which the auth service brings a tenant's limits to Redis."""
    tenant = f"tenant-of-{subject}"
    port = limits.store.connection_pool.connection_kwargs["port"]
    store = Redis(settings(redis_url=f"redis://127.0.0.1:{port}/0"))
    publisher = TenantLimits(store, NoTenants(), every_seconds=60)
    async with limits.client(**limits.bearer(subject, tenant=tenant)) as client:
        assert told(await client.get(CALL)) == (100, 99)
        await publisher.publish(tenant, TenantsLimits(requests_per_hour=3))
        assert told(await client.get(CALL)) == (3, 1)
        await publisher.publish(tenant, TenantsLimits())
        assert told(await client.get(CALL)) == (100, 97)
    await store.close()


class NoTenants:
    """Nobody in Postgres has limits of their own."""

    async def list_limits(self) -> dict[str, TenantsLimits]:
        return {}


async def test_nobody_has_own_limits_without_a_tenant(limits: Limits, address: str) -> None:
    limits.store.hset("geomesh:limits:", "requests_per_hour", 1_000_000)
    try:
        async with limits.client(address) as client:
            assert told(await client.get(CALL)) == (5, 4)
    finally:
        limits.store.delete("geomesh:limits:")
