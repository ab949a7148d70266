"""Ports for what a test starts."""

import itertools
import os

from geomesh_local.ports import is_free

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# Below those that the system gives to clients and that stacks plan with, so that one is free again after a stop; and each
# worker has its own, since what is free when it is chosen may not be when it is listened on.
_PORTS = itertools.cycle(range(10_000 + _WORKER * 1_000, 11_000 + _WORKER * 1_000))


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody listens on now and that no other test of this session is given."""
    return list(itertools.islice(filter(is_free, _PORTS), count))


def free_port() -> int:
    """Returns one of them."""
    return free_ports(1)[0]
