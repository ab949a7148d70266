"""What a client sees while Redis or Postgres is gone, and how soon it is over."""

import asyncio
import time

import httpx

from tests.gateway.error_form import error_of
from tests.running_mesh import Mesh

READS = (
    "/v1/geocode?q=Nairobi",
    "/v1/reverse?lat=48.8584&lng=2.2945",
    "/v1/places:autocomplete?q=san+fr",
    "/v1/cells:encode?lat=1&lng=2&resolution=9",
    "/v1/entities:nearby?lat=47.6&lng=-122.3&limit=3",
    "/v1/trajectories/mmsi-368027230:summary",
    "/v1/stations?page_size=2",
    "/v1/airquality/current?lat=37.77&lng=-122.42&at=2020-08-20T02:00:00Z",
    "/.well-known/jwks.json",
)
STORED = "/v1/entities:nearby?lat=47.6&lng=-122.3&limit=3"


async def state_becomes(client: httpx.AsyncClient, state: str) -> httpx.Response:
    async with asyncio.timeout(15):
        while True:
            response = await client.get("/healthz")
            if f'"state":"{state}","services"' in response.text:
                return response
            await asyncio.sleep(0.1)


async def test_every_read_answers_without_redis_and_the_status_says_degraded(
    mesh: Mesh, client: httpx.AsyncClient
) -> None:
    mesh.stop("redis")
    for path in READS:
        response = await client.get(path)
        assert response.status_code == 200, (path, response.text)
    assert (await state_becomes(client, "HEALTH_STATE_DEGRADED")).status_code == 200


async def test_without_postgres_a_read_is_unavailable_at_once_and_back_soon_after_it(
    mesh: Mesh, client: httpx.AsyncClient
) -> None:
    mesh.stop("postgres")
    for _ in range(10):
        started = time.monotonic()
        details = error_of(await client.get(STORED), 503, "DEPENDENCY_UNAVAILABLE")
        assert time.monotonic() - started < 2
        assert "retryDelay" in details["RetryInfo"]
    assert (await client.get("/livez")).status_code == 200
    assert (await client.get("/v1/cells:encode?lat=1&lng=2&resolution=9")).status_code == 200
    assert (await state_becomes(client, "HEALTH_STATE_DOWN")).status_code == 503
    pids = {name: state.pid for name, state in mesh.stack.supervisor.states().items() if name != "postgres"}
    mesh.start("postgres")
    await accepts_connections(mesh.stack.ports.postgres)
    back = time.monotonic()
    async with asyncio.timeout(5):
        while (await client.get(STORED)).status_code != 200:  # noqa: ASYNC110 -- a client can only ask
            await asyncio.sleep(0.1)
    assert time.monotonic() - back < 5
    now = {name: state.pid for name, state in mesh.stack.supervisor.states().items() if name != "postgres"}
    assert now == pids  # nobody had to be restarted


async def accepts_connections(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
