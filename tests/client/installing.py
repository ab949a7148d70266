"""The client as a user gets it: wheels in a virtualenv with what they declare, and with nothing of this checkout."""

import subprocess
import sys
from pathlib import Path

from geomesh_local.stack import CHECKOUT

PROJECTS = ("runtime/stubs", "clients/python")
_UV = str(Path(sys.executable).with_name("uv"))


def build_wheels(folder: Path) -> list[Path]:
    """Builds the wheels of the client and of the stubs, in this order."""
    for project in PROJECTS:
        command = [_UV, "build", "--quiet", "--offline", "--wheel", "--no-build-isolation", "-o", str(folder), project]
        subprocess.run(command, cwd=CHECKOUT, check=True)
    return sorted(folder.glob("*.whl"))


def install(folder: Path, wheels: list[Path], *, extra: str = "") -> Path:
    """Makes a virtualenv with the wheels and what they need, and returns its interpreter.

    The versions are those of the lock, which the bootstrap has fetched, so that no index is asked.
    """
    client, stubs = wheels
    subprocess.run([_UV, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    lock = str(CHECKOUT / "requirements.lock")
    command = [_UV, "pip", "install", "--quiet", "--offline", "--python", str(python), "--constraints", lock]
    subprocess.run([*command, str(stubs), f"{client}{f'[{extra}]' if extra else ''}"], check=True)
    return python


def installed(python: Path) -> set[str]:
    """Returns the names of the distributions in a virtualenv."""
    command = [_UV, "pip", "freeze", "--quiet", "--python", str(python)]
    frozen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.partition("==")[0].partition(" @ ")[0] for line in frozen.splitlines()}
