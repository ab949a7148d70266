"""What the edge lets in, what it adds, and what it lets out."""

import re
from pathlib import Path

import grpc
import httpx
import pytest

from geomesh.gateway.v1 import gateway_pb2 as pb
from geomesh.gateway.v1 import gateway_pb2_grpc
from tests.gateway.running_edge import Edge, running_edge

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = "https://example.org"


async def test_gives_a_request_an_id(edge: Edge, client: httpx.AsyncClient) -> None:
    response = await client.get("/healthz")
    assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["x-request-id"])
    assert edge.service.metadata["x-request-id"] == response.headers["x-request-id"]


async def test_keeps_the_id_that_the_client_gave(edge: Edge, client: httpx.AsyncClient) -> None:
    response = await client.get("/healthz", headers={"x-request-id": "checkout-42"})
    assert response.headers["x-request-id"] == "checkout-42"
    assert edge.service.metadata["x-request-id"] == "checkout-42"


async def test_passes_a_trace_on(edge: Edge, client: httpx.AsyncClient) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await client.get("/healthz", headers={"traceparent": trace})
    assert edge.service.metadata["traceparent"] == trace


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-envoy-original-path", "/v1/auth/login"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-max-retries", "100"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-internal", "true"),
        ("x-envoy-external-address", "8.8.8.8"),
    ],
)
async def test_does_not_believe_what_only_envoy_says(
    edge: Edge, client: httpx.AsyncClient, name: str, value: str
) -> None:
    assert (await client.get("/healthz", headers={name: value})).status_code == 200
    assert edge.service.metadata.get(name) != value


async def test_does_not_believe_a_clients_word_for_its_address(edge: Edge, client: httpx.AsyncClient) -> None:
    await client.get("/healthz", headers={"x-forwarded-for": "8.8.8.8"})
    assert edge.service.metadata["x-envoy-external-address"] == "127.0.0.1"


async def test_believes_as_many_proxies_as_are_ours_and_no_more(tmp_path: Path) -> None:
    async with running_edge(tmp_path, trusted_hops=1) as edge, httpx.AsyncClient(base_url=edge.url) as client:
        # Our proxy has put what it saw at the end; what is before that, its client has made up.
        await client.get("/healthz", headers={"x-forwarded-for": "8.8.8.8, 203.0.113.7"})
        assert edge.service.metadata["x-envoy-external-address"] == "203.0.113.7"


async def test_a_rest_client_cannot_speak_grpc_in_headers(edge: Edge, client: httpx.AsyncClient) -> None:
    forged = {"grpc-timeout": "nonsense", "grpc-encoding": "gzip"}
    assert (await client.get("/healthz", headers=forged)).status_code == 200
    assert "grpc-encoding" not in edge.service.metadata


async def test_refuses_a_header_that_could_pass_for_another(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz", headers={"x_forwarded_for": "8.8.8.8"})).status_code == 400


@pytest.mark.parametrize("name", ["it's", "a!b", "~", "x&y", "x-%s"])
async def test_a_header_that_grpc_cannot_carry_is_left_out(edge: Edge, client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get("/healthz", headers={name: "1", "x-kept": "1"})).status_code == 200
    assert name not in edge.service.metadata
    assert edge.service.metadata["x-kept"] == "1"


@pytest.mark.parametrize(("name", "value"), [("x-text", b"caf\xe9"), ("x-some-bin", b"!!"), ("te", b"x")])
async def test_a_header_value_that_grpc_cannot_carry_is_no_failure(
    client: httpx.AsyncClient, name: str, value: bytes
) -> None:
    response = await client.get("/healthz", headers=[(name.encode(), value)])
    assert response.status_code in {200, 400}, response.text


async def test_a_rest_reply_says_nothing_of_grpc_or_envoy(client: httpx.AsyncClient) -> None:
    response = await client.get("/healthz")
    assert not [name for name in response.headers if name.startswith(("grpc-", "x-envoy-"))]
    assert response.headers["server"] == "geomesh"


async def test_a_reply_is_neither_guessed_at_nor_kept(client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/nothing", "/livez"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


async def test_tells_a_service_how_long_anyone_waits(edge: Edge, client: httpx.AsyncClient) -> None:
    await client.get("/healthz")
    assert edge.service.remaining_seconds is not None
    assert 0.5 < edge.service.remaining_seconds < 1.1


async def test_keeps_the_deadline_of_a_grpc_caller(edge: Edge) -> None:
    async with grpc.aio.insecure_channel(edge.target) as channel:
        stub: gateway_pb2_grpc.GatewayServiceAsyncStub = gateway_pb2_grpc.GatewayServiceStub(channel)
        await stub.GetStatus(pb.GetStatusRequest(), timeout=0.3)
    assert edge.service.remaining_seconds is not None
    assert edge.service.remaining_seconds <= 0.3


async def test_is_alive_whatever_the_services_do(edge: Edge, client: httpx.AsyncClient) -> None:
    response = await client.get("/livez")
    assert response.json() == {"status": "alive"}
    assert edge.service.calls == 0


async def test_pages_of_other_origins_may_not_call_unless_set(client: httpx.AsyncClient) -> None:
    response = await client.get("/healthz", headers={"origin": PAGE})
    assert "access-control-allow-origin" not in response.headers


async def test_pages_of_the_origins_that_are_set_may_call(tmp_path: Path) -> None:
    preflight = {"origin": PAGE, "access-control-request-method": "POST"}
    async with (
        running_edge(tmp_path, cors_origins=[PAGE]) as edge,
        httpx.AsyncClient(base_url=edge.url) as client,
    ):
        allowed = await client.options("/v1/auth/login", headers=preflight)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == PAGE
        assert "authorization" in allowed.headers["access-control-allow-headers"]
        reply = await client.get("/healthz", headers={"origin": PAGE})
        assert reply.headers["access-control-allow-origin"] == PAGE
        assert "x-request-id" in reply.headers["access-control-expose-headers"]
        refused = await client.options("/v1/auth/login", headers=preflight | {"origin": "https://example.com"})
        assert "access-control-allow-origin" not in refused.headers
