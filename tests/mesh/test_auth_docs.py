"""The transcripts of docs/auth-tokens.md, run in their order through the edge."""

import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass

from geomesh_local.stack import CHECKOUT
from tests.running_mesh import Mesh

DOCUMENT = CHECKOUT / "docs" / "auth-tokens.md"
WRITTEN_FOR = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Step:
    """A command and what it shall write."""

    command: str
    expected: str

    def fits(self, written: str) -> bool:
        pattern = ".*".join(re.escape(part) for part in self.expected.split("…"))
        return re.fullmatch(pattern, written, re.DOTALL) is not None


def steps() -> list[Step]:
    blocks = re.findall(r"```console\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return [
        Step(command, "\n".join(lines).strip())
        for block in blocks
        for command, *lines in (part.splitlines() for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:])
    ]


def test_the_transcripts_happen_as_they_are_written(mesh: Mesh) -> None:
    email, password = f"admin-{uuid.uuid4().hex[:8]}@docs.example", "correct horse battery staple"
    create = [sys.executable, "-m", "auth.setup", "create-user", "--email", email, "--role", "tenant_admin"]
    subprocess.run(
        [*create, "--tenant", "docs", "--password-stdin"],
        env=mesh.stack.setup_environment() | {"PATH": os.environ["PATH"]},
        input=password,
        text=True,
        check=True,
    )
    separator = uuid.uuid4().hex
    found = steps()
    script = "".join(f"{step.command}\necho; echo {separator}\n" for step in found).replace(WRITTEN_FOR, mesh.base_url)
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        env={"PATH": os.environ["PATH"], "EMAIL": email, "PASSWORD": password},
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    )
    written = [part.strip() for part in done.stdout.split(separator)]
    for step, answer in zip(found, written[:-1], strict=True):
        assert step.fits(answer), f"$ {step.command}\n{answer}\ninstead of\n{step.expected}"
    assert len(found) > 20
