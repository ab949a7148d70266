"""Replicas come and go, and nobody who only reads notices."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.gateway.error_form import error_of
from tests.running_mesh import Mesh

READ = "/v1/cells:encode?lat=37.77&lng=-122.41&resolution=9"
CLIENTS = 8


@asynccontextmanager
async def load(mesh: Mesh) -> AsyncIterator["Counter[int | str]"]:
    """Reads through the edge with several clients while the context is open, and counts how it ended."""
    outcomes: Counter[int | str] = Counter()
    done = asyncio.Event()

    async def read(client: httpx.AsyncClient) -> None:
        while not done.is_set():
            try:
                outcomes[(await client.get(READ)).status_code] += 1
            except httpx.HTTPError as error:
                outcomes[repr(error)] += 1

    async with (
        httpx.AsyncClient(base_url=mesh.base_url, timeout=40, verify=mesh.stack.edge_trust) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(CLIENTS):
            group.create_task(read(client))
        try:
            yield outcomes
        finally:
            done.set()


async def until_restarted(mesh: Mesh, program: str, pid: int) -> None:
    async with asyncio.timeout(30):
        while mesh.stack.supervisor.states()[program].pid in {0, pid}:  # noqa: ASYNC110 -- it calls nobody back
            await asyncio.sleep(0.1)
    await mesh.wait_until_well()


async def status_becomes(client: httpx.AsyncClient, state: str) -> httpx.Response:
    async with asyncio.timeout(10):
        while True:
            response = await client.get("/healthz")
            if f'"state":"{state}","services"' in response.text:
                return response
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("signal_name", ["KILL", "TERM"])
async def test_no_read_fails_when_one_of_two_replicas_ends(mesh: Mesh, signal_name: str) -> None:
    async with load(mesh) as outcomes:
        for program in mesh.programs["spatial-index"]:
            await mesh.wait_until_well()
            pid = mesh.stack.supervisor.states()[program].pid
            before = outcomes.total()
            mesh.kill(program, signal_name)
            await until_restarted(mesh, program, pid)
            assert outcomes.total() > before
    assert set(outcomes) == {200}, outcomes


async def test_the_status_is_503_and_tells_which_service_is_down(mesh: Mesh, client: httpx.AsyncClient) -> None:
    mesh.stop(*mesh.programs["trajectory"])
    response = await status_becomes(client, "HEALTH_STATE_DOWN")
    details = error_of(response, 503, "DEPENDENCY_UNAVAILABLE")
    states = {each["service"]: each["state"] for each in details["GetStatusResponse"]["services"]}
    assert [name for name, state in states.items() if state == "HEALTH_STATE_DOWN"] == ["trajectory"]
    assert (await client.get("/livez")).status_code == 200
    assert (await client.get(READ)).status_code == 200


async def test_the_status_is_degraded_while_one_replica_is_gone(mesh: Mesh, client: httpx.AsyncClient) -> None:
    mesh.stop(mesh.programs["geocoder"][0])
    response = await status_becomes(client, "HEALTH_STATE_DEGRADED")
    assert response.status_code == 200


async def test_a_service_that_is_gone_is_named_unavailable_at_once(mesh: Mesh, client: httpx.AsyncClient) -> None:
    mesh.stop(*mesh.programs["trajectory"])
    started = time.monotonic()
    response = await client.get("/v1/trajectories/mmsi-368027230:summary")
    details = error_of(response, 503, "DEPENDENCY_UNAVAILABLE")
    assert time.monotonic() - started < 2
    assert "retryDelay" in details["RetryInfo"]


async def test_the_log_finds_a_request_by_its_id_at_the_edge(mesh: Mesh, client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/geocode?q=Nairobi", headers={"x-request-id": "find-me-in-the-logs"})
    assert response.headers["x-request-id"] == "find-me-in-the-logs"
    entry = await logged(mesh, "find-me-in-the-logs")
    assert entry["route"] == "geomesh.geocoder.v1.GeocoderService/Geocode"
    assert "Nairobi" not in json.dumps(entry)


async def logged(mesh: Mesh, request_id: str) -> dict[str, Any]:
    log = mesh.stack.supervisor.log("envoy")
    async with asyncio.timeout(15):
        while True:
            for line in log.read_text().splitlines():
                if f'"request_id":"{request_id}"' in line:
                    entry: dict[str, Any] = json.loads(line)
                    return entry
            await asyncio.sleep(0.2)
