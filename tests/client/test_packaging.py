"""What a user installs is whole, brings nothing of a server, and is typed."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from geomesh_local.stack import CHECKOUT
from tests.client.installing import build_wheels, install, installed

STUBS = CHECKOUT / "runtime" / "geomesh"
GENCODE = re.compile(r"GRPC_GENERATED_VERSION = '([\d.]+)'|Domain\.PUBLIC,\s+(\d+),\s+(\d+),\s+(\d+),")
USER = """
import asyncio
from geomesh.geocoder.v1.geocoder_pb2 import GeocodeRequest
from geomesh_client import ApiKey, Client, NotFound

async def main() -> str:
    async with Client("https://geomesh.example", ApiKey("key")) as mesh:
        reply = await mesh.geocoder.Geocode(GeocodeRequest(q="Portland"), timeout=3)
        reveal_type(reply)
        reveal_type(mesh.account.EnrolTotp)
        return reply.results[0].place.name
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def python(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("user"), wheels)


def test_the_wheels_hold_the_client_and_every_stub(wheels: list[Path]) -> None:
    names = {name for wheel in wheels for name in zipfile.ZipFile(wheel).namelist()}
    stubs = {str(path.relative_to(CHECKOUT / "runtime")) for path in STUBS.rglob("*.py*")}
    assert {name for name in stubs if "__pycache__" not in name} <= names
    assert {"geomesh_client/client.py", "geomesh_client/py.typed", "geomesh/py.typed"} <= names
    assert not [name for name in names if name.startswith("meshkit")]


def test_a_fresh_virtualenv_has_what_is_declared_and_nothing_else(python: Path) -> None:
    needed = {"googleapis-common-protos", "grpcio", "protobuf", "typing-extensions"}
    assert installed(python) == {"geomesh-client", "geomesh-stubs"} | needed


def test_every_module_works_there(python: Path) -> None:
    code = (
        "import importlib, pkgutil, geomesh, geomesh_client\n"
        "for package in (geomesh, geomesh_client):\n"
        "    for each in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(each.name)\n"
        "print(*(name for name in geomesh_client.__all__ if not hasattr(geomesh_client, name)), 'whole')"
    )
    ran = subprocess.run([python, "-I", "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("whole\n", "")


def test_the_least_versions_that_are_declared_are_those_that_the_stubs_ask_for(wheels: list[Path]) -> None:
    least: dict[str, tuple[int, ...]] = {"grpcio": (), "protobuf": ()}
    for stub in STUBS.rglob("*_pb2*.py"):
        for grpc, *protobuf in GENCODE.findall(stub.read_text()):
            name, parts = ("grpcio", grpc.split(".")) if grpc else ("protobuf", protobuf)
            least[name] = max(least[name], tuple(map(int, parts)))
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as opened:
            metadata = next(name for name in opened.namelist() if name.endswith("/METADATA"))
            declared = opened.read(metadata).decode()
        for name, version in least.items():
            assert f"Requires-Dist: {name}>={'.'.join(map(str, version))}\n" in declared


def test_a_type_checker_knows_what_a_call_takes_and_returns(
    wheels: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("typed")
    python = install(folder / "venv", wheels, extra="types")
    (folder / "user.py").write_text(USER)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--python-executable={python}", "user.py"]
    ran = subprocess.run(mypy, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert 'Revealed type is "geomesh.geocoder.v1.geocoder_pb2.GeocodeResponse"' in ran.stdout
    assert "account_pb2.EnrolTotpRequest, geomesh.auth.v1.account_pb2.EnrolTotpResponse" in ran.stdout
