"""Remembers with which ports a stack was started, for the commands and the tests that come after."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from geomesh_local.errors import StackError
from geomesh_local.ports import PortPlan
from geomesh_local.stack import Stack
from geomesh_local.supervisor import Supervisor

_FILE = "plan.json"
_MOST_REPLICAS = 10  # a service has ten ports


def asked_for(run: Path, environment: Mapping[str, str]) -> Stack:
    """Returns the stack that the caller's variables describe.

    Raises:
        StackError: if a variable is no number, or out of range, or neither 0 nor 1.
    """
    ports = PortPlan(
        base=_number(environment, "GEOMESH_PORT_BASE", 18_000, most=64_000),
        edge=_number(environment, "GEOMESH_EDGE_PORT", 8080, most=65_535),
        admin=_number(environment, "GEOMESH_EDGE_ADMIN_PORT", 9901, most=65_535),
    )
    replicas = _number(environment, "GEOMESH_REPLICAS", 1, most=_MOST_REPLICAS)
    tls = environment.get("GEOMESH_TLS") or "0"
    if tls not in {"0", "1"}:
        raise StackError(f"GEOMESH_TLS must be 1 for TLS or 0 for none, not {tls!r}")
    return Stack(run, ports, replicas, tls=tls == "1", environment=environment)


def remember(stack: Stack) -> None:
    """Writes down how the stack is started."""
    plan = {
        "ports": asdict(stack.ports),
        "replicas": stack.replicas,
        "durable": stack.durable,
        "tls": stack.tls,
        "certificates": str(stack.certificates),
    }
    (stack.run / _FILE).write_text(json.dumps(plan))


def running(run: Path) -> Stack | None:
    """Returns the stack that runs in the folder, as it was started, or None."""
    if not Supervisor(run).alive():
        return None
    try:
        plan = json.loads((run / _FILE).read_text())
        environment = dict(os.environ) | {"GEOMESH_CERTS_DIR": plan["certificates"]}
        return Stack(
            run,
            PortPlan(**plan["ports"]),
            plan["replicas"],
            durable=plan["durable"],
            tls=plan["tls"],
            environment=environment,
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _number(environment: Mapping[str, str], variable: str, default: int, most: int) -> int:
    text = environment.get(variable) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise StackError(f"{variable} must be a whole number from 1 to {most}, not {text!r}")
    return int(text)
