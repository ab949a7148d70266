"""Errors that the edge makes by itself have the form of those that services make."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from geomesh.gateway.v1 import gateway_pb2 as pb
from meshkit.errors import InvalidInput, Unavailable
from tests.gateway.error_form import SECURITY, error_of, violated_fields
from tests.gateway.running_edge import Edge, running_edge

pytestmark = pytest.mark.asyncio(loop_scope="session")

MEGABYTE = 1024 * 1024


async def test_passes_on_an_error_of_a_service(edge: Edge, client: httpx.AsyncClient) -> None:
    async def refuse() -> pb.GetStatusResponse:
        raise InvalidInput("place", "is not on Earth")

    edge.service.behaviour = refuse
    details = error_of(await client.get("/healthz"), 400, "INVALID_FIELD")
    assert violated_fields(details) == ["place"]


async def test_passes_on_a_reply_that_a_service_attached_to_its_error(edge: Edge, client: httpx.AsyncClient) -> None:
    async def be_down() -> pb.GetStatusResponse:
        status = pb.GetStatusResponse(services=[pb.ServiceStatus(service="geocoder")])
        raise Unavailable("down: geocoder", dependency="geocoder", attached=status)

    edge.service.behaviour = be_down
    details = error_of(await client.get("/healthz"), 503, "DEPENDENCY_UNAVAILABLE")
    assert details["GetStatusResponse"]["services"][0]["service"] == "geocoder"
    assert details["RetryInfo"]["retryDelay"] == "1s"


async def test_names_an_unknown_query_parameter(edge: Edge, client: httpx.AsyncClient) -> None:
    details = error_of(await client.get("/healthz", params={"verbose": "1"}), 400, "INVALID_FIELD")
    assert violated_fields(details) == ["verbose"]
    assert edge.service.calls == 0


async def test_names_a_query_parameter_of_the_wrong_type(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/cells:encode", params={"lat": "north", "lng": "1"})
    assert violated_fields(error_of(response, 400, "INVALID_FIELD")) == ["lat"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("lat=1&lat=2", "lat"),
        ("lat.x=1", "lat"),
        ("la%22t=1", "la%22t"),
        ("resolution=1,2", "resolution"),
        ("lat=", "lat"),
    ],
)
async def test_names_the_parameter_in_every_misuse(client: httpx.AsyncClient, query: str, field: str) -> None:
    response = await client.get(f"/v1/cells:encode?{query}")
    assert violated_fields(error_of(response, 400, "INVALID_FIELD")) == [field]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/auth/login", {"email": 1}, "email"),
        ("/v1/auth/login", {"email": {"at": "example.org"}}, "email"),
        ("/v1/readings:batch", {"readings": [{"value": 1.0}, {"value": "high"}]}, "readings[1].value"),
    ],
)
async def test_names_a_field_of_a_body_that_has_the_wrong_type(
    client: httpx.AsyncClient, path: str, body: object, field: str
) -> None:
    response = await client.post(path, json=body)
    assert violated_fields(error_of(response, 400, "INVALID_FIELD")) == [field]


@pytest.mark.parametrize("value", ['"', '"]}', '\\"', "}]}", "\\", "\n", "ü", "%LOCAL_REPLY_BODY%"])
async def test_names_the_field_whatever_its_value_holds(client: httpx.AsyncClient, value: str) -> None:
    response = await client.get("/v1/cells:encode", params={"lat": value, "lng": "1"})
    assert violated_fields(error_of(response, 400, "INVALID_FIELD")) == ["lat"]


@pytest.mark.parametrize("body", ['{"email": ', "[]", "hello", '{"email": "a"} {', b'{"email": "\xff"}'])
async def test_refuses_a_body_that_is_no_json_object(client: httpx.AsyncClient, body: str | bytes) -> None:
    details = error_of(await client.post("/v1/auth/login", content=body), 400, "MALFORMED_REQUEST")
    assert "BadRequest" not in details


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/healthz/more", "/stats", "/geomesh.auth.v1.AuthService/Login"]
)
async def test_does_not_know_a_path_without_route(client: httpx.AsyncClient, path: str) -> None:
    error_of(await client.get(path), 404, "ROUTE_NOT_FOUND")


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("POST", "/healthz", "GET"),
        ("DELETE", "/v1/cells:encode?lat=1", "GET"),
        ("GET", "/v1/auth/login", "POST"),
        ("PUT", "/v1/places/42", "GET"),
    ],
)
async def test_names_the_methods_that_a_path_takes(
    client: httpx.AsyncClient, verb: str, path: str, allowed: str
) -> None:
    response = await client.request(verb, path)
    error_of(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == allowed


async def test_refuses_a_body_above_ten_megabytes(client: httpx.AsyncClient) -> None:
    body = b'{"email": "' + b"a" * 10 * MEGABYTE + b'"}'
    error_of(await client.post("/v1/auth/login", content=body), 413, "REQUEST_TOO_LARGE")


async def test_refuses_a_body_above_ten_megabytes_that_comes_in_chunks(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"email": "'
        for _ in range(11):
            yield b"a" * MEGABYTE
        yield b'"}'

    error_of(await client.post("/v1/auth/login", content=chunks()), 413, "REQUEST_TOO_LARGE")


async def test_takes_a_body_just_below_ten_megabytes(client: httpx.AsyncClient) -> None:
    body = b'{"email": "' + b"a" * (10 * MEGABYTE - 100) + b'"}'
    response = await client.post("/v1/auth/login", content=body)
    # It went on to the service, which is not there; a crowded machine may take longer than the route has to get that far.
    assert response.status_code in {503, 504}, response.text


async def test_ends_a_request_whose_body_does_not_arrive(tmp_path: Path) -> None:
    async with running_edge(tmp_path, body_seconds=0.5) as edge, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b'POST /v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{"email": "')
        reply = await reader.readuntil(b"}]")
        writer.close()
    assert reply.startswith((b"HTTP/1.1 408", b"HTTP/1.1 504"))
    assert b"DEADLINE_EXCEEDED" in reply


async def test_gives_an_answer_more_time_than_a_body(tmp_path: Path) -> None:
    async with running_edge(tmp_path, body_seconds=0.5) as edge, httpx.AsyncClient(base_url=edge.url) as client:
        edge.service.behaviour = lambda: asyncio.sleep(1.0, pb.GetStatusResponse())
        assert (await client.get("/healthz")).status_code == 200


async def test_refuses_headers_above_their_limit(client: httpx.AsyncClient) -> None:
    error_of(await client.get("/healthz", headers={"x-large": "a" * 40_000}), 431, "REQUEST_TOO_LARGE")


async def test_refuses_more_headers_than_anyone_needs(client: httpx.AsyncClient) -> None:
    error_of(await client.get("/healthz", headers={f"x-{n}": "1" for n in range(101)}), 431, "REQUEST_TOO_LARGE")
    assert (await client.get("/healthz", headers={f"x-{n}": "1" for n in range(80)})).status_code == 200


async def test_refuses_a_slash_in_disguise(client: httpx.AsyncClient) -> None:
    error_of(await client.get("/v1/places/..%2f..%2fhealthz"), 400, "MALFORMED_REQUEST")


@pytest.mark.parametrize(
    ("request_text", "status", "reason"),
    [
        ("HELO geomesh", 400, "MALFORMED_REQUEST"),
        ("GET /healthz HTTP/9.9\r\nhost: here", 400, "MALFORMED_REQUEST"),
        ("GET /healthz HTTP/1.1", 400, "MALFORMED_REQUEST"),
        ("GET /healthz HTTP/1.1\r\nx-request-id: mine", 400, "MALFORMED_REQUEST"),
        ("GET /healthz HTTP/1.1\r\nhost: here\r\nx_y: z\r\nx-request-id: mine", 400, "MALFORMED_REQUEST"),
        ("GET /v1/%2e%2e%2fhealthz HTTP/1.1\r\nhost: here\r\nx-request-id: mine", 400, "MALFORMED_REQUEST"),
        ("GET /healthz HTTP/1.1\r\nhost: here\r\ncontent-length: 5\r\ncontent-length: 6", 400, "MALFORMED_REQUEST"),
        ("GET /healthz HTTP/1.1\r\nhost: here\r\nlarge: " + "x" * 40_000, 431, "REQUEST_TOO_LARGE"),
        ("CONNECT here:80 HTTP/1.1\r\nhost: here:80", 404, "ROUTE_NOT_FOUND"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_never_gets_as_far_as_a_filter_is_refused_in_the_one_form(
    edge: Edge, request_text: str, status: int, reason: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(f"{request_text}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = httpx.Headers([(line.partition(": ")[0], line.partition(": ")[2]) for line in lines])
        body = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    await writer.wait_closed()
    response = httpx.Response(int(first.split()[1]), headers=headers, content=body)
    error_of(response, status, reason)
    assert {name: headers[name] for name in SECURITY} == SECURITY


async def test_says_when_to_try_again_while_a_service_is_gone(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/cells:encode", params={"lat": 1, "lng": 2})
    details = error_of(response, 503, "DEPENDENCY_UNAVAILABLE")
    assert details["RetryInfo"]["retryDelay"] == "1s"
    assert response.headers["retry-after"] == "1"


async def test_ends_a_call_that_takes_too_long(edge: Edge, client: httpx.AsyncClient) -> None:
    cancelled = asyncio.Event()

    async def sleep() -> pb.GetStatusResponse:
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.set()
        raise AssertionError("nobody wakes it")

    edge.service.behaviour = sleep
    error_of(await client.get("/healthz"), 504, "DEADLINE_EXCEEDED")
    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_refuses_what_would_only_wait(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def wait() -> pb.GetStatusResponse:
        await release.wait()
        return pb.GetStatusResponse()

    async with running_edge(tmp_path, max_requests=2) as edge, httpx.AsyncClient(base_url=edge.url) as client:
        edge.service.behaviour = wait
        waiting = [asyncio.create_task(client.get("/healthz")) for _ in range(2)]
        for _ in waiting:
            await edge.service.called.acquire()
        response = await client.get("/healthz")
        details = error_of(response, 429, "OVERLOADED")
        assert details["RetryInfo"]["retryDelay"] == response.headers["retry-after"] + "s"
        release.set()
        assert [(await each).status_code for each in waiting] == [200, 200]


async def test_takes_no_more_connections_than_it_is_set_to(tmp_path: Path) -> None:
    async with running_edge(tmp_path, max_connections=2) as edge:
        first = [await asyncio.open_connection("127.0.0.1", edge.port) for _ in range(2)]
        for reader, writer in first:
            writer.write(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
            assert (await reader.readline()).endswith(b"200 OK\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        assert await reader.read() == b""
        for each in (writer, *(one for _, one in first)):
            each.close()


async def test_says_how_to_write_letters_that_a_url_cannot_hold(edge: Edge) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write("GET /healthz?q=München HTTP/1.1\r\nhost: here\r\n\r\n".encode())
    reply = await asyncio.wait_for(reader.readuntil(b"percent-encoded"), 10)
    writer.close()
    await writer.wait_closed()
    assert reply.startswith(b"HTTP/1.1 400")
    assert b"MALFORMED_REQUEST" in reply
