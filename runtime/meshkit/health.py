"""What a service says of itself: alive, ready, and how each thing it depends on fares."""

from collections.abc import Sequence
from enum import IntEnum
from importlib import metadata
from typing import Protocol

from geomesh.health.v1 import health_pb2, health_pb2_grpc


class State(IntEnum):
    """How a service or a dependency fares; the worse, the greater."""

    OK = health_pb2.HEALTH_STATE_OK
    DEGRADED = health_pb2.HEALTH_STATE_DEGRADED
    DOWN = health_pb2.HEALTH_STATE_DOWN


class Dependency(Protocol):
    """Something outside of the process that a service needs. It watches itself; nobody waits for it to be asked."""

    @property
    def name(self) -> str:
        """The name in health details, metrics and logs, e.g. ``postgres-primary``."""

    @property
    def required(self) -> bool:
        """Whether the service is down without it."""

    @property
    def state(self) -> State:
        """How it fared when it was last used or probed."""

    @property
    def breaker(self) -> str:
        """The state of its circuit breaker: ``closed``, ``open``, ``half_open``, or empty where it has none."""

    async def start(self) -> None:
        """Connects in the background; that the dependency is down is no failure."""

    async def close(self) -> None:
        """Gives everything back."""


def overall(dependencies: Sequence[Dependency]) -> State:
    """Returns DOWN when something required is down, DEGRADED when anything is not well, else OK."""
    states = [State.DEGRADED if each.state is State.DOWN and not each.required else each.state for each in dependencies]
    return max(states, default=State.OK)


class HealthServicer(health_pb2_grpc.HealthServiceServicer):
    """Answers from memory, so that it answers also when every dependency hangs."""

    def __init__(self, service: str, dependencies: Sequence[Dependency]) -> None:
        self._service = service
        self._dependencies = dependencies
        self._version = metadata.version("geomesh-runtime")

    async def GetHealth(  # noqa: N802 -- the RPC's name
        self, request: health_pb2.GetHealthRequest, context: object
    ) -> health_pb2.GetHealthResponse:
        """Returns the state of the service and of each dependency."""
        del request, context
        return health_pb2.GetHealthResponse(
            service=self._service,
            state=overall(self._dependencies).value,
            version=self._version,
            dependencies=[
                health_pb2.DependencyHealth(
                    name=each.name, state=each.state.value, required=each.required, breaker=each.breaker
                )
                for each in self._dependencies
            ],
        )
