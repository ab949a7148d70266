"""Errors that the edge makes by itself reach gRPC and gRPC-Web callers as statuses with the same details."""

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from geomesh.gateway.v1 import gateway_pb2 as pb
from geomesh.gateway.v1 import gateway_pb2_grpc
from meshkit.errors import InvalidInput
from tests.gateway.running_edge import Edge

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNKNOWN = "/geomesh.nothing.v1.NothingService/Nothing"
GONE = "/geomesh.spatial_index.v1.SpatialIndexService/EncodeLocation"
STATUS = "/geomesh.gateway.v1.GatewayService/GetStatus"


@pytest_asyncio.fixture(loop_scope="session")
async def channel(edge: Edge) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(edge.target) as channel:
        yield channel


async def failure(channel: grpc.aio.Channel, method: str, request: bytes = b"", **options: Any) -> grpc.aio.AioRpcError:
    call: Callable[..., Awaitable[bytes]] = channel.unary_unary(method)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(request, **options)
    return caught.value


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Returns the status in the trailers, which must say what the call's own code and message say."""
    serialized = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(serialized, bytes)
    status = status_pb2.Status.FromString(serialized)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    return status


def reason_of(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    assert any(each.Unpack(info) for each in status.details)
    assert info.domain == "geomesh"
    return str(info.reason)


async def test_an_unknown_rpc_is_unimplemented(channel: grpc.aio.Channel) -> None:
    error = await failure(channel, UNKNOWN)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert reason_of(status_of(error)) == "ROUTE_NOT_FOUND"


async def test_the_health_that_every_service_has_is_not_public(channel: grpc.aio.Channel) -> None:
    error = await failure(channel, "/geomesh.health.v1.HealthService/GetHealth")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_service_that_is_gone_is_unavailable(channel: grpc.aio.Channel) -> None:
    error = await failure(channel, GONE)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(status_of(error)) == "DEPENDENCY_UNAVAILABLE"


async def test_a_forged_header_does_not_turn_the_status_into_json(channel: grpc.aio.Channel) -> None:
    error = await failure(channel, GONE, metadata=(("x-envoy-original-path", "/v1/cells:encode"),))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(status_of(error)) == "DEPENDENCY_UNAVAILABLE"


@pytest.mark.parametrize("deadline_seconds", [None, 20.0])
async def test_a_call_that_takes_too_long_is_ended_with_details(
    edge: Edge, channel: grpc.aio.Channel, deadline_seconds: float | None
) -> None:
    edge.service.behaviour = lambda: asyncio.sleep(30, pb.GetStatusResponse())
    error = await failure(channel, STATUS, timeout=deadline_seconds)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert reason_of(status_of(error)) == "DEADLINE_EXCEEDED"


async def test_an_error_of_a_service_keeps_its_details(edge: Edge, channel: grpc.aio.Channel) -> None:
    async def refuse() -> pb.GetStatusResponse:
        raise InvalidInput("place", "is not on Earth")

    edge.service.behaviour = refuse
    error = await failure(channel, STATUS)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(status_of(error)) == "INVALID_FIELD"


async def test_bytes_that_are_no_message_are_the_callers_mistake(channel: grpc.aio.Channel) -> None:
    error = await failure(channel, STATUS, b"\xff\xff\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(status_of(error)) == "MALFORMED_REQUEST"


@pytest.mark.parametrize("headers", [(("x-large", "a" * 40_000),), tuple((f"x-{n}", "1") for n in range(101))])
async def test_headers_above_their_limit_end_the_call_and_no_other(
    edge: Edge, headers: tuple[tuple[str, str], ...]
) -> None:
    """Over HTTP/2 Envoy resets the stream, without a word."""
    async with grpc.aio.insecure_channel(edge.target, options=[("grpc.max_metadata_size", 100_000)]) as channel:
        error = await failure(channel, STATUS, metadata=headers)
        assert error.code() is grpc.StatusCode.INTERNAL
        assert edge.service.calls == 0
        call: Any = channel.unary_unary(STATUS)
        await call(b"")
    assert edge.service.calls == 1


async def test_a_reply_names_its_request(edge: Edge, channel: grpc.aio.Channel) -> None:
    stub: gateway_pb2_grpc.GatewayServiceAsyncStub = gateway_pb2_grpc.GatewayServiceStub(channel)
    call = stub.GetStatus(pb.GetStatusRequest(), metadata=(("x-request-id", "mine"),))
    await call
    assert dict(await call.initial_metadata())["x-request-id"] == "mine"
    assert edge.service.metadata["x-request-id"] == "mine"


async def grpc_web(edge: Edge, method: str, content_type: str = "application/grpc-web+proto") -> httpx.Response:
    message = struct.pack(">BI", 0, 0)
    body = base64.b64encode(message) if "text" in content_type else message
    async with httpx.AsyncClient(base_url=edge.url) as client:
        return await client.post(method, content=body, headers={"content-type": content_type, "x-grpc-web": "1"})


async def test_grpc_web_gets_a_message_and_trailers(edge: Edge) -> None:
    status = pb.GetStatusResponse(services=[pb.ServiceStatus(service="geocoder")])
    edge.service.behaviour = lambda: asyncio.sleep(0, status)
    response = await grpc_web(edge, STATUS)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/grpc-web+proto"
    flag, length = struct.unpack(">BI", response.content[:5])
    assert flag == 0
    assert pb.GetStatusResponse.FromString(response.content[5 : 5 + length]).services[0].service == "geocoder"
    trailers = response.content[5 + length :]
    assert trailers[0] == 0x80
    assert b"grpc-status:0" in trailers


async def test_grpc_web_takes_text(edge: Edge) -> None:
    response = await grpc_web(edge, STATUS, "application/grpc-web-text+proto")
    assert response.status_code == 200
    assert edge.service.calls == 1


@pytest.mark.parametrize(
    ("method", "code", "reason"),
    [
        (UNKNOWN, grpc.StatusCode.UNIMPLEMENTED, "ROUTE_NOT_FOUND"),
        (GONE, grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
    ],
)
async def test_grpc_web_gets_the_status_of_an_error_of_the_edge(
    edge: Edge, method: str, code: grpc.StatusCode, reason: str
) -> None:
    response = await grpc_web(edge, method)
    assert response.status_code == 200
    assert response.headers["grpc-status"] == str(code.value[0])
    details = response.headers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    assert status.message == response.headers["grpc-message"]
    assert reason_of(status) == reason
