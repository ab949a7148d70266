"""What telling callers apart and counting them costs."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from google.protobuf import descriptor_pb2

from bench.edge import METHOD as ENCODE
from bench.edge import QUERY, REQUEST, SECONDS
from bench.load import ghz, h2load_rest
from bench.mesh import UNREACHABLE, Mesh, echo
from bench.report import Row, ceiling, in_turn, ratio
from geomesh.limits.v1 import limits_pb2

SERVICE, METHOD = "envoy.service.ratelimit.v3.RateLimitService", "ShouldRateLimit"
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
    with tempfile.TemporaryDirectory() as folder, echo() as bare:
        yield _hop(mesh, Path(folder) / "limits.binpb", bare)


def _hop(mesh: Mesh, protoset: Path, bare: str) -> Row:
    """Asks over one connection, as each worker of Envoy does; beside it stands what the bare echo needs here and now."""
    protoset.write_bytes(_protocol())
    request = {"domain": "geomesh", "descriptors": [{"entries": [{"key": k, "value": v} for k, v in FACTS.items()]}]}
    address = f"127.0.0.1:{mesh.stack.ports.counting(0)}"

    def p99_ms(address: str, call: str, message: dict[str, Any], protoset: Path) -> float:
        return ghz(
            address,
            call,
            message,
            protoset=protoset,
            seconds=4,
            in_flight=8,
            connections=1,
            per_second=CALLS_PER_SECOND,
        ).p99_ms

    hop, least = in_turn(
        lambda: p99_ms(address, f"{SERVICE}.{METHOD}", request, protoset),
        lambda: p99_ms(bare, ENCODE, REQUEST, mesh.protoset),
    )
    return ceiling(
        f"rate-limit hop at {CALLS_PER_SECOND:,} calls/s, p99; beside it that of the bare echo", hop, "ms", 3.0, least
    )


def _protocol() -> bytes:
    """Returns the descriptor set of Envoy's method with our messages, for ghz."""
    messages, service = descriptor_pb2.FileDescriptorProto(), descriptor_pb2.FileDescriptorProto()
    limits_pb2.DESCRIPTOR.CopyToProto(messages)
    package, _, name = SERVICE.rpartition(".")
    service.name, service.package, service.syntax = "rls.proto", package, "proto3"
    service.dependency.append(messages.name)
    method = service.service.add(name=name).method.add(name=METHOD)
    method.input_type, method.output_type = (f".geomesh.limits.v1.RateLimit{each}" for each in ("Request", "Response"))
    return descriptor_pb2.FileDescriptorSet(file=[messages, service]).SerializeToString()


@contextmanager
def _limited_edge(mesh: Mesh) -> Iterator[str]:
    """Starts a second Envoy before the same services, with limits, and yields its URL."""
    variables = os.environ | mesh.stack.edge_environment() | LIMITED
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "envoy.yaml"
        render = [sys.executable, "-m", "gateway.render", "--out", str(configuration)]
        subprocess.run(render, env=variables, check=True)
        envoy = [str(Path(sys.executable).with_name("envoy")), "-c", str(configuration), "--disable-hot-restart"]
        with (Path(folder) / "envoy.log").open("w") as log:
            process = subprocess.Popen([*envoy, "--concurrency", "1"], stdout=log, stderr=log)
        url = f"http://127.0.0.1:{LIMITED['GEOMESH_EDGE_PORT']}"
        try:
            _wait_until_counting(url, mesh)
            yield url
        finally:
            process.terminate()
            process.wait()


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
