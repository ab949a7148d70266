"""Clients of the mesh that every test here has use for."""

from collections.abc import AsyncIterator

import grpc
import httpx
import pytest

from tests.running_mesh import Mesh


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    """A REST client without a token."""
    async with httpx.AsyncClient(base_url=mesh.base_url, timeout=40, verify=mesh.stack.edge_trust) as client:
        yield client


@pytest.fixture
async def user(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    """A REST client of someone who may write what is their own."""
    headers = {"authorization": f"Bearer {mesh.token('user')}"}
    async with httpx.AsyncClient(
        base_url=mesh.base_url, timeout=40, headers=headers, verify=mesh.stack.edge_trust
    ) as client:
        yield client


@pytest.fixture
async def channel(mesh: Mesh) -> AsyncIterator[grpc.aio.Channel]:
    """A gRPC channel to the edge."""
    async with mesh.channel(mesh.grpc_target) as channel:
        yield channel
