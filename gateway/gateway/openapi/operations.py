"""One operation for each way to call an RPC over REST."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from gateway.contract import Rest, reads, rest_of
from gateway.openapi import errors
from gateway.openapi.rules import Schema
from gateway.openapi.schemas import Schemas, is_required
from geomesh.options.v1 import options_pb2
from meshkit.policy import method_of

BEARER = "bearer"
SESSION = "session"
_BODY_LESS = {"GET", "DELETE"}
_VARIABLE = re.compile(r"\{([^}=]+)(?:=[^}]*)?\}")
_HTTP_BODY = "google.api.HttpBody"


@dataclass(frozen=True, slots=True)
class Operations:
    """Makes the operations of RPCs.

    Attributes:
        schemas: The schemas that they refer to.
        failures: Every reason that an error may have.
    """

    schemas: Schemas
    failures: Mapping[str, errors.Failure] = field(default_factory=dict)

    def of(self, rpc: MethodDescriptor) -> Iterator[tuple[str, str, Schema]]:
        """Yields path, HTTP method in lower case, and operation of each way to call `rpc`."""
        for number, rest in enumerate(rest_of(rpc)):
            yield _VARIABLE.sub(r"{\1}", rest.template), rest.verb.lower(), self._operation(rpc, rest, number)

    def _operation(self, rpc: MethodDescriptor, rest: Rest, number: int) -> Schema:
        variables = _VARIABLE.findall(rest.template)
        comment = self.schemas.described(rpc.full_name)
        permission = method_of(rpc).permission
        has_body = rest.verb not in _BODY_LESS and bool(rest.body)
        name = rpc.name[0].lower() + rpc.name[1:]
        operation: Schema = {
            "operationId": name if number == 0 else f"{name}By{rest.verb.capitalize()}",
            "summary": _title(rpc.name),
            "description": comment,
            "tags": [rpc.containing_service.name],
            "parameters": [
                *(self._path_parameter(rpc.input_type, variable) for variable in variables),
                *([] if has_body else self._query_parameters(rpc.input_type, variables)),
            ],
            "responses": {
                "200": self._reply(rpc),
                **errors.replies(
                    errors.expected(
                        permission,
                        comment,
                        [each.name for each in rpc.input_type.fields],
                        has_body=has_body,
                        in_path=bool(variables),
                    ),
                    self.failures,
                ),
            },
            "security": _security(permission, reads=reads(rpc)),
            "x-geomesh-rpc": f"{rpc.containing_service.full_name}/{rpc.name}",
            "x-geomesh-repeatable": method_of(rpc).idempotent,
        }
        if operation["parameters"]:
            operation["responses"]["431"] = errors.too_long(self.failures)
        if has_body:
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": self._body(rpc, rest)}},
            }
        return operation

    def _body(self, rpc: MethodDescriptor, rest: Rest) -> Schema:
        if rest.body == "*":
            return self.schemas.message(rpc.input_type)
        return self.schemas.value(rpc.input_type.fields_by_name[rest.body])

    def _reply(self, rpc: MethodDescriptor) -> Schema:
        headers = {"x-request-id": {"$ref": "#/components/headers/RequestId"}, **errors.RATE_LIMIT_HEADERS}
        description = self.schemas.described(rpc.output_type.full_name) or "Done."
        if rpc.output_type.full_name == _HTTP_BODY:
            media_types = rpc.GetOptions().Extensions[options_pb2.media_types]
            if not media_types:
                raise ValueError(f"{rpc.full_name} returns an HttpBody and does not say of which media type")
            content: Schema = {each: {"schema": {}} for each in media_types}
            return {"description": "The content.", "headers": headers, "content": content}
        schema = self.schemas.message(rpc.output_type)
        return {"description": description, "headers": headers, "content": {"application/json": {"schema": schema}}}

    def _path_parameter(self, message: Descriptor, variable: str) -> Schema:
        schema = self.schemas.value(message.fields_by_name[variable], as_text=True)
        if schema.get("type") == "string":
            schema["minLength"] = max(1, schema.get("minLength", 0))
        return _parameter(variable, "path", schema, required=True)

    def _query_parameters(self, message: Descriptor, taken: list[str], *, within: str = "") -> Iterator[Schema]:
        for each in message.fields:
            name = f"{within}{each.name}"
            if name in taken:
                continue
            held = each.message_type
            if held is not None and held.full_name in self.schemas.names:
                yield from self._query_parameters(held, taken, within=f"{name}.")
            else:
                schema = self.schemas.value(each, as_text=True)
                yield _parameter(name, "query", schema, required=not within and is_required(each))


def _parameter(name: str, place: str, schema: Schema, *, required: bool) -> Schema:
    schema.pop("writeOnly", None)
    description = schema.pop("description", "")
    parameter: Schema = {"name": name, "in": place, "description": description, "schema": schema}
    if examples := schema.pop("examples", None):
        parameter["example"] = examples[0]  # which the page fills in where a call is tried
    if required:
        parameter["required"] = True
    if schema.get("type") == "array":
        parameter |= {"style": "form", "explode": True}
    return parameter


def _security(permission: int, *, reads: bool) -> list[dict[str, list[Any]]]:
    """Returns what a caller may prove themselves with; the session's cookie counts on what changes nothing alone."""
    if permission == options_pb2.PERMISSION_ANYONE:
        return []
    open_to_all = permission == options_pb2.PERMISSION_READ_PUBLIC_DATA
    needed = [] if open_to_all else [permission_name(permission)]
    schemes = (BEARER, SESSION) if reads else (BEARER,)
    return [*([{}] if open_to_all else []), *({scheme: needed} for scheme in schemes)]


def permission_name(permission: int) -> str:
    """Returns a permission as tokens and people name it, e.g. ``read:own_data``."""
    name: str = options_pb2.Permission.Name(permission)  # type: ignore[arg-type]  # a number is what a descriptor has
    return name.removeprefix("PERMISSION_").lower().replace("_", ":", 1)


def _title(name: str) -> str:
    words = re.findall(r"[A-Z][a-z0-9]*|[A-Z]+(?![a-z])", name)
    return " ".join([words[0], *(word.lower() for word in words[1:])])
