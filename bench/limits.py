"""What telling callers apart and counting them costs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
from google.protobuf.message import Message

from bench.edge import LAT, LNG, QUERY, SECONDS
from bench.edge import PATH as ENCODE
from bench.load import h2load_grpc, h2load_rest
from bench.mesh import UNREACHABLE, Mesh, echo
from bench.report import Row, ceiling, in_turn, ratio
from geomesh.limits.v1 import limits_pb2
from geomesh.spatial_index.v1 import spatial_index_pb2

METHOD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
CALLS_PER_SECOND = 1_000
LIMITED = {
    "GEOMESH_EDGE_PORT": "21085",
    "GEOMESH_EDGE_ADMIN_PORT": "21086",
    "GEOMESH_EDGE_LIMITS": "true",
    # Counted like everyone, and never refused.
    "GEOMESH_EDGE_ADDRESS_CALLS_PER_SECOND": "1000000",
    "GEOMESH_EDGE_SUBJECT_CALLS_PER_SECOND": "1000000",
}
FACTS = {"kind": "call", "masked_remote_address": "127.0.0.1/32", "tenant": "t", "subject": "s", "plan": "enterprise"}


def rows(mesh: Mesh) -> Iterator[Row]:
    """REST with the token check and both limits against REST without, and the hop to the limits service alone."""
    with _limited_edge(mesh) as url:
        answer = httpx.get(url + QUERY, headers=mesh.metadata)
        assert answer.headers["x-ratelimit-limit"] == UNREACHABLE, answer.headers

        def rate(edge: str) -> float:
            return h2load_rest(edge + QUERY, seconds=SECONDS, headers=mesh.metadata).per_second

        limited, free = in_turn(lambda: rate(url), lambda: rate(mesh.stack.edge_url))
    yield ratio(
        "EncodeLocation as REST with token check, local and global limits / without", limited, free, "req/s", 0.60
    )
    with echo(mesh) as bare:
        yield _hop(f"127.0.0.1:{mesh.stack.ports.counting(0)}", bare)


def _hop(address: str, bare: str) -> Row:
    """Asks as many callers do, none of whom waits for another; beside it stands what the bare echo needs here and now."""
    request = limits_pb2.RateLimitRequest(domain="geomesh")
    entries = request.descriptors.add().entries
    for name, value in FACTS.items():
        entries.add(key=name, value=value)
    point = spatial_index_pb2.EncodeLocationRequest(lat=LAT, lng=LNG, resolution=[9])

    def p99_ms(at: str, method: str, message: Message) -> float:
        return h2load_grpc(at, method, message, seconds=4, per_second=CALLS_PER_SECOND).p99_ms

    hop, least = in_turn(lambda: p99_ms(address, METHOD, request), lambda: p99_ms(bare, ENCODE, point))
    return ceiling(
        f"rate-limit hop at {CALLS_PER_SECOND:,} calls/s, p99; beside it that of the bare echo", hop, "ms", 3.0, least
    )


@contextmanager
def _limited_edge(mesh: Mesh) -> Iterator[str]:
    """Starts a second Envoy before the same services, with limits, and yields its URL."""
    stack = mesh.stack
    configuration = stack.run / "envoy-with-limits" / "envoy.yaml"
    configuration.parent.mkdir(exist_ok=True)
    variables = os.environ | stack.edge_environment() | LIMITED
    subprocess.run([sys.executable, "-m", "gateway.render", "--out", str(configuration)], env=variables, check=True)
    edge = stack.envoy()
    command = [str(configuration) if part == str(stack.envoy_configuration) else part for part in edge.command]
    url = f"http://127.0.0.1:{LIMITED['GEOMESH_EDGE_PORT']}"
    with mesh.beside(replace(edge, name="envoy-with-limits", command=command)):
        _wait_until_counting(url, mesh)
        yield url


def _wait_until_counting(url: str, mesh: Mesh) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            if "x-ratelimit-limit" in httpx.get(url + QUERY, headers=mesh.metadata).headers:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} does not count")
