"""GatewayService: protobuf in, protobuf out."""

from collections.abc import Sequence
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody

from gateway.site import Site
from gateway.watch import ServiceWatch
from geomesh.gateway.v1 import gateway_pb2 as pb
from geomesh.gateway.v1 import gateway_pb2_grpc
from meshkit.context import current
from meshkit.errors import NotFound, Reason, Unavailable
from meshkit.health import State


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """Answers for the mesh as a whole."""

    def __init__(self, services: Sequence[ServiceWatch], site: Site) -> None:
        self._services = services
        self._site = site

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

    async def GetOpenApi(  # noqa: N802 -- the RPC's name
        self, request: pb.GetOpenApiRequest, context: "grpc.aio.ServicerContext[pb.GetOpenApiRequest, HttpBody]"
    ) -> HttpBody:
        """Returns the OpenAPI document."""
        del request
        return await self._file("openapi.json", context)

    async def GetDocs(  # noqa: N802 -- the RPC's name
        self, request: pb.GetDocsRequest, context: "grpc.aio.ServicerContext[pb.GetDocsRequest, HttpBody]"
    ) -> HttpBody:
        """Returns the page that shows the document."""
        del request
        return await self._file("docs", context)

    async def GetDocsFile(  # noqa: N802 -- the RPC's name
        self, request: pb.GetDocsFileRequest, context: "grpc.aio.ServicerContext[pb.GetDocsFileRequest, HttpBody]"
    ) -> HttpBody:
        """Returns a file that the page needs."""
        return await self._file(f"docs/{request.name}", context)

    async def _file(self, path: str, context: "grpc.aio.ServicerContext[Any, HttpBody]") -> HttpBody:
        """Sends the headers of a file and returns its content."""
        file = self._site.file(path)
        if file is None:
            raise NotFound(Reason.ROUTE_NOT_FOUND, "nothing has this path")
        compressed = "gzip" in current().text("accept-encoding")
        await context.send_initial_metadata(tuple(file.headers(compressed=compressed).items()))
        return HttpBody(content_type=file.media_type, data=await file.content(compressed=compressed))


def _service_status(watch: ServiceWatch) -> pb.ServiceStatus:
    replicas = [
        pb.ReplicaStatus(state=each.state, version=each.version, dependencies=each.dependencies)
        for each in watch.replicas
    ]
    return pb.ServiceStatus(service=watch.name, state=watch.state.value, replicas=replicas)
