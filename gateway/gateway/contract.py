"""What the edge must know of the API, read from the generated stubs. There is no other list of services or routes."""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.rpc import error_details_pb2, status_pb2

from gateway.limits import plans
from geomesh.options.v1 import options_pb2
from meshkit.policy import Method, method_of

OF_EVERY_SERVICE = frozenset({"geomesh.health.v1.HealthService"})
"""Services that every process serves under the same name, so that the edge could not tell whom a call is for."""

_BATCH = re.compile(r":(\w+B|b)atch$")

_DETAILS = (error_details_pb2.DESCRIPTOR, status_pb2.DESCRIPTOR)
"""Files of the messages in error details: without them the transcoder replies to an error with an empty body."""


@dataclass(frozen=True, slots=True)
class Rest:
    """One way to call an RPC over REST.

    Attributes:
        verb: The HTTP method, e.g. ``GET``.
        template: The path as the proto gives it, e.g. ``/v1/cells/{cell}:disk``.
        body: The field that the body is, ``*`` for the whole request, empty for none.
    """

    verb: str
    template: str
    body: str = ""

    @property
    def pattern(self) -> str:
        """An RE2 expression of the paths, with or without a query, that the template covers.

        A variable's value with a colon is left out, because what follows it may be the verb of another template.
        """
        literals = re.split(r"\{[^}]*\}", self.template)
        return "[^/?:]+".join(map(re.escape, literals)) + r"(?:\?.*)?"


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC that the edge offers.

    Attributes:
        path: ``/package.Service/Method``.
        owner: The name of the service that answers it, which is also its cluster's, e.g. ``spatial-index``.
        repeatable: Whether a call that may have been carried out can be sent again.
        streaming: Whether either side sends many messages.
        rest: How to call it over REST; empty for RPCs that only speak gRPC.
        kind: What it is counted as: `call`, `stream`, `batch`, `sign_in`; empty for what is not counted.
        reads: Whether it changes nothing.
    """

    path: str
    owner: str
    repeatable: bool
    streaming: bool
    rest: tuple[Rest, ...]
    kind: str
    reads: bool


@dataclass(frozen=True, slots=True)
class Contract:
    """The API.

    Attributes:
        files: Every proto file of the API.
        rpcs: Every RPC that the edge offers.
    """

    files: tuple[FileDescriptor, ...]
    rpcs: tuple[Rpc, ...]

    @property
    def owners(self) -> list[str]:
        """The names of the services, sorted."""
        return sorted({rpc.owner for rpc in self.rpcs})

    @property
    def services(self) -> dict[str, str]:
        """The full names of the gRPC services, each with its owner."""
        return {rpc.path.split("/")[1]: rpc.owner for rpc in self.rpcs}

    @property
    def transcoded_services(self) -> list[str]:
        """The full names of the gRPC services that have at least one REST route, sorted."""
        return sorted({rpc.path.split("/")[1] for rpc in self.rpcs if rpc.rest})

    def verbs(self) -> dict[str, list[str]]:
        """Returns for each set of verbs (``GET, POST``) the patterns of the paths that take exactly these."""
        by_path: dict[str, set[str]] = {}
        for rest in (rest for rpc in self.rpcs for rest in rpc.rest):
            by_path.setdefault(rest.pattern, set()).add(rest.verb)
        groups: dict[str, list[str]] = {}
        for pattern, verbs in sorted(by_path.items()):
            groups.setdefault(", ".join(sorted(verbs)), []).append(pattern)
        return groups

    def descriptor_set(self) -> bytes:
        """Returns a serialized FileDescriptorSet of the files, of what they import, and of error details."""
        descriptors = descriptor_pb2.FileDescriptorSet()
        for file in _with_imports([*self.files, *_DETAILS]):
            file.CopyToProto(descriptors.file.add())
        return descriptors.SerializeToString(deterministic=True)


def load(package: str = "geomesh") -> Contract:
    """Imports every stub below `package` and returns what they declare."""
    return contract_of(_files(package))


def contract_of(files: Iterable[FileDescriptor]) -> Contract:
    """Returns what the given proto files declare."""
    files = tuple(sorted(files, key=lambda file: file.name))
    rpcs = (
        _rpc(method)
        for file in files
        for service in file.services_by_name.values()
        if service.full_name not in OF_EVERY_SERVICE
        for method in service.methods
    )
    return Contract(files=files, rpcs=tuple(sorted(rpcs, key=lambda rpc: rpc.path)))


def _files(package: str) -> Iterator[FileDescriptor]:
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, f"{package}."):
        if module.name.endswith("_pb2"):
            yield importlib.import_module(module.name).DESCRIPTOR


def _rpc(descriptor: MethodDescriptor) -> Rpc:
    method = method_of(descriptor)
    rest = tuple(rest_of(descriptor))
    return Rpc(
        path=method.path,
        owner=descriptor.containing_service.file.package.split(".")[1].replace("_", "-"),
        repeatable=method.idempotent,
        streaming=method.request_streaming or method.response_streaming,
        rest=rest,
        kind=_kind(method, rest, reads=reads(descriptor)),
        reads=reads(descriptor),
    )


def reads(descriptor: MethodDescriptor) -> bool:
    """Tells whether an RPC changes nothing."""
    declared: int = descriptor.GetOptions().idempotency_level
    return declared == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS


def _kind(method: Method, rest: tuple[Rest, ...], *, reads: bool) -> str:
    """Returns what the limits count an RPC as, which its declaration tells.

    What anyone may read without a token is what the mesh says of itself: its health, keys and documents. What anyone may
    do without one is signing in. A batch has a verb that says so, such as `/v1/geocode:batch`.
    """
    if method.permission == options_pb2.PERMISSION_ANYONE:
        return "" if reads else plans.SIGN_IN
    if method.request_streaming or method.response_streaming:
        return plans.STREAM
    return plans.BATCH if any(_BATCH.search(each.template) for each in rest) else plans.CALL


def rest_of(descriptor: MethodDescriptor) -> Iterator[Rest]:
    """Yields the ways to call an RPC over REST, as its proto declares them."""
    return _rest(descriptor.GetOptions().Extensions[annotations_pb2.http])


def _rest(rule: http_pb2.HttpRule) -> Iterator[Rest]:
    verb = rule.WhichOneof("pattern")
    if verb == "custom":
        yield Rest(rule.custom.kind, rule.custom.path, rule.body)
    elif verb is not None:
        yield Rest(verb.upper(), getattr(rule, verb), rule.body)
    for further in rule.additional_bindings:
        yield from _rest(further)


def _with_imports(files: Iterable[FileDescriptor]) -> list[FileDescriptor]:
    """Returns the files, each after those that it imports, as a descriptor set wants them."""
    found: dict[str, FileDescriptor] = {}

    def visit(file: FileDescriptor) -> None:
        if file.name not in found:
            for imported in file.dependencies:
                visit(imported)
            found[file.name] = file

    for file in files:
        visit(file)
    return list(found.values())
