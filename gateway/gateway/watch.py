"""Knows how the services fare, by asking every replica once a second.

Asked by no one else's request: whoever polls ``/healthz`` costs one answer from memory, however many services there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import grpc

from geomesh.health.v1 import health_pb2, health_pb2_grpc
from meshkit.health import State
from meshkit.tls import Certificates
from meshkit.tls import channel as connect

_INTERVAL_SECONDS: Final = 1.0
_OPTIONS: Final = [
    # A service that came back is to be seen within a second, not after a backoff of minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class ServiceWatch:
    """One service over all its replicas; a :class:`meshkit.health.Dependency` that the gateway can do without.

    It has channels of its own and no circuit breaker: an open breaker would say that a service is still down.
    """

    required: Final = False
    breaker: Final = ""

    def __init__(
        self,
        name: str,
        replicas: Sequence[tuple[str, int]],
        *,
        timeout_seconds: float,
        worst: State = State.DOWN,
        certificates: Certificates | None = None,
    ) -> None:
        """Prepares without connecting.

        Args:
            name: The service's name, e.g. ``spatial-index``.
            replicas: Host and port of each replica.
            timeout_seconds: Time after which a replica that says nothing is down.
            worst: How the service fares for the mesh when no replica works.
            certificates: What the gateway proves itself with; None for plaintext.
        """
        self.name = name
        self._addresses = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in replicas]
        self._timeout_seconds = timeout_seconds
        self._worst = worst
        self._certificates = certificates
        self._down = health_pb2.GetHealthResponse(service=name, state=health_pb2.HEALTH_STATE_DOWN)
        self._replicas = [self._down] * len(self._addresses)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def replicas(self) -> Sequence[health_pb2.GetHealthResponse]:
        """What each replica last said of itself; DOWN and nothing else of one that did not answer."""
        return self._replicas

    @property
    def state(self) -> State:
        """The worst there is when no replica works, DEGRADED when one of them is not well, else OK."""
        states = [State(replica.state) for replica in self._replicas]
        return self._worst if min(states) is State.DOWN else min(max(states), State.DEGRADED)

    async def start(self) -> None:
        """Begins to watch."""
        self._tasks = [asyncio.create_task(self._watch(place)) for place in range(len(self._addresses))]

    async def close(self) -> None:
        """Stops watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, place: int) -> None:
        async with connect(self._addresses[place], self.name, self._certificates, options=_OPTIONS) as channel:
            stub: health_pb2_grpc.HealthServiceAsyncStub = health_pb2_grpc.HealthServiceStub(channel)
            while True:
                self._replicas[place] = await self._ask(stub)
                await asyncio.sleep(_INTERVAL_SECONDS)

    async def _ask(self, stub: health_pb2_grpc.HealthServiceAsyncStub) -> health_pb2.GetHealthResponse:
        try:
            return await stub.GetHealth(health_pb2.GetHealthRequest(), timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError:
            return self._down
