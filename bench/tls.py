"""What TLS costs: the same calls on two meshes that run side by side, one of them with TLS on both sides of the edge."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from bench.edge import QUERY, SECONDS
from bench.load import h2load_rest
from bench.mesh import RUN, Mesh
from bench.report import Row, in_turn, ratio
from geomesh_local.ports import PortPlan
from geomesh_local.stack import Stack
from geomesh_local.up import up


def rest(mesh: Mesh) -> Iterator[Row]:
    """EncodeLocation as REST on connections that stay open."""
    with _with_tls(mesh) as secured:

        def rate(which: Mesh) -> float:
            return h2load_rest(which.stack.edge_url + QUERY, seconds=SECONDS, headers=which.metadata).per_second

        ours, plain = in_turn(lambda: rate(secured), lambda: rate(mesh))
    yield ratio(
        "EncodeLocation as REST, TLS to the edge and mutual TLS behind it / without", ours, plain, "req/s", 0.70
    )


@contextmanager
def _with_tls(mesh: Mesh) -> Iterator[Mesh]:
    """Starts a mesh like the given one, but with TLS and without the data, which these calls do not need."""
    run = RUN.with_name("bench-tls")
    stack = Stack(run, PortPlan(22_000, 22_080, 22_081), tls=True, environment=mesh.stack.environment)
    run.mkdir(parents=True, exist_ok=True)
    asyncio.run(up(stack, data=False))
    try:
        yield Mesh(stack)
    finally:
        stack.supervisor.shut_down()
