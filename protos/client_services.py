"""Writes the client's module of services from the stubs, so that it offers what the protos do and nothing else."""

import argparse
import importlib
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import ServiceDescriptor

import geomesh
from geomesh.health.v1 import health_pb2

OUT = Path(__file__).resolve().parents[1] / "clients" / "python" / "geomesh_client" / "services.py"
# Every process has it, and the edge could not tell whom a call is for.
INTERNAL = {health_pb2.DESCRIPTOR.package}

TEMPLATE = '''"""What a mesh offers, one attribute a service. Written by `make protos`; do not edit."""

from typing import TYPE_CHECKING, Final

import grpc

{imports}

if TYPE_CHECKING:
{types}

SERVICES: Final = (
{descriptors}
)
"""What the protos say of each."""


class Services:
    """The services of a mesh, each with a method for every RPC.

    Attributes:
{documented}
    """

    def _offer(self, channel: grpc.aio.Channel) -> None:
        """Makes the attributes, whose calls go over `channel`."""
{attributes}
'''


def main() -> None:
    """Writes the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="the module (default: in the package)")
    parser.parse_args().out.write_text(written())


def written() -> str:
    """Returns the module."""
    found = sorted((_attribute(each), each) for each in _services())
    modules: dict[str, set[str]] = defaultdict(set)
    for _, service in found:
        modules[service.file.package] |= {_module(service), f"{_module(service)}_grpc"}
    return TEMPLATE.format(
        imports="\n".join(
            f"from {package} import {', '.join(sorted(modules[package]))}" for package in sorted(modules)
        ),
        types="\n".join(
            f"    from {each.file.package}.{_module(each)}_grpc import {each.name}AsyncStub"
            for each in sorted(
                (each for _, each in found), key=lambda each: (each.file.package, _module(each), each.name)
            )
        ),
        descriptors="\n".join(f'    {_module(each)}.DESCRIPTOR.services_by_name["{each.name}"],' for _, each in found),
        documented="\n".join(f"        {name}: {each.full_name}." for name, each in found),
        attributes="\n".join(
            f"        self.{name}: {each.name}AsyncStub = {_module(each)}_grpc.{each.name}Stub(channel)"
            for name, each in found
        ),
    )


def _services() -> Iterator[ServiceDescriptor]:
    for module in pkgutil.walk_packages(geomesh.__path__, "geomesh."):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(module.name).DESCRIPTOR
            if file.package not in INTERNAL:
                yield from file.services_by_name.values()


def _attribute(service: ServiceDescriptor) -> str:
    """Returns the package's name for the service that the package is named after, and else the service's own."""
    package = service.file.package.split(".")[1]
    own = re.sub(r"(?<!^)(?=[A-Z])", "_", service.name.removesuffix("Service")).lower()
    return package if own.replace("_", "") == package.replace("_", "") else own


def _module(service: ServiceDescriptor) -> str:
    return Path(service.file.name).stem + "_pb2"


if __name__ == "__main__":
    main()
