"""GatewayService: protobuf in, protobuf out."""

from collections.abc import Sequence

import grpc

from gateway.watch import ServiceWatch
from geomesh.gateway.v1 import gateway_pb2 as pb
from geomesh.gateway.v1 import gateway_pb2_grpc
from meshkit.errors import Unavailable
from meshkit.health import State


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """Answers for the mesh as a whole."""

    def __init__(self, services: Sequence[ServiceWatch]) -> None:
        self._services = services

    async def GetStatus(  # noqa: N802 -- the RPC's name
        self,
        request: pb.GetStatusRequest,
        context: "grpc.aio.ServicerContext[pb.GetStatusRequest, pb.GetStatusResponse]",
    ) -> pb.GetStatusResponse:
        """Tells how each service fares, as an error while one is down."""
        del request, context
        status = pb.GetStatusResponse(
            state=max(watch.state for watch in self._services).value,
            services=[_service_status(watch) for watch in self._services],
        )
        down = [watch.name for watch in self._services if watch.state is State.DOWN]
        if down:
            raise Unavailable(f"down: {', '.join(down)}", dependency=down[0], attached=status)
        return status


def _service_status(watch: ServiceWatch) -> pb.ServiceStatus:
    replicas = [
        pb.ReplicaStatus(state=each.state, version=each.version, dependencies=each.dependencies)
        for each in watch.replicas
    ]
    return pb.ServiceStatus(service=watch.name, state=watch.state.value, replicas=replicas)
