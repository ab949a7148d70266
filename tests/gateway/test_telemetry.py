"""What the edge writes down of a request."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from geomesh.gateway.v1 import gateway_pb2 as pb
from geomesh.gateway.v1 import gateway_pb2_grpc
from tests.gateway.running_edge import Edge, running_edge

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


async def test_logs_a_rest_request_by_its_rpc(edge: Edge, client: httpx.AsyncClient) -> None:
    headers = {"user-agent": "tester/1", "traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}
    response = await client.get("/healthz", headers=headers)
    entry = await edge.logged(response.headers["x-request-id"])
    assert entry["route"] == "geomesh.gateway.v1.GatewayService/GetStatus"
    assert (entry["method"], entry["status"], entry["grpc_status"]) == ("GET", 200, "0")
    assert entry["user_agent"] == "tester/1"
    assert entry["client"] == "127.0.0.1"
    assert TRACE_ID in entry["trace_id"]
    assert entry["upstream"].startswith("127.0.0.1:")
    assert entry["bytes_sent"] == len(response.content)
    assert entry["duration_ms"] >= 0


async def test_logs_no_query(edge: Edge, client: httpx.AsyncClient) -> None:
    response = await client.get("/nothing?token=secret")
    entry = await edge.logged(response.headers["x-request-id"])
    assert entry["route"] == "/nothing"
    assert "secret" not in edge.log.read_text()


async def test_logs_the_status_of_a_grpc_call(edge: Edge) -> None:
    async with grpc.aio.insecure_channel(edge.target) as channel:
        stub: gateway_pb2_grpc.GatewayServiceAsyncStub = gateway_pb2_grpc.GatewayServiceStub(channel)
        await stub.GetStatus(pb.GetStatusRequest(), metadata=(("x-request-id", "grpc-well"),))
        assert (await edge.logged("grpc-well"))["grpc_status"] == "0"
        call: Callable[..., Awaitable[bytes]] = channel.unary_unary("/geomesh.nothing.v1.NothingService/Nothing")
        with pytest.raises(grpc.aio.AioRpcError):
            await call(b"", metadata=(("x-request-id", "grpc-ill"),))
        assert (await edge.logged("grpc-ill"))["grpc_status"] == "12"


async def test_a_request_cannot_write_its_own_line(edge: Edge, client: httpx.AsyncClient) -> None:
    response = await client.get("/nothing", headers={"user-agent": '","status":999,"x":"'})
    entry = await edge.logged(response.headers["x-request-id"])
    assert entry["status"] == 404


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans as an OpenTelemetry collector would."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[trace_service_pb2.ExportTraceServiceRequest] = asyncio.Queue()

    async def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        del context
        await self.requests.put(request)
        return trace_service_pb2.ExportTraceServiceResponse()


async def test_sends_spans_where_a_collector_is_set(tmp_path: Path) -> None:
    collector, server = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # untyped
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    settings: dict[str, Any] = {"otlp_endpoint": f"http://127.0.0.1:{port}", "trace_sample_ratio": 1.0}
    async with running_edge(tmp_path, **settings) as edge, httpx.AsyncClient(base_url=edge.url) as client:
        response = await client.get("/healthz")
        async with asyncio.timeout(20):
            exported = await collector.requests.get()
        (span,) = exported.resource_spans[0].scope_spans[0].spans
        assert span.name == "geomesh.gateway.v1.GatewayService/GetStatus"
        trace_id = span.trace_id.hex()
        assert edge.service.metadata["traceparent"].split("-")[1] == trace_id
        entry = await edge.logged(response.headers["x-request-id"])
        assert entry["trace_id"] == trace_id
    await server.stop(None)
