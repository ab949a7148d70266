"""What must hold for every RPC that the protos declare, whoever wrote it."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

import geomesh
from geomesh.errors.v1 import errors_pb2
from meshkit.errors import Reason
from meshkit.policy import method_of


def every_rpc() -> Iterator[MethodDescriptor]:
    for module in pkgutil.walk_packages(geomesh.__path__, "geomesh."):
        if module.name.endswith("_pb2") and ".probe." not in module.name:
            for service in importlib.import_module(module.name).DESCRIPTOR.services_by_name.values():
                yield from service.methods


EVERY_RPC = list(every_rpc())


@pytest.mark.parametrize("rpc", EVERY_RPC, ids=lambda rpc: rpc.full_name)
def test_every_rpc_names_the_permission_it_requires(rpc: MethodDescriptor) -> None:
    assert method_of(rpc).permission


# The gateway asks each service for its health; outsiders ask the gateway, which answers for all.
INTERNAL = {"geomesh.health.v1.HealthService.GetHealth"}


@pytest.mark.parametrize(
    "rpc",
    [rpc for rpc in EVERY_RPC if not (rpc.client_streaming or rpc.server_streaming)],
    ids=lambda rpc: rpc.full_name,
)
def test_every_unary_rpc_has_a_rest_form(rpc: MethodDescriptor) -> None:
    assert rpc.GetOptions().HasExtension(annotations_pb2.http) is (rpc.full_name not in INTERNAL)


@pytest.mark.parametrize("rpc", EVERY_RPC, ids=lambda rpc: rpc.full_name)
def test_what_rest_reads_may_be_repeated(rpc: MethodDescriptor) -> None:
    http = rpc.GetOptions().Extensions[annotations_pb2.http]
    if http.WhichOneof("pattern") == "get":
        assert method_of(rpc).idempotent


def test_the_reasons_of_the_code_are_the_reasons_of_the_contract() -> None:
    declared = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.DESCRIPTOR.values_by_name}
    assert set(Reason) == declared - {"UNSPECIFIED"}
