"""What telling callers apart and counting them costs."""

import os
import re
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx

from bench.edge import QUERY, SECONDS
from bench.load import binary, h2load_rest
from bench.mesh import Mesh
from bench.report import Row, ceiling, in_turn, ratio
from geomesh.limits.v1 import limits_pb2 as pb
from geomesh_local.ports import PortPlan
from geomesh_local.stack import Stack
from geomesh_local.up import render_edge
import asyncio

METHOD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
RATE = 1_000
P99_MS = 3.0
GENEROUS = {
    "GEOMESH_EDGE_LIMITS": "true",
    "GEOMESH_EDGE_ADDRESS_CALLS_PER_SECOND": "1000000",
    "GEOMESH_EDGE_SUBJECT_CALLS_PER_SECOND": "1000000",
}
FACTS = {
    "kind": "call",
    "masked_remote_address": "127.0.0.1/32",
    "tenant": "public",
    "subject": "bench",
    "plan": "enterprise",
}


def rows(mesh: Mesh) -> Iterator[Row]:
    """REST with the token check and both limits against REST without, and the hop alone."""
    yield _hop(mesh)
    with _second_edge(mesh) as url:
        limited, free = in_turn(
            lambda: h2load_rest(url + QUERY, seconds=SECONDS, headers=mesh.metadata).per_second,
            lambda: h2load_rest(mesh.stack.edge_url + QUERY, seconds=SECONDS, headers=mesh.metadata).per_second,
        )
    yield ratio("EncodeLocation as REST with token check and limits / without", limited, free, "req/s", 0.60)
