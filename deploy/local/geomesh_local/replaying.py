"""`make replay`: sends the sample of AirNow to the running stack as if it came in now, as a tenant of its own."""

import os
import subprocess
import sys
import uuid

from rich.console import Console

from geomesh_local.errors import StackError
from geomesh_local.stack import Stack

TENANT = "replay"


def replay(stack: Stack) -> None:
    """Makes an account of the tenant `replay`, says how to watch, and sends.

    Raises:
        StackError: if it cannot be made, or sending fails.
    """
    if stack.tls:
        raise StackError("the replay speaks to an edge without TLS; start the stack without GEOMESH_TLS")
    email = f"replay-{uuid.uuid4().hex[:8]}@localhost"
    create = ["-m", "auth.setup", "create-user", "--email", email, "--role", "user", "--tenant", TENANT]
    made = subprocess.run(  # noqa: S603 -- our own
        [sys.executable, *create], env=stack.setup_environment(), capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise StackError(f"no account could be made for the replay: {made.stderr.strip()}")
    password = made.stdout.split()[-1]
    reader = 'import json, sys; print(json.load(sys.stdin)["accessToken"])'
    Console(highlight=False, soft_wrap=True).print(
        f"Watch it from another terminal:\n"
        f"  TOKEN=$(curl -s {stack.edge_url}/v1/auth/login -H 'content-type: application/json' \\\n"
        f"""    -d '{{"email": "{email}", "password": "{password}"}}' | python3 -c '{reader}')\n"""
        f"  curl -N -H \"authorization: Bearer $TOKEN\" '{stack.edge_url}/v1/airquality:watch?lat=37.77&lng=-122.42'\n",
        markup=False,
    )
    variables = dict(os.environ) | {"GEOMESH_REPLAY_EMAIL": email, "GEOMESH_REPLAY_PASSWORD": password}
    speed = os.environ.get("SPEED") or "60"
    arguments = ["-m", "airquality.replay", f"--target=127.0.0.1:{stack.ports.edge}", f"--speed={speed}"]
    if hours := os.environ.get("HOURS"):
        arguments.append(f"--hours={hours}")
    if subprocess.run([sys.executable, *arguments], env=variables, check=False).returncode != 0:  # noqa: S603 -- our own
        raise StackError("the replay ended early")
