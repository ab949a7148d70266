"""What happens when a part of the limits is gone: calls pass, under the bucket in Envoy, and it is said aloud."""

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from geomesh.health.v1 import health_pb2, health_pb2_grpc
from tests.gateway.error_form import error_of
from tests.limits.running_limits import Limits, logged, running_limits, start_store, wait_until_answers

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALL = "/v1/cells/8928308280fffff"


async def health(limits: Limits) -> health_pb2.GetHealthResponse:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{limits.replica_ports[0]}") as channel:
        stub: health_pb2_grpc.HealthServiceAsyncStub = health_pb2_grpc.HealthServiceStub(channel)
        return await stub.GetHealth(health_pb2.GetHealthRequest())


async def uncounted(limits: Limits) -> float:
    """Returns how many calls the replicas let pass uncounted, as their metrics have it."""
    total = 0.0
    async with httpx.AsyncClient() as client:
        for port in limits.metrics_ports:
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
            line = next(each for each in text.splitlines() if 'decisions_total{decision="uncounted"}' in each)
            total += float(line.split()[-1])
    return total


async def test_without_redis_calls_pass_and_it_is_said_aloud(tmp_path: Path) -> None:
    async with running_limits(tmp_path, plans={"public_requests_per_hour": 2}) as limits:
        limits.store_process.kill()
        limits.store_process.wait()
        async with limits.client("127.0.3.1") as client:
            responses = [await client.get(CALL) for _ in range(6)]
            assert {response.status_code for response in responses} == {200}
            assert "x-ratelimit-limit" not in responses[-1].headers
            assert await uncounted(limits) >= 6
            async with asyncio.timeout(10):
                # It is looked after once a second.
                while (said := await health(limits)).state != health_pb2.HEALTH_STATE_DEGRADED:  # noqa: ASYNC110 -- asked, not told
                    await asyncio.sleep(0.05)
            states = {each.name: each.state for each in said.dependencies}
            assert states == {"redis": health_pb2.HEALTH_STATE_DOWN, "counting": health_pb2.HEALTH_STATE_OK}
            warnings = [line for line in logged(limits.logs[0]) if line["level"] == "warning"]
            assert any(line.get("dependency") == "redis" for line in warnings)

            limits.store_process = start_store(limits.store.connection_pool.connection_kwargs["port"], tmp_path)
            try:
                await wait_until_answers(limits.store)
                async with asyncio.timeout(10):
                    while (await client.get(CALL)).status_code != 429:  # noqa: ASYNC110 -- asked, not told
                        await asyncio.sleep(0.02)
                async with asyncio.timeout(10):
                    while (await health(limits)).state != health_pb2.HEALTH_STATE_OK:  # noqa: ASYNC110 -- asked, not told
                        await asyncio.sleep(0.05)
            finally:
                limits.store_process.kill()
                limits.store_process.wait()


async def test_a_silent_redis_holds_nobody_up_for_long(tmp_path: Path) -> None:
    async with running_limits(tmp_path) as limits, limits.client("127.0.3.2") as client:
        limits.store_process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        for _ in range(20):
            assert (await client.get(CALL)).status_code == 200
        # The first two that ask each replica wait half a second; the rest do not wait.
        assert time.monotonic() - started < 4
        limits.store_process.send_signal(signal.SIGCONT)


async def test_without_the_limits_service_calls_pass(tmp_path: Path) -> None:
    async with running_limits(tmp_path, plans={"public_requests_per_hour": 2}) as limits:
        async with limits.client("127.0.3.3") as client:
            limits.replicas[0].kill()
            limits.replicas[0].wait()
            # One is enough, and what the other counted holds.
            async with asyncio.timeout(10):
                while (await client.get(CALL)).status_code != 429:  # noqa: ASYNC110 -- asked, not told
                    await asyncio.sleep(0.02)
            limits.replicas[1].kill()
            limits.replicas[1].wait()
            responses = [await client.get(CALL) for _ in range(10)]
            assert responses[-1].status_code == 200
        async with httpx.AsyncClient() as client:
            statistics = (await client.get(f"{limits.admin_url}/stats?filter=ratelimit.failure_mode_allowed")).text
        assert int(statistics.split()[-1]) >= 1


async def test_the_bucket_in_envoy_holds_without_the_service(tmp_path: Path) -> None:
    buckets: Any = {"address_calls_per_second": 1, "subject_calls_per_second": 1, "burst_seconds": 20}
    async with running_limits(tmp_path, **buckets) as limits:
        for replica in limits.replicas:
            replica.kill()
            replica.wait()
        async with limits.client("127.0.3.4") as client:
            responses = await asyncio.gather(*(client.get(CALL) for _ in range(100)))
        counted = Counter(response.status_code for response in responses)
        assert 20 <= counted[200] <= 25
        assert counted[429] == 100 - counted[200]
        refused = next(response for response in responses if response.status_code == 429)
        details = error_of(refused, 429, "RATE_LIMITED")
        assert refused.headers["retry-after"] == "1"
        assert details["RetryInfo"]["retryDelay"] == "1s"
        assert not [name for name in refused.headers if name.startswith("x-envoy")]


async def test_the_buckets_tell_addresses_and_accounts_apart(tmp_path: Path) -> None:
    buckets: Any = {"address_calls_per_second": 10, "subject_calls_per_second": 1, "burst_seconds": 4}
    async with running_limits(tmp_path, **buckets) as limits:

        async def passed(address: str, subject: str) -> int:
            async with limits.client(address, **limits.bearer(subject)) as client:
                responses = await asyncio.gather(*(client.get(CALL) for _ in range(12)))
            return sum(response.status_code == 200 for response in responses)

        assert 4 <= await passed("127.0.3.5", "a") <= 6
        assert await passed("127.0.3.6", "a") <= 3  # from wherever the account calls
        assert 4 <= await passed("127.0.3.5", "b") <= 6


async def test_a_refused_flood_reaches_no_counter_of_the_plan(tmp_path: Path) -> None:
    async with running_limits(tmp_path, address_calls_per_second=1, burst_seconds=5) as limits:
        async with limits.client("127.0.3.7", **limits.bearer("steady")) as client:
            responses = await asyncio.gather(*(client.get(CALL) for _ in range(50)))
        passed = [response for response in responses if response.status_code == 200]
        least = min(int(response.headers["x-ratelimit-remaining"]) for response in passed)
        assert least == 1_000 - len(passed)


async def test_over_grpc_a_flood_is_told_the_same(tmp_path: Path) -> None:
    async with (
        running_limits(tmp_path, address_calls_per_second=1, burst_seconds=1) as limits,
        grpc.aio.insecure_channel(limits.target) as channel,
    ):
        call: Any = channel.unary_unary("/geomesh.spatial_index.v1.SpatialIndexService/GetCell")
        codes = [await call(b"").code() for _ in range(20)]
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
        assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
