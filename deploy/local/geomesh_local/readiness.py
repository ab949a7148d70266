"""Asks every process how it fares, and waits until all are well."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass

import grpc
import httpx

from geomesh.health.v1 import health_pb2, health_pb2_grpc
from geomesh_local.errors import StackError
from geomesh_local.ports import GATEWAY, LIMITS, SERVICES, program_name
from geomesh_local.stack import Stack
from geomesh_local.supervisor import CrashWatch, tail
from meshkit.tls import channel as connect

_ASK_SECONDS = 2.0
_PAUSE_SECONDS = 0.1
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Health:
    """What a program says of itself.

    Attributes:
        state: `ok`, `degraded`, `down`, or `silent` where it does not answer.
        detail: Its dependencies that are not well, empty where all are.
    """

    state: str
    detail: str = ""


async def health_of_all(stack: Stack) -> dict[str, Health]:
    """Asks every service, the gateway and the edge at once."""
    replicas = [(service, replica) for service in (*SERVICES, LIMITS) for replica in range(stack.replicas)]
    replicas.append((GATEWAY, 0))
    names = [*(program_name(service, replica) for service, replica in replicas), "envoy"]
    answers = await asyncio.gather(
        *(_ask_service(stack, service, replica) for service, replica in replicas), _ask_edge(stack)
    )
    return dict(zip(names, answers, strict=True))


async def _ask_service(stack: Stack, service: str, replica: int) -> Health:
    address = f"127.0.0.1:{stack.ports.grpc(service, replica)}"
    async with connect(address, service, stack.operator, options=[]) as channel:
        stub: health_pb2_grpc.HealthServiceAsyncStub = health_pb2_grpc.HealthServiceStub(channel)
        try:
            answer = await stub.GetHealth(health_pb2.GetHealthRequest(), timeout=_ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            return Health("silent", error.code().name)
    unwell = [each for each in answer.dependencies if each.state != health_pb2.HEALTH_STATE_OK]
    return Health(_word(answer.state), ", ".join(f"{each.name} {_word(each.state)}" for each in unwell))


async def _ask_edge(stack: Stack) -> Health:
    try:
        async with httpx.AsyncClient(timeout=_ASK_SECONDS, verify=stack.edge_trust) as client:
            answer = await client.get(f"{stack.edge_url}/healthz")
    except httpx.HTTPError as error:
        return Health("silent", type(error).__name__)
    if answer.is_success:
        return Health("ok")
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    return Health("down", str(answer.json().get("message", "")) if is_json else f"status {answer.status_code}")


def _word(state: health_pb2.HealthState.ValueType) -> str:
    return health_pb2.HealthState.Name(state).removeprefix("HEALTH_STATE_").lower()


async def wait_until_well(stack: Stack, limit_seconds: float) -> None:
    """Waits until every process answers and says that all is well, for a while; then, that it can serve degraded.

    Raises:
        StackError: if one does not in time or keeps crashing, with the end of its log.
    """
    started = time.monotonic()
    watch = CrashWatch(stack.supervisor)
    while True:
        healths = await health_of_all(stack)
        waited = time.monotonic() - started
        enough = {"ok"} if waited < min(_PATIENCE_SECONDS, limit_seconds) else {"ok", "degraded"}
        unwell = {name: health for name, health in healths.items() if health.state not in enough}
        if not unwell:
            return
        crashed = [name for name in watch.crashing() if name in unwell]
        if crashed or waited > limit_seconds:
            raise StackError("\n\n".join(_report(stack, name, unwell.get(name)) for name in crashed or _causes(unwell)))
        await asyncio.sleep(_PAUSE_SECONDS)


def _report(stack: Stack, name: str, health: Health | None) -> str:
    said = f": {health.state} {health.detail}" if health else ""
    log = stack.supervisor.log(name)
    return f"{name} did not become well{said}\nThe end of {log}:\n{tail(log)}"


def _causes(unwell: Collection[str]) -> list[str]:
    """Returns the programs to blame: the gateway and Envoy are unwell wherever a service is."""
    services = [name for name in unwell if name not in {GATEWAY, "envoy"}]
    return services or list(unwell)
