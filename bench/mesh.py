"""The mesh under measurement: a stack of its own with the real data, beside whatever else runs."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import grpc
import httpx

from geomesh_local.ports import PortPlan
from geomesh_local.stack import CHECKOUT, Stack
from geomesh_local.stores import locked
from geomesh_local.supervisor import Program
from geomesh_local.up import up

RUN = CHECKOUT / ".run" / "bench"
# Tracing is on and nothing is sampled: the collector's address leads nowhere, and nothing is ever sent to it.
_UNSAMPLED = {"OTLP_ENDPOINT": "127.0.0.1:9", "TRACE_SAMPLE_RATIO": "0"}
UNREACHABLE = "1000000000"
"""A limit that nothing reaches."""
# What is measured are the services; what the limits cost is measured by bench/limits.py.
_UNLIMITED = {"GEOMESH_EDGE_LIMITS": "false"} | {
    f"GEOMESH_LIMITS_{plan}_REQUESTS_PER_HOUR": UNREACHABLE for plan in ("PUBLIC", "USER", "PREMIUM", "ENTERPRISE")
}
UNSAMPLED_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


@dataclass(frozen=True)
class Mesh:
    """A running stack, and how to reach it."""

    stack: Stack

    def address(self, service: str) -> str:
        """Returns where the first process of a service listens."""
        return f"127.0.0.1:{self.stack.ports.grpc(service, 0)}"

    @property
    def administrator_password(self) -> str:
        """What the administrator signs in with."""
        return self.stack.administrator_password_path.read_text().strip()

    @cached_property
    def token(self) -> str:
        """An access token of the administrator."""
        credentials = {"email": "admin@localhost", "password": self.administrator_password}
        reply = httpx.post(
            f"{self.stack.edge_url}/v1/auth/login", json=credentials, timeout=10, verify=self.stack.edge_trust
        )
        reply.raise_for_status()
        return str(reply.json()["accessToken"])

    @property
    def metadata(self) -> dict[str, str]:
        """What every measured call carries: a token, and a trace that is not sampled."""
        return {"authorization": f"Bearer {self.token}", "traceparent": UNSAMPLED_TRACE}

    @contextmanager
    def beside(self, program: Program) -> Iterator[None]:
        """Runs one more program beside the services, so that it can be compared with them or with Envoy.

        The stack's supervisor starts it, as it did those: Linux divides the processor's time among sessions before it does
        among processes, so that one which the bench had started would be served differently.
        """
        supervisor = self.stack.supervisor
        programs = [*self.stack.stores(), *self.stack.services(), self.stack.envoy()]
        supervisor.apply([*programs, program])
        supervisor.start([program.name])
        try:
            yield
        finally:
            supervisor.apply(programs)

    @cached_property
    def protoset(self) -> Path:
        """The descriptor set for ghz."""
        return self.stack.envoy_configuration.with_suffix(".binpb")


@contextmanager
def mesh(replicas: int = 1, **settings: str) -> Iterator[Mesh]:
    """Starts a loaded stack, and stops it afterwards; the data stays for the next time.

    Args:
        replicas: Processes per service.
        settings: Environment variables of the services.
    """
    tracing = {
        f"GEOMESH_{service}_{name}": value
        for service in ("GEOCODER", "SPATIAL_INDEX", "TRAJECTORY", "AIRQUALITY", "AUTH")
        for name, value in _UNSAMPLED.items()
    }
    environment = dict(os.environ) | _UNLIMITED | tracing | settings
    stack = Stack(RUN, PortPlan(21_000, 21_080, 21_081), replicas, environment=environment)
    RUN.mkdir(parents=True, exist_ok=True)
    with locked(RUN / "lock", wait=False):
        asyncio.run(up(stack))
        try:
            yield Mesh(stack)
        finally:
            stack.supervisor.shut_down()


@contextmanager
def echo(mesh: Mesh, port: int = 21_090) -> Iterator[str]:
    """Starts the bare echo server beside the services and yields its address."""
    command = [sys.executable, str(Path(__file__).with_name("echo.py")), str(port)]
    address = f"127.0.0.1:{port}"
    with mesh.beside(Program("bare-echo", command, CHECKOUT)):
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=20)
        yield address


def settle(seconds: float = 10.0) -> None:
    """Waits, within limits, until the processes that were just started have nothing left to do."""
    while seconds > 0 and os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        time.sleep(0.5)
        seconds -= 0.5
