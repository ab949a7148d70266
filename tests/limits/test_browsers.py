"""What browsers are told, and what they can be used for."""

from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from gateway.contract import load
from tests.gateway.error_form import SECURITY, error_of
from tests.limits.conftest import PAGE
from tests.limits.running_limits import Limits, running_limits

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("limits")]

READ = "/v1/cells/8928308280fffff"


def cookie(limits: Limits, subject: str) -> dict[str, str]:
    return {"cookie": f"theme=dark; geomesh_session={limits.bearer(subject)['authorization'].removeprefix('Bearer ')}"}


async def test_the_sessions_cookie_is_an_authorization_where_nothing_is_changed(limits: Limits, subject: str) -> None:
    headers = cookie(limits, subject)
    async with limits.client() as client:
        response = await client.get(READ, headers=headers)
    assert response.headers["x-ratelimit-limit"] == "100"  # the account's, not the address's
    token = headers["cookie"].partition("geomesh_session=")[2]
    assert limits.backend.metadata["authorization"] == f"Bearer {token}"


async def test_no_service_sees_a_cookie(limits: Limits, subject: str) -> None:
    async with limits.client() as client:
        await client.get(READ, headers=cookie(limits, subject))
        assert "cookie" not in limits.backend.metadata
        await client.post("/v1/entities:batch", json={}, headers=cookie(limits, subject))
        assert "cookie" not in limits.backend.metadata


async def test_a_cookie_changes_nothing_so_that_a_foreign_page_cannot(limits: Limits, subject: str) -> None:
    async with limits.client() as client:
        headers = cookie(limits, subject)
        for response in (
            await client.post("/v1/entities:batch", json={}, headers=headers),
            await client.post("/v1/trajectories:ingest", json={}, headers=headers),
            await client.delete("/v1/entities/bus", headers=headers),
        ):
            assert response.status_code == 200
            assert "authorization" not in limits.backend.metadata


async def test_every_call_that_takes_a_cookie_only_reads() -> None:
    takers = {rpc.path.rpartition("/")[2] for rpc in load().rpcs if rpc.reads}
    assert not [
        name for name in takers if name.startswith(("Upsert", "Delete", "Ingest", "Create", "Login", "Refresh"))
    ]
    assert {"GetCell", "WhoAmI", "FindNearby"} <= takers


async def test_a_header_goes_before_the_cookie(limits: Limits, subject: str) -> None:
    bearer = limits.bearer(f"{subject}-by-header")
    async with limits.client() as client:
        await client.get(READ, headers=cookie(limits, subject) | bearer)
    assert limits.backend.metadata["authorization"] == bearer["authorization"]


async def test_nonsense_in_the_cookie_is_for_the_service_to_judge(limits: Limits, address: str) -> None:
    async with limits.client(address) as client:
        response = await client.get(READ, headers={"cookie": "geomesh_session=nonsense"})
        assert response.headers["x-ratelimit-limit"] == "5"
        assert limits.backend.metadata["authorization"] == "Bearer nonsense"
        await client.get(READ, headers={"cookie": "theme=dark"})
        assert "authorization" not in limits.backend.metadata


async def test_a_reply_says_what_a_browser_may_do_with_it(limits: Limits, address: str) -> None:
    async with limits.client(address) as client:
        for path in (READ, "/healthz", "/livez", "/nothing"):
            headers = (await client.get(path)).headers
            assert {name: headers[name] for name in SECURITY} == SECURITY, path
            assert "strict-transport-security" not in headers


async def test_every_reply_has_a_request_id(limits: Limits, address: str) -> None:
    async with limits.client(address) as client:
        replies = [await client.get(READ) for _ in range(6)]
        assert replies[-1].status_code == 429
        replies += [
            await client.get("/nothing"),
            await client.post(READ),
            await client.get("/v1/geocode?nonsense=1"),
            await client.get("/v1/%2e%2e%2fcells"),
            await client.get(READ, headers={"x_y": "z"}),
            await client.get(READ, headers={"padding": "x" * 40_000}),
            await client.post("/v1/geocode:batch", content=b"x" * 11_000_000),
            await client.options(READ, headers={"origin": PAGE, "access-control-request-method": "GET"}),
        ]
    assert {reply.status_code for reply in replies} >= {200, 400, 404, 405, 413, 429, 431}
    for reply in replies:
        assert reply.headers.get("x-request-id"), f"{reply.request.url} {reply.status_code}"
        if reply.status_code >= 400:
            assert reply.headers["x-request-id"] in reply.text


async def test_the_id_that_a_client_gave_is_on_the_refusal(limits: Limits, address: str) -> None:
    async with limits.client(address) as client:
        for _ in range(5):
            await client.get(READ)
        response = await client.get(READ, headers={"x-request-id": "checkout-42"})
    details = error_of(response, 429, "RATE_LIMITED")
    assert details["RequestInfo"]["requestId"] == "checkout-42"


async def test_asking_what_a_page_may_do_is_not_counted(limits: Limits, address: str) -> None:
    preflight = {"origin": PAGE, "access-control-request-method": "GET"}
    async with limits.client(address) as client:
        for _ in range(10):
            response = await client.options(READ, headers=preflight)
            assert response.status_code == 200
            assert response.headers["access-control-allow-origin"] == PAGE
        assert (await client.get(READ)).headers["x-ratelimit-remaining"] == "4"


async def test_a_page_that_may_call_can_read_its_limits_also_when_refused(limits: Limits, address: str) -> None:
    async with limits.client(address) as client:
        for _ in range(6):
            response = await client.get(READ, headers={"origin": PAGE})
    assert response.status_code == 429
    assert response.headers["access-control-allow-origin"] == PAGE
    assert response.headers["access-control-allow-credentials"] == "true"
    exposed = response.headers["access-control-expose-headers"]
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"} <= set(
        exposed.split(", ")
    )


async def test_no_cookie_crosses_origins_where_all_may_call(tmp_path: Path) -> None:
    async with running_limits(tmp_path, cors_origins=["*"]) as limits, limits.client() as client:
        response = await client.get(READ, headers={"origin": "https://anywhere.example"})
        assert response.headers["access-control-allow-origin"] == "https://anywhere.example"
        assert "access-control-allow-credentials" not in response.headers


async def test_a_page_elsewhere_gets_nothing(limits: Limits, address: str) -> None:
    async with limits.client(address) as client:
        response = await client.get(READ, headers={"origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in response.headers


async def test_over_grpc_a_reply_has_its_request_id(limits: Limits, subject: str) -> None:
    async with grpc.aio.insecure_channel(limits.target) as channel:
        method: Any = channel.unary_unary("/geomesh.spatial_index.v1.SpatialIndexService/GetCell")
        call = method(b"", metadata=(("x-request-id", "grpc-7"), *limits.bearer(subject).items()))
        assert dict(await call.initial_metadata())["x-request-id"] == "grpc-7"


async def test_a_large_header_is_refused_in_the_one_form(limits: Limits) -> None:
    async with limits.client() as client:
        response: httpx.Response = await client.get(READ, headers={"padding": "x" * 40_000})
    error_of(response, 431, "REQUEST_TOO_LARGE")
