"""The API reference as Markdown pages, one a service, for those who read the repository rather than /docs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from gateway.openapi.operations import permission_name
from meshkit.policy import method_of

Schema = dict[str, Any]

_NOTE = "Written by `make protos` from the protos; do not edit.\n"
_ANYONE = "anyone"


def pages(document: Schema, only_grpc: Sequence[MethodDescriptor], comments: Mapping[str, str]) -> dict[str, str]:
    """Returns the pages by file name.

    Args:
        document: The OpenAPI document.
        only_grpc: The RPCs that it leaves out.
        comments: What the protos say of everything, by full name.
    """
    operations: dict[str, list[tuple[str, str, Schema]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            operations[operation["tags"][0]].append((verb.upper(), path, operation))
    streams: dict[str, list[MethodDescriptor]] = {}
    for rpc in only_grpc:
        streams.setdefault(rpc.containing_service.name, []).append(rpc)
    described = {tag["name"]: tag["description"] for tag in document["tags"]}
    described |= {rpc.containing_service.name: comments[rpc.containing_service.full_name] for rpc in only_grpc}
    services = {
        f"{name}.md": "\n".join(
            _service(name, text, operations.get(name, []), streams.get(name, []), document, comments)
        )
        for name, text in sorted(described.items())
    }
    schemas = "\n".join(_schemas(document))
    return {"README.md": "\n".join(_index(described, operations, streams)), **services, "schemas.md": schemas}


def _index(
    described: Mapping[str, str],
    operations: Mapping[str, Sequence[tuple[str, str, Schema]]],
    streams: Mapping[str, Sequence[MethodDescriptor]],
) -> Iterator[str]:
    yield f"# API reference\n\n{_NOTE}"
    yield "A running edge shows the same at `/docs`, to try in a browser, and serves it to programs at `/openapi.json`."
    yield "The types that they speak are in [schemas.md](schemas.md).\n"
    for name, text in sorted(described.items()):
        yield f"## [{name}]({name}.md)\n\n{_first_sentence(text)}\n\n| | | |\n|---|---|---|"
        for verb, path, operation in operations.get(name, []):
            yield f"| `{verb} {path}` | [{operation['operationId']}]({name}.md#{_anchor(operation)}) | {_cell(_first_sentence(operation['description']))} |"
        for rpc in streams.get(name, []):
            yield f"| gRPC | [{rpc.name}]({name}.md#{rpc.name.lower()}) | |"
        yield ""


def _service(
    name: str,
    text: str,
    operations: Sequence[tuple[str, str, Schema]],
    streams: Sequence[MethodDescriptor],
    document: Schema,
    comments: Mapping[str, str],
) -> Iterator[str]:
    yield f"# {name}\n\n{_NOTE}\n{text}\n"
    for verb, path, operation in operations:
        yield from _operation(verb, path, operation, document)
    for rpc in streams:
        method = method_of(rpc)
        yield f"## {rpc.name}\n"
        yield f"gRPC only: `{method.path.removeprefix('/')}`, {_kind(rpc)}. Requires `{permission_name(method.permission)}`.\n"
        yield f"{comments.get(rpc.full_name, '')}\n"


def _operation(verb: str, path: str, operation: Schema, document: Schema) -> Iterator[str]:
    required = list(
        dict.fromkeys(scope for each in operation["security"] for scopes in each.values() for scope in scopes)
    )
    yield f"## {operation['operationId']}\n"
    yield f"`{verb} {path}` · gRPC `{operation['x-geomesh-rpc']}` · requires {_permission(operation, required)}\n"
    yield f"{operation['description']}\n"
    if operation["parameters"]:
        yield "| parameter | type | |\n|---|---|---|"
        for each in operation["parameters"]:
            needed = " **required**" if each.get("required") else ""
            yield f"| `{each['name']}`{' (path)' if each['in'] == 'path' else ''} | {_type(each['schema'])} |{needed} {_cell(each['description'])} |"
        yield ""
    if body := operation.get("requestBody"):
        schema = body["content"]["application/json"]["schema"]
        yield f"Body: {_type(schema)}\n"
    reply = operation["responses"]["200"]
    for media_type, content in reply["content"].items():
        yield f"Reply: {_type(content['schema']) if content['schema'] else f'`{media_type}`'}\n"
    yield "Errors: " + ", ".join(_errors(operation)) + "\n"
    del document


def _errors(operation: Schema) -> Iterator[str]:
    for status, reply in operation["responses"].items():
        reasons = [line.split("`")[1] for line in reply["description"].splitlines() if line.startswith("- `")]
        if status != "200":
            yield f"{status} ({', '.join(f'`{reason}`' for reason in reasons)})"


def _permission(operation: Schema, required: Sequence[str]) -> str:
    if required:
        return " and ".join(f"`{each}`" for each in required)
    return "no token" if not operation["security"] else "no token; one may be given"


def _schemas(document: Schema) -> Iterator[str]:
    yield f"# Types\n\n{_NOTE}"
    for name, schema in document["components"]["schemas"].items():
        yield f"## {name}\n\n{schema.get('description', '')}\n"
        if properties := schema.get("properties"):
            yield "| field | type | |\n|---|---|---|"
            needed = schema.get("required", [])
            for field, value in properties.items():
                mark = " **required**" if field in needed and not value.get("readOnly") else ""
                yield f"| `{field}` | {_type(value)} |{mark} {_cell(value.get('description', ''))} |"
            yield ""


def _type(schema: Schema) -> str:
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](schemas.md#{name.lower()})"
    if schema.get("type") == "array":
        bounds = _range(schema, "minItems", "maxItems", " items")
        return f"array of {_type(schema['items'])}{bounds}"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{each}`" for each in schema["enum"])
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_type(schema['additionalProperties'])}"
    name = schema.get("format") or schema.get("type", "any JSON")
    bounds = _range(schema, "minimum", "maximum") + _range(schema, "minLength", "maxLength", " characters")
    pattern = f" matching `{schema['pattern']}`" if "pattern" in schema and "format" not in schema else ""
    return _cell(f"{name}{bounds}{pattern}")


_WHOLE_RANGES = {-(2**31), 2**31 - 1, 2**32 - 1, -(2**63), 2**63 - 1, 2**64 - 1}


def _range(schema: Schema, lowest: str, highest: str, unit: str = "") -> str:
    """Returns the bounds in words, without those that the type alone has."""
    above = schema.get("exclusiveMinimum") if lowest == "minimum" else None
    below = schema.get("exclusiveMaximum") if highest == "maximum" else None
    low, high = schema.get(lowest), schema.get(highest)
    words = []
    if low is not None and low not in _WHOLE_RANGES and schema.get("format") != "float":
        words.append(f"≥ {low}")
    if above is not None:
        words.append(f"> {above}")
    if high is not None and high not in _WHOLE_RANGES and abs(high) < max(_WHOLE_RANGES):
        words.append(f"≤ {high}")
    if below is not None:
        words.append(f"< {below}")
    return f", {' and '.join(words)}{unit}" if words else ""


def _kind(rpc: MethodDescriptor) -> str:
    match rpc.client_streaming, rpc.server_streaming:
        case True, True:
            return "streams both ways"
        case True, False:
            return "a stream of requests"
        case False, True:
            return "a stream of replies"
        case _:
            return "one request, one reply"


def _anchor(operation: Schema) -> str:
    return str(operation["operationId"]).lower()


def _first_sentence(text: str) -> str:
    first = text.split("\n\n", 1)[0]
    return first.split(". ", 1)[0].rstrip(".") + "." if first else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
