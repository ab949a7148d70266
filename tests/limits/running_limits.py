"""An edge with its limits on: Envoy, two replicas of the limits service, a Redis, and one process that answers every RPC."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import redis
from google.protobuf import json_format

from gateway.contract import Contract, load
from gateway.render import write
from gateway.settings import EdgeSettings
from geomesh.auth.v1 import auth_pb2
from tests.gateway.running_edge import start_envoy, wait_until_live
from tests.limits.ticking import WATCH, Ticker
from tests.meshkit.forging import AUDIENCE, ISSUER, Forger
from tests.ports import free_ports


class Backend(grpc.GenericRpcHandler):
    """Answers every RPC with an empty message, keeps what came with the last call, and publishes the forger's key."""

    def __init__(self, forger: Forger) -> None:
        self.metadata: dict[str, Any] = {}
        self.ticker = Ticker()
        keys = json_format.ParseDict({"keys": [forger.jwk()]}, auth_pb2.JsonWebKeySet())
        self._keys = keys.SerializeToString()

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method == WATCH:
            return grpc.unary_stream_rpc_method_handler(self.ticker.watch)

        async def answer(request: bytes, context: Any) -> bytes:
            if handler_call_details.method.endswith("/GetJwks"):
                return self._keys
            if not handler_call_details.method.startswith("/grpc.health."):
                self.metadata = dict(context.invocation_metadata())
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@dataclass
class Limits:
    """What runs.

    Attributes:
        port: The public port.
        admin_url: Envoy's admin listener.
        log: Envoy's log.
        backend: What stands behind every route.
        forger: Who signs tokens that the edge knows.
        store: The Redis that counts.
        replicas: The processes of the limits service.
        replica_ports: Their gRPC ports.
    """

    port: int
    admin_url: str
    log: Path
    backend: Backend
    forger: Forger
    store: "redis.Redis"
    store_process: "subprocess.Popen[bytes]"
    replicas: "list[subprocess.Popen[bytes]]"
    replica_ports: list[int]
    metrics_ports: list[int]
    logs: list[Path] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address for REST."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        """The address for gRPC."""
        return f"127.0.0.1:{self.port}"

    def bearer(self, subject: str, **claims: Any) -> dict[str, str]:
        """Returns the header of a caller with a good token."""
        return {"authorization": f"Bearer {self.forger.token(sub=subject, **claims)}"}

    def client(self, address: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
        """Returns a REST client that calls from one of this machine's loopback addresses."""
        most = httpx.Limits(max_connections=200)
        transport = httpx.AsyncHTTPTransport(local_address=address, limits=most)
        return httpx.AsyncClient(
            base_url=self.url, timeout=httpx.Timeout(60, pool=None), transport=transport, headers=headers
        )


@asynccontextmanager
async def running_limits(
    folder: Path, *, plans: dict[str, Any] | None = None, api: Contract | None = None, **settings: Any
) -> AsyncIterator[Limits]:
    """Runs everything.

    Args:
        folder: For configurations and logs.
        plans: Fields of the limits service's settings that are not to have their defaults.
        api: What the edge offers, if another than the API.
        **settings: Fields of EdgeSettings, likewise.
    """
    port, admin_port, store_port, *ports = free_ports(9)
    contract, forger = api or load(), Forger()
    backend = Backend(forger)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((backend,))
    behind = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with ExitStack() as stack:
        processes: list[subprocess.Popen[bytes]] = [start_store(store_port, folder)]
        stack.callback(end, processes)
        store = redis.Redis(port=store_port)
        stack.callback(store.close)
        await wait_until_answers(store)
        replicas = [
            start_limits(ports[n], ports[n + 2], ports[n + 4], store_port, folder / f"limits-{n}.log", plans or {})
            for n in (0, 1)
        ]
        processes += replicas
        clusters = {owner: [("127.0.0.1", behind)] for owner in contract.owners}
        clusters["limits-counting"] = [("127.0.0.1", each) for each in ports[4:]]
        own: dict[str, Any] = {
            "port": port,
            "admin_port": admin_port,
            "token_issuer": ISSUER,
            "token_audience": AUDIENCE,
        }
        generous = {"address_calls_per_second": 100_000, "subject_calls_per_second": 100_000}
        write(folder / "envoy.yaml", contract, EdgeSettings(**own | generous | settings), clusters)
        for each in ports[:2]:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{each}") as channel, asyncio.timeout(60):
                await channel.channel_ready()
        limits = Limits(
            port,
            f"http://127.0.0.1:{admin_port}",
            folder / "envoy.log",
            backend,
            forger,
            store,
            processes[0],
            replicas,
            ports[:2],
            ports[2:4],
            [folder / f"limits-{n}.log" for n in (0, 1)],
        )
        with limits.log.open("w") as log:
            processes.append(start_envoy(folder / "envoy.yaml", log))
        await wait_until_live(limits.admin_url)
        await wait_until_it_knows_the_keys(limits)
        yield limits
    await server.stop(0)


def end(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Kills what still runs."""
    for process in processes:
        process.kill()
        process.wait()


def start_store(port: int, folder: Path) -> "subprocess.Popen[bytes]":
    """Starts a Redis that keeps nothing."""
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def start_limits(
    port: int, metrics_port: int, counting_port: int, store_port: int, log: Path, plans: dict[str, Any]
) -> "subprocess.Popen[bytes]":
    """Starts one replica of the limits service."""
    variables = {
        "PORT": port,
        "METRICS_PORT": metrics_port,
        "COUNTING_PORT": counting_port,
        "REDIS_URL": f"redis://127.0.0.1:{store_port}/0",
        "DRAIN_NOTICE_SECONDS": 0,
    } | {name.upper(): value for name, value in plans.items()}
    environment = os.environ | {f"GEOMESH_LIMITS_{name}": str(value) for name, value in variables.items()}
    with log.open("a") as output:
        return subprocess.Popen([sys.executable, "-m", "gateway.limits"], env=environment, stderr=output)


async def wait_until_answers(store: "redis.Redis") -> None:
    """Waits until Redis answers."""
    async with asyncio.timeout(10):
        while True:
            try:
                store.ping()
            except redis.ConnectionError:
                await asyncio.sleep(0.02)
            else:
                return


async def wait_until_it_knows_the_keys(limits: Limits) -> None:
    """Waits until Envoy tells callers apart and reaches the limits service: both begin shortly after it listens."""
    async with limits.client("127.0.0.250", **limits.bearer("first", plan="enterprise")) as client, asyncio.timeout(60):
        while (await client.get("/v1/cells/x")).headers.get("x-ratelimit-limit") != "100000":  # noqa: ASYNC110 -- asked, not told
            await asyncio.sleep(0.05)


def logged(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a service's log."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
