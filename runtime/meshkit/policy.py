"""Reads from the protos what each RPC is and who may call it. There is no other list of either."""

import importlib
from dataclasses import dataclass

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from geomesh.options.v1 import options_pb2

_READS_ONLY = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
_IDEMPOTENT = descriptor_pb2.MethodOptions.IDEMPOTENT


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC as its proto declares it.

    Attributes:
        path: ``/package.Service/Method``, as it travels.
        service: ``package.Service``.
        name: The method's own name.
        permission: What the caller must hold.
        idempotent: Whether a call that may have been carried out can be repeated.
        request_streaming: Whether the caller sends many messages.
        response_streaming: Whether the caller gets many messages.
    """

    path: str
    service: str
    name: str
    permission: "options_pb2.Permission.ValueType"
    idempotent: bool
    request_streaming: bool
    response_streaming: bool


def method_of(descriptor: MethodDescriptor) -> Method:
    """Returns the RPC that `descriptor` describes.

    Raises:
        ValueError: It declares no permission, so nobody decided who may call it.
    """
    options = descriptor.GetOptions()
    service = descriptor.containing_service.full_name
    permission = options.Extensions[options_pb2.requires]
    if permission == options_pb2.PERMISSION_UNSPECIFIED:
        raise ValueError(f"{service}.{descriptor.name} does not say which permission it requires")
    return Method(
        path=f"/{service}/{descriptor.name}",
        service=service,
        name=descriptor.name,
        permission=permission,
        idempotent=options.idempotency_level in {_READS_ONLY, _IDEMPOTENT},
        request_streaming=descriptor.client_streaming,
        response_streaming=descriptor.server_streaming,
    )


def methods_of(service: ServiceDescriptor) -> dict[str, Method]:
    """Returns the RPCs of `service` by their names."""
    return {descriptor.name: method_of(descriptor) for descriptor in service.methods}


def service_of(servicer: object) -> ServiceDescriptor:
    """Returns the service that `servicer` implements, found by the generated class it inherits from.

    Raises:
        TypeError: It inherits from none, or leaves an RPC of the service unimplemented.
    """
    for base in type(servicer).__mro__:
        if base.__module__.endswith("_pb2_grpc") and base.__name__.endswith("Servicer"):
            file = importlib.import_module(base.__module__.removesuffix("_grpc")).DESCRIPTOR
            service: ServiceDescriptor = file.services_by_name[base.__name__.removesuffix("Servicer")]
            missing = [
                each.name for each in service.methods if getattr(type(servicer), each.name) is getattr(base, each.name)
            ]
            if missing:
                raise TypeError(f"{type(servicer).__name__} does not implement {', '.join(missing)}")
            return service
    raise TypeError(f"{type(servicer).__name__} implements no generated service")
