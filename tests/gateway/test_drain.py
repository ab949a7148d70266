"""An edge that is told to drain ends no request and takes no new client."""

import asyncio
from pathlib import Path

import httpx
import pytest

from geomesh.gateway.v1 import gateway_pb2 as pb
from tests.gateway.running_edge import running_edge

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_finishes_what_is_in_work_and_then_closes(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge, httpx.AsyncClient(base_url=edge.url) as client:
        edge.service.behaviour = lambda: asyncio.sleep(2.5, pb.GetStatusResponse())
        in_work = asyncio.create_task(client.get("/healthz"))
        await edge.service.called.acquire()
        async with httpx.AsyncClient() as admin:
            (await admin.post(f"{edge.admin_url}/drain_listeners?graceful")).raise_for_status()
        during = await client.get("/livez")
        assert during.status_code == 200
        assert during.headers["connection"] == "close"
        assert (await in_work).status_code == 200
        async with asyncio.timeout(10):
            while await takes_connections(edge.port):  # noqa: ASYNC110 -- a listener tells nobody that it closed
                await asyncio.sleep(0.1)


async def takes_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
