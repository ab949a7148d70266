"""The transcripts of docs/auth.md, run in their order by sh through the edge."""

import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

from geomesh_local.stack import CHECKOUT
from tests.running_mesh import Mesh

DOCUMENT = CHECKOUT / "docs" / "auth.md"
FLOWS = {
    "signUp:complete",
    "users:invite",
    "auth/login",
    "totp:confirm",
    "totp:disable",
    "auth/sessions",
    "auth/refresh",
    "auth/logout",
    "password:reset",
    "password:change",
    "apiKeys",
    "client_credentials",
    "auth/introspect",
    "oauth2/token",
    ":suspend",
    "auditEvents?",
    "auditEvents:verify",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A command and what it shall write; `…` stands for anything within a line."""

    command: str
    expected: str

    def fits(self, written: str) -> bool:
        pattern = "[^\n]*".join(re.escape(part) for part in self.expected.split("…"))
        return re.fullmatch(pattern, written) is not None


def steps(text: str) -> list[Step]:
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [
        Step(command, "\n".join(lines).strip())
        for block in blocks
        for command, *lines in (part.splitlines() for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:])
    ]


def of_this_mesh(text: str, mesh: Mesh) -> str:
    """Returns the page as if it had been written for the mesh of the tests, and for addresses that nobody had before."""
    replaced = {
        "http://127.0.0.1:8080": mesh.base_url,
        ".run/": f"{mesh.stack.run}/",
        "else.example": f"{uuid.uuid4().hex[:8]}.example",
        "acme-air.example": f"{uuid.uuid4().hex[:8]}.example",
    }
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text


def carried_out(found: list[Step], mesh: Mesh) -> list[str]:
    """Returns what each command writes."""
    separator = uuid.uuid4().hex
    script = "".join(f"{step.command}\necho; echo {separator}\n" for step in found)
    trust = {"CURL_CA_BUNDLE": str(mesh.stack.certificate("ca"))} if mesh.stack.tls else {}
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | trust,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == "", done.stdout
    return [part.strip() for part in done.stdout.split(separator)[:-1]]


def test_the_transcripts_happen_as_they_are_written(mesh: Mesh) -> None:
    found = steps(of_this_mesh(DOCUMENT.read_text(), mesh))
    for step, answer in zip(found, carried_out(found, mesh), strict=True):
        assert step.fits(answer), f"$ {step.command}\n{answer}\ninstead of\n{step.expected}"


def test_the_transcripts_show_every_flow_with_its_answer() -> None:
    found = steps(DOCUMENT.read_text())
    shown = [step.command for step in found if step.expected]
    assert [flow for flow in FLOWS if not any(flow in command for command in shown)] == []
    assert len(shown) > 40
