"""What the container of the edge asks to learn whether it is healthy, asked of a real Envoy."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from geomesh.gateway.v1 import gateway_pb2 as pb
from meshkit.errors import Unavailable
from tests.gateway.running_edge import Edge

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose" / "compose.yaml"


async def asked(edge: Edge) -> int:
    """Runs the health check of compose.yaml against the edge and returns its exit code."""
    check: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["edge"]["healthcheck"]
    kind, *command = check["test"]
    assert kind == "CMD"
    # Compose writes a dollar as two, and the container's port is always 8080.
    process = await asyncio.create_subprocess_exec(
        *(part.replace("$$", "$").replace("/8080", f"/{edge.port}") for part in command)
    )
    return await asyncio.wait_for(process.wait(), 10)


async def test_an_edge_whose_services_answer_is_healthy(edge: Edge) -> None:
    assert await asked(edge) == 0


async def test_an_edge_whose_services_are_down_is_not_healthy(edge: Edge) -> None:
    async def down() -> pb.GetStatusResponse:
        raise Unavailable("down: geocoder", dependency="geocoder")

    edge.service.behaviour = down
    assert await asked(edge) != 0
