"""Alerts of two service processes on one database, one of which is killed."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import grpc
import pytest

from airquality.repository import AirQualityRepository
from airquality.stations import Station
from geomesh.airquality.v1 import alerts_pb2_grpc
from meshkit.postgres import Postgres
from tests.airquality.alerting import KEY, AlertCaller, RedisEvents, endpoint, minute, stored, until
from tests.meshkit.conftest import CHECKOUT, Issuer


@pytest.fixture
async def processes(
    issuer: tuple[Issuer, int], database_url: Callable[[str], str], redis_url: str
) -> AsyncIterator[tuple[list[asyncio.subprocess.Process], AlertCaller]]:
    """Two processes, and a caller of the second one."""
    prefix = "GEOMESH_AIRQUALITY_"
    environment = os.environ | {
        "PYTHONPATH": str(CHECKOUT),
        f"{prefix}PORT": "0",
        f"{prefix}METRICS_PORT": "0",
        f"{prefix}AUTH_ADDRESS": f"127.0.0.1:{issuer[1]}",
        f"{prefix}POSTGRES_DSN": database_url("airquality"),
        f"{prefix}REDIS_URL": redis_url,
        f"{prefix}KEY_ENCRYPTION_KEY": KEY,
        f"{prefix}ALERT_WEBHOOK_NETWORKS": '["127.0.0.0/8"]',
        f"{prefix}ALERT_WEBHOOK_TIMEOUT_SECONDS": "1",
        f"{prefix}ALERT_POLL_SECONDS": "0.05",
    }
    async with AsyncExitStack() as stack:
        started = [await stack.enter_async_context(_process(environment)) for _ in range(2)]
        ports = [await _port(each) for each in started]
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{ports[1]}"))
        metadata = (("authorization", f"Bearer {issuer[0].token('user', tenant='acme')}"),)
        yield started, AlertCaller(alerts_pb2_grpc.AlertServiceStub(channel), metadata)


@asynccontextmanager
async def _process(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.airquality.alert_process",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while line := await process.stdout.readline():
            if b'"serving"' in line:
                return int(json.loads(line)["port"])
    raise AssertionError("the process ended before it served")


async def test_two_processes_raise_each_alert_once_and_a_killed_ones_deliveries_come_again(
    processes: tuple[list[asyncio.subprocess.Process], AlertCaller],
    database: Postgres,
    owner_url: Callable[[str], str],
    redis_url: str,
) -> None:
    (first, second), acme = processes
    await AirQualityRepository(database).upsert_stations("acme", [Station("here", "tests", "", "", 40.0, -100.0)])
    events = RedisEvents(redis_url)
    async with endpoint() as hook:
        await acme.create(webhook_url=hook.url())
        await acme.create(name="hangs", webhook_url=hook.url("/hangs"))
        hook.answers["/hangs"] = None
        for number in range(1, 41):
            await events.put(number, stored(150 if number % 2 else 50, time=minute(number)))
        await until(lambda: hook.ids("/hangs"))
        # One of the two is killed while posts are open: what it had claimed comes again, under its id.
        first.send_signal(signal.SIGKILL)
        await first.wait()
        hook.answers["/hangs"] = 204
        for number in range(41, 61):
            await events.put(number, stored(150 if number % 2 else 50, time=minute(number)))

        async def all_raised() -> bool:
            return len(await acme.alerts(page_size=200)) == 120

        await until(all_raised, 60)
        raised = {each.alert_id for each in await acme.alerts(page_size=200)}
        await until(lambda: {*hook.ids(), *hook.ids("/hangs")} == raised, 120)
    await events.close()
    assert second.returncode is None
    connection = await asyncpg.connect(owner_url("airquality"))
    try:
        assert await connection.fetchval("SELECT event_id FROM airquality.alert_progress") == 60
    finally:
        await connection.close()
