"""Load from two well-known generators, and what they saw: ghz for gRPC, h2load where REST and gRPC are compared."""

import json
import re
import shutil
import statistics
import struct
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

IN_FLIGHT = 32
"""Calls under way at one time."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a generator saw.

    Attributes:
        per_second: Replies a second.
        p50_ms: Median time to a reply in milliseconds; NaN where the generator does not say.
        p99_ms: 99th percentile, likewise.
    """

    per_second: float
    p50_ms: float
    p99_ms: float


def ghz(
    address: str,
    method: str,
    data: dict[str, Any] | list[dict[str, Any]],
    *,
    protoset: Path,
    seconds: float,
    metadata: dict[str, str] | None = None,
    in_flight: int = IN_FLIGHT,
    connections: int = 4,
    per_second: int = 0,
) -> Load:
    """Calls an RPC for a while, as fast as it answers or `per_second`; a list of requests is gone through in turn.

    Raises:
        AssertionError: More than one call in a hundred ended with NOT_FOUND, or one with another status but OK.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(data, file)
        file.flush()
        command = [
            *(binary("ghz"), "--insecure", "--protoset", str(protoset), "--call", method, "--data-file", file.name),
            *("--concurrency", str(in_flight), "--connections", str(min(connections, in_flight))),
            *("--duration", f"{seconds}s", "--duration-stop", "wait", "--format", "json"),
            *("--rps", str(per_second)),
            *("--metadata", json.dumps(metadata or {}), address),
        ]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    report = json.loads(output)
    codes = report["statusCodeDistribution"]
    assert set(codes) <= {"OK", "NotFound"}, f"{method}: {codes} {report.get('errorDistribution')}"
    assert codes.get("NotFound", 0) <= sum(codes.values()) / 100, f"{method}: {codes}"
    at = {each["percentage"]: each["latency"] / 1e6 for each in report["latencyDistribution"]}
    return Load(report["rps"], at[50], at[99])


def h2load_rest(url: str, *, seconds: float, headers: dict[str, str] | None = None) -> Load:
    """Gets a URL over HTTP/1.1 for a while, as most REST clients do."""
    lasting = ["--duration", str(round(seconds)), "--clients", str(IN_FLIGHT)]
    return _h2load([url, "--h1", *lasting], headers or {})


def h2load_grpc(
    address: str,
    method: str,
    request: Message,
    *,
    seconds: float,
    headers: dict[str, str] | None = None,
    per_second: int = 0,
) -> Load:
    """Calls a unary RPC for a while, over HTTP/2 with the body that gRPC gives it.

    Args:
        address: Of the server.
        method: The path of the RPC.
        request: What is sent each time.
        seconds: For how long.
        headers: Sent with each.
        per_second: Calls in a second, a hundred clients', whose times are told; 0 for as many as are answered.
    """
    body = request.SerializeToString()
    with tempfile.NamedTemporaryFile() as file:
        file.write(struct.pack(">BI", 0, len(body)) + body)
        file.flush()
        # A deadline, as every client should send and ghz and Envoy do.
        grpc_headers = {"content-type": "application/grpc", "te": "trailers", "grpc-timeout": "20S"} | (headers or {})
        arguments = [f"http://{address}{method}", "--data", file.name]
        if not per_second:
            lasting = ["--duration", str(round(seconds)), "--clients", "4"]
            return _h2load([*arguments, *lasting, "--max-concurrent-streams", str(IN_FLIGHT // 4)], grpc_headers)
        with tempfile.NamedTemporaryFile("r") as log:
            # A client sends what is due every 10 ms at once: one alone would come in bursts. A hundred that begin a
            # millisecond after one another are as independent callers are.
            paced = ["--requests", str(round(per_second * seconds)), "--clients", "100", "--rps", str(per_second / 100)]
            begun = ["--rate", "1", "--rate-period", "1ms", "--log-file", log.name]
            found = _h2load([*arguments, *paced, *begun], grpc_headers)
            # When it began, the status, and the microseconds until its end.
            centiles = statistics.quantiles((int(line.split("\t")[2]) / 1000 for line in log), n=100)
        return replace(found, p50_ms=centiles[49], p99_ms=centiles[98])


def _h2load(arguments: list[str], headers: dict[str, str]) -> Load:
    named = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    output = subprocess.run([binary("h2load"), *named, *arguments], check=True, capture_output=True, text=True).stdout
    counts = re.search(r"requests: .* (\d+) succeeded, (\d+) failed", output)
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    rate = re.search(r"finished in .*, ([\d.]+) req/s", output)
    assert counts, output
    assert statuses, output
    assert rate, output
    assert counts[2] == "0", output
    assert statuses[3] == statuses[4] == "0", output
    return Load(float(rate[1]), float("nan"), float("nan"))


def binary(name: str) -> str:
    """Returns the path of a generator, or says how to get it."""
    found = shutil.which(name) or shutil.which(name, path=str(Path.home() / "go/bin"))
    assert found, f"{name} is not installed; `make bench` installs ghz with Go and h2load from nghttp2-client"
    return found
