"""The service as it runs: `python -m airquality` in a process of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from geomesh.airquality.v1 import airquality_pb2_grpc, alerts_pb2_grpc
from tests.airquality.alerting import AlertCaller
from tests.airquality.conftest import Caller
from tests.meshkit.conftest import Issuer
from tests.ports import free_port


@asynccontextmanager
async def process(
    issuer: tuple[Issuer, int], dsn: str, redis_url: str, log: Path, **more: object
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Caller, AlertCaller]]:
    """Runs it and yields the process, and callers of the tenant acme; `more` are settings of the test's own."""
    port = free_port()
    settings = {
        "PORT": port,
        "METRICS_PORT": 0,
        "POSTGRES_DSN": dsn,
        "REDIS_URL": redis_url,
        "AUTH_ADDRESS": f"127.0.0.1:{issuer[1]}",
        "TRANSACTION_ROWS": 100,
    } | more
    environment = os.environ | {f"GEOMESH_AIRQUALITY_{name}": str(value) for name, value in settings.items()}
    with log.open("ab") as output:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "airquality", env=environment, stdout=output, stderr=output
        )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            async with asyncio.timeout(60):
                await channel.channel_ready()
            token = (("authorization", f"Bearer {issuer[0].token('user', tenant='acme')}"),)
            yield (
                running,
                Caller(airquality_pb2_grpc.AirQualityServiceStub(channel), token),
                AlertCaller(alerts_pb2_grpc.AlertServiceStub(channel), token),
            )
        finally:
            if running.returncode is None:
                running.send_signal(signal.SIGKILL)
            await running.wait()


@asynccontextmanager
async def service(
    issuer: tuple[Issuer, int], dsn: str, redis_url: str, log: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Caller]]:
    """Runs it and yields the process and a caller of its readings."""
    async with process(issuer, dsn, redis_url, log) as (running, caller, _):
        yield running, caller
