"""Which program listens where; one base number moves the whole stack."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import psutil

SERVICES = ("geocoder", "spatial-index", "trajectory", "airquality", "auth")
"""The services in the order of their ports; a new one goes to the end."""

GATEWAY = "gateway"

LIMITS = "limits"
"""The rate-limit service, which is part of the gateway's package and no part of the API."""

_STRIDE = 500
_HIGHEST_BASE = 32_000  # above begin the ports that Linux hands to outgoing connections


@dataclass(frozen=True, slots=True)
class PortPlan:
    """The TCP ports of one stack, all on the loopback address but the edge.

    Attributes:
        base: Postgres; Redis is the next; gRPC begins at base + 100, metrics at base + 200, ten to a service.
        edge: Envoy's public listener.
        admin: Envoy's admin listener.
    """

    base: int = 18000
    edge: int = 8080
    admin: int = 9901

    @property
    def postgres(self) -> int:
        """The port of Postgres."""
        return self.base

    @property
    def redis(self) -> int:
        """The port of Redis."""
        return self.base + 1

    def grpc(self, service: str, replica: int) -> int:
        """Returns the gRPC port of one process."""
        return self.base + 100 + 10 * _index(service) + replica

    def counting(self, replica: int) -> int:
        """Returns the port on which Envoy asks one process of the limits service."""
        return self.base + 100 + 10 * (_index(LIMITS) + 1) + replica

    def metrics(self, service: str, replica: int) -> int:
        """Returns the Prometheus port of one process."""
        return self.base + 200 + 10 * _index(service) + replica

    def of(self, replicas: int) -> Iterator[tuple[str, int]]:
        """Yields each program's name with a port it listens on."""
        yield from (("postgres", self.postgres), ("redis", self.redis))
        for service in (*SERVICES, GATEWAY, LIMITS):
            for replica in range(replicas if service != GATEWAY else 1):
                name = program_name(service, replica)
                yield from ((name, self.grpc(service, replica)), (name, self.metrics(service, replica)))
                if service == LIMITS:
                    yield (name, self.counting(replica))
        yield from (("envoy", self.edge), ("envoy", self.admin))

    @classmethod
    def free(cls, replicas: int, start: int) -> Self:
        """Returns the first plan from `start` upward of which every port is free now.

        Raises:
            RuntimeError: if there is none.
        """
        for base in range(start, _HIGHEST_BASE, _STRIDE):
            plan = cls(base, base + 80, base + 81)
            if all(is_free(port) for _, port in plan.of(replicas)):
                return plan
        raise RuntimeError(f"no {_STRIDE} ports are free between {start} and {_HIGHEST_BASE}")


def program_name(service: str, replica: int) -> str:
    """Returns the name of a service's process in the stack."""
    return service if service == GATEWAY else f"{service}-{replica}"


def is_free(port: int) -> bool:
    """Tells whether a server could listen on the loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def holder(port: int) -> str:
    """Names who listens on a port, as far as this account may know."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (pid {process.pid}, {' '.join(process.cmdline())[:80]})"
    return "a program of another account"


def _index(service: str) -> int:
    return (*SERVICES, GATEWAY, LIMITS).index(service)
