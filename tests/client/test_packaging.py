"""What a user installs is whole, and brings nothing of a server."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from geomesh_local.stack import CHECKOUT

PROJECTS = ("runtime/stubs", "clients/python")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    uv = str(Path(sys.executable).with_name("uv"))
    for project in PROJECTS:
        command = [uv, "build", "--quiet", "--offline", "--wheel", "--no-build-isolation", "-o", str(folder), project]
        subprocess.run(command, cwd=CHECKOUT, check=True)
    return sorted(folder.glob("*.whl"))


def test_the_wheels_hold_the_client_and_every_stub(wheels: list[Path]) -> None:
    names = {name for wheel in wheels for name in zipfile.ZipFile(wheel).namelist()}
    stubs = {str(path.relative_to(CHECKOUT / "runtime")) for path in (CHECKOUT / "runtime" / "geomesh").rglob("*.py*")}
    assert {name for name in stubs if "__pycache__" not in name} <= names
    assert {"geomesh_client/client.py", "geomesh_client/py.typed", "geomesh/py.typed"} <= names
    assert not [name for name in names if name.startswith("meshkit")]


def test_the_client_works_without_anything_of_a_server(wheels: list[Path]) -> None:
    places = [*map(str, wheels), sysconfig.get_path("purelib")]
    # -S leaves out the links by which a checkout is installed, so only the wheels are there.
    code = (
        f"import sys; sys.path[:0] = {places!r}\nimport geomesh_client\nprint('meshkit' in sys.modules)\nimport meshkit"
    )
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "False\n", ran.stderr
    assert "No module named 'meshkit'" in ran.stderr
