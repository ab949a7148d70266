"""The edge that most tests here share, and a client for it."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.gateway.running_edge import Edge, running_edge


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with running_edge(tmp_path_factory.mktemp("edge"), request_timeout_seconds=0.5) as edge:
        yield edge


@pytest_asyncio.fixture(loop_scope="session")
async def edge(_shared_edge: Edge) -> Edge:
    """An edge that waits half a second for an answer."""
    _shared_edge.service.reset()
    return _shared_edge


@pytest_asyncio.fixture(loop_scope="session")
async def client(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    """A REST client of the edge."""
    async with httpx.AsyncClient(base_url=edge.url, timeout=10) as client:
        yield client
