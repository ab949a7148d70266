"""Where the time of a call goes while a service answers as many as it can."""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from bench import entities
from bench.edge import LAT, LNG, PATH
from bench.load import h2load_grpc
from bench.mesh import Mesh, echo
from geomesh.spatial_index.v1 import spatial_index_pb2 as pb

_SECONDS = 6
_RATE = 250
# The first that stands anywhere in a sample's stack owns it.
_OWNERS = (
    ("metrics", "prometheus_client/"),
    ("validation", "meshkit/glance.py"),
    ("validation", "meshkit/validation.py"),
    ("authentication and authorization", "meshkit/tokens.py"),
    ("the handler", "spatial_index/servicer.py"),
    ("the rest of the request path", "meshkit/gates.py"),
    ("the rest of the request path", "meshkit/request_path.py"),
    ("the rest of the request path", "meshkit/serve.py:_serialized"),
)
_REST = "gRPC and the event loop, which the bare echo has too"


def request_path(mesh: Mesh) -> str:
    """Returns in Markdown what a request costs beside the bare echo, and how py-spy's samples of the process fall."""
    ours = _listener(mesh.stack.ports.grpc("spatial-index", 0))
    cost = _cpu_microseconds(ours, mesh.address("spatial-index"), mesh.metadata)
    with echo(mesh) as address:
        bare = _cpu_microseconds(_listener(int(address.rpartition(":")[2])), address, mesh.metadata)
    with tempfile.NamedTemporaryFile() as samples, ThreadPoolExecutor(1) as pool:
        load = pool.submit(_load, mesh.address("spatial-index"), mesh.metadata, _SECONDS + 2)
        command = [
            *(str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(ours.pid), "--format", "raw"),
            *("--duration", str(_SECONDS), "--rate", str(_RATE), "--output", samples.name),
        ]
        subprocess.run(command, check=True, capture_output=True)
        load.result()
        table = _table(Path(samples.name).read_text().splitlines())
    return f"A request costs {cost:.0f} µs of CPU, one of the bare echo {bare:.0f} µs.\n\n{table}"


def find_nearby(mesh: Mesh) -> str:
    """Returns in words what a FindNearby costs the service, Postgres and the load generator."""
    entities.fill(mesh)
    service = [_listener(mesh.stack.ports.grpc("spatial-index", 0))]
    postmaster = _listener(mesh.stack.ports.postgres)
    entities.find_nearby(mesh, seconds=1)  # opens the connections, whose processes are then there to be counted
    postgres = [postmaster, *postmaster.children()]
    before, generator = [_seconds(service), _seconds(postgres)], os.times()
    answered = entities.find_nearby(mesh, seconds=_SECONDS) * _SECONDS
    after, ended = [_seconds(service), _seconds(postgres)], os.times()
    ours, theirs = ((late - early) / answered * 1e6 for early, late in zip(before, after, strict=True))
    load = (
        ended.children_user + ended.children_system - generator.children_user - generator.children_system
    ) / answered
    whole = ours + theirs + load * 1e6
    cores = os.cpu_count() or 1
    return (
        f"A call costs {whole:.0f} µs of CPU: {ours:.0f} µs the service, {theirs:.0f} µs Postgres and "
        f"{load * 1e6:.0f} µs the load generator. All of it on the {cores} cores at hand allows for {cores * 1e6 / whole:,.0f} a second."
    )


def _seconds(processes: Sequence[psutil.Process]) -> float:
    times = [each.cpu_times() for each in processes]
    return sum(each.user + each.system for each in times)


def _listener(port: int) -> psutil.Process:
    listening = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN)
    (pid,) = {each.pid for each in listening if each.laddr and each.laddr.port == port}
    return psutil.Process(pid)


def _cpu_microseconds(process: psutil.Process, address: str, headers: dict[str, str]) -> float:
    before = _seconds([process])
    answered = _load(address, headers, _SECONDS) * _SECONDS
    return (_seconds([process]) - before) / answered * 1e6


def _load(address: str, headers: dict[str, str], seconds: float) -> float:
    message = pb.EncodeLocationRequest(lat=LAT, lng=LNG, resolution=[9])
    return h2load_grpc(address, PATH, message, seconds=seconds, headers=headers).per_second


def _table(samples: list[str]) -> str:
    shares: Counter[str] = Counter()
    for line in samples:
        stack, _, count = line.rpartition(" ")
        if "meshkit/serve.py" in stack:  # the thread that answers, not gRPC's or the exporter's
            shares[_owner(stack)] += int(count)
    total = shares.total()
    rows = [f"| {owner} | {count / total:.0%} |" for owner, count in shares.most_common()]
    return "\n".join([f"| {total:,} samples of the answering thread | share |", "|---|---:|", *rows])


def _owner(stack: str) -> str:
    return next((owner for owner, mark in _OWNERS if mark in stack), _REST)
