"""An Envoy of its own, rendered as in production, before one gateway process in the test's own event loop."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import httpx

from gateway.contract import load
from gateway.render import write
from gateway.servicer import GatewayServicer
from gateway.settings import EdgeSettings, Settings
from gateway.site import Site
from geomesh.gateway.v1 import gateway_pb2 as pb
from meshkit.serve import running
from tests.ports import free_ports

Behaviour = Callable[[], Awaitable[pb.GetStatusResponse]]


class Obedient(GatewayServicer):
    """A GatewayService whose GetStatus does what the test says, and keeps what came with the last call."""

    def __init__(self) -> None:
        super().__init__([], Site.load())
        self.reset()

    def reset(self) -> None:
        """Answers at once again, and forgets what came."""
        self.behaviour: Behaviour = _answer
        self.metadata: dict[str, Any] = {}
        self.remaining_seconds: float | None = None
        self.calls = 0
        self.called = asyncio.Semaphore(0)

    async def GetStatus(
        self,
        request: pb.GetStatusRequest,
        context: "grpc.aio.ServicerContext[pb.GetStatusRequest, pb.GetStatusResponse]",
    ) -> pb.GetStatusResponse:
        del request
        self.calls += 1
        self.called.release()
        self.metadata = dict(context.invocation_metadata() or ())
        self.remaining_seconds = context.time_remaining()
        return await self.behaviour()


async def _answer() -> pb.GetStatusResponse:
    return pb.GetStatusResponse()


@dataclass(frozen=True)
class Edge:
    """A running Envoy.

    Attributes:
        port: Its public port.
        admin_url: Its admin listener.
        log: The file that it logs to.
        service: What stands behind ``GET /healthz``. Behind every other route stands nothing.
        scheme: What its public port speaks.
    """

    port: int
    admin_url: str
    log: Path
    service: Obedient
    scheme: str = "http"

    @property
    def url(self) -> str:
        """The address for REST."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        """The address for gRPC."""
        return f"127.0.0.1:{self.port}"

    async def logged(self, request_id: str) -> dict[str, Any]:
        """Waits for the line that the access log has of a request and returns it."""
        async with asyncio.timeout(5):
            while True:
                for line in self.log.read_text().splitlines():
                    if f'"{request_id}"' in line:
                        entry: dict[str, Any] = json.loads(line)
                        return entry
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running_edge(
    folder: Path,
    *,
    behind: Mapping[str, Any] = MappingProxyType({}),
    ports_of: Mapping[str, int] = MappingProxyType({}),
    **settings: Any,
) -> AsyncIterator[Edge]:
    """Runs Envoy and the process behind it.

    Args:
        folder: For the configuration and the log.
        behind: Settings of the process behind it.
        ports_of: The ports of services that stand behind their routes after all, by their names.
        **settings: Fields of EdgeSettings that are not to have their defaults.
    """
    port, admin_port, nothing = free_ports(3)
    contract = load()
    service = Obedient()
    process_settings = Settings(
        port=0, metrics_port=0, drain_notice_seconds=0, auth_address=f"127.0.0.1:{nothing}", **behind
    )
    async with running(process_settings, servicers=[service]) as ports:
        clusters = {owner: [("127.0.0.1", nothing)] for owner in contract.owners}
        clusters["gateway"] = [("127.0.0.1", ports.grpc)]
        clusters |= {owner: [("127.0.0.1", number)] for owner, number in ports_of.items()}
        own: dict[str, Any] = {"port": port, "admin_port": admin_port, "limits": False}
        chosen = EdgeSettings(**own | settings)
        write(folder / "envoy.yaml", contract, chosen, clusters)
        scheme = "https" if chosen.public_tls else "http"
        edge = Edge(port, f"http://127.0.0.1:{admin_port}", folder / "envoy.log", service, scheme)
        with edge.log.open("w") as log:
            process = start_envoy(folder / "envoy.yaml", log)
        try:
            await wait_until_live(edge.admin_url)
            yield edge
        finally:
            process.terminate()
            process.wait(10)


def start_envoy(configuration: Path, log: Any) -> "subprocess.Popen[bytes]":
    """Starts Envoy."""
    options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"]
    haste = ["--file-flush-interval-msec", "50", "--drain-time-s", "1", "--drain-strategy", "immediate"]
    envoy = str(Path(sys.executable).with_name("envoy"))
    return subprocess.Popen([envoy, "-c", str(configuration), *options, *haste], stdout=log, stderr=log)


async def wait_until_live(admin_url: str) -> None:
    """Waits until Envoy takes requests."""
    async with httpx.AsyncClient() as client, asyncio.timeout(60):
        while True:
            try:
                if (await client.get(f"{admin_url}/ready")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)
