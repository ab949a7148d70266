"""The gateway knows within two seconds how every replica fares."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from gateway.servicer import GatewayServicer
from gateway.site import Site
from gateway.watch import ServiceWatch
from geomesh.gateway.v1 import gateway_pb2 as pb
from geomesh.health.v1 import health_pb2, health_pb2_grpc
from meshkit.errors import Unavailable
from meshkit.health import State


class Replica(health_pb2_grpc.HealthServiceServicer):
    """Says what the test says."""

    def __init__(self) -> None:
        self.answer = health_pb2.GetHealthResponse(state=health_pb2.HEALTH_STATE_OK, version="1.2.3")
        self.hangs = False

    async def GetHealth(self, request: object, context: object) -> health_pb2.GetHealthResponse:
        del request, context
        if self.hangs:
            await asyncio.sleep(30)
        return self.answer


@asynccontextmanager
async def serving(replica: Replica, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[int]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServiceServicer_to_server(replica, server)
    port = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    yield port
    await server.stop(None)


@asynccontextmanager
async def watching(*ports: int) -> AsyncIterator[ServiceWatch]:
    watch = ServiceWatch("geocoder", [("127.0.0.1", port) for port in ports], timeout_seconds=0.2)
    await watch.start()
    yield watch
    await watch.close()


async def becomes(watch: ServiceWatch, state: State) -> None:
    async with asyncio.timeout(5):
        while watch.state is not state:  # noqa: ASYNC110 -- a watch tells nobody that it changed
            await asyncio.sleep(0.02)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_a_replica_may_have_an_ipv6_address() -> None:
    async with serving(Replica(), host="[::1]") as port:
        watch = ServiceWatch("geocoder", [("::1", port)], timeout_seconds=0.2)
        await watch.start()
        await becomes(watch, State.OK)
        await watch.close()


async def test_a_service_is_down_until_it_has_said_otherwise() -> None:
    async with serving(Replica()) as port, watching(port) as watch:
        assert watch.state is State.DOWN
        await becomes(watch, State.OK)


async def test_a_service_is_degraded_while_one_replica_does_not_answer() -> None:
    well, hanging = Replica(), Replica()
    hanging.hangs = True
    async with serving(well) as first, serving(hanging) as second, watching(first, second) as watch:
        await becomes(watch, State.DEGRADED)
        hanging.hangs = False
        await becomes(watch, State.OK)


async def test_a_service_that_stops_and_comes_back_is_seen() -> None:
    replica = Replica()
    async with serving(replica) as port, watching(port) as watch:
        await becomes(watch, State.OK)
    async with watching(port) as watch:
        assert watch.state is State.DOWN
        async with serving(replica, port):
            await becomes(watch, State.OK)


async def test_tells_what_a_replica_said_of_its_dependencies() -> None:
    replica = Replica()
    redis = health_pb2.DependencyHealth(name="redis", state=health_pb2.HEALTH_STATE_DOWN)
    replica.answer = health_pb2.GetHealthResponse(state=health_pb2.HEALTH_STATE_DEGRADED, dependencies=[redis])
    async with serving(replica) as port, watching(port) as watch:
        await becomes(watch, State.DEGRADED)
        status = await GatewayServicer([watch], Site.load()).GetStatus(pb.GetStatusRequest(), None)  # type: ignore[arg-type]  # not used
    assert status.state == health_pb2.HEALTH_STATE_DEGRADED
    assert status.services[0].replicas[0].dependencies == [redis]


async def test_a_service_that_is_down_makes_the_status_an_error_that_tells_all() -> None:
    async with serving(Replica()) as port, watching(port) as well, watching(1) as gone:
        await becomes(well, State.OK)
        with pytest.raises(Unavailable, match="down: geocoder") as caught:
            await GatewayServicer([well, gone], Site.load()).GetStatus(pb.GetStatusRequest(), None)  # type: ignore[arg-type]  # not used
    assert isinstance(caught.value.attached, pb.GetStatusResponse)
    states = [service.state for service in caught.value.attached.services]
    assert states == [health_pb2.HEALTH_STATE_OK, health_pb2.HEALTH_STATE_DOWN]
