"""Messages and enums of the protos as JSON Schema, in the form that protobuf's JSON mapping gives them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from buf.validate import validate_pb2
from gateway.openapi.rules import Schema, Target, apply, joined, message_rules, rules_of

_INT32 = {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}
_UINT32 = {"type": "integer", "format": "uint32", "minimum": 0, "maximum": 2**32 - 1}
_INT64 = {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"}
_UINT64 = {"type": "string", "format": "uint64", "pattern": "^[0-9]+$"}
_LARGEST_FLOAT = 3.4028234663852886e38
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {
        "type": "number",
        "format": "float",
        "minimum": -_LARGEST_FLOAT,
        "maximum": _LARGEST_FLOAT,
    },
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "examples": ["300s"]},
    "google.protobuf.Empty": {"type": "object", "maxProperties": 0},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Value": {},
    "google.protobuf.FieldMask": {"type": "string", "examples": ["name,location"]},
    "google.rpc.Status": {"$ref": "#/components/schemas/Error"},
}
"""Messages with a JSON form of their own."""
_EXAMPLE = re.compile(r"\bExamples?:((?:,? `[^`]+`)+)\.")
_READ: Mapping[str, Callable[[str], Any]] = {"string": str, "integer": int, "number": float}
_RANGE_64 = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}


@dataclass(slots=True)
class Schemas:
    """The schemas of all messages and enums that replies and requests hold.

    Attributes:
        comments: What the protos say of everything, by full name.
        names: The components' names, by the full names of messages and enums.
        requested: Full names of the messages that requests hold; the others only come in replies.
    """

    comments: Mapping[str, str]
    names: Mapping[str, str]
    requested: frozenset[str]
    components: dict[str, Schema] = field(default_factory=dict)

    def message(self, descriptor: Descriptor) -> Schema:
        """Returns the schema of a message's JSON, as a reference where it has a name of its own."""
        if (well_known := _WELL_KNOWN.get(descriptor.full_name)) is not None:
            return dict(well_known)
        name = self.names[descriptor.full_name]
        if name not in self.components:
            self.components[name] = {}  # a message may hold itself
            self.components[name] = self._object(descriptor)
        return {"$ref": f"#/components/schemas/{name}"}

    def value(self, descriptor: FieldDescriptor, *, as_text: bool = False) -> Schema:
        """Returns the schema of a field's value with its rules and its description.

        Args:
            descriptor: The field.
            as_text: Whether the value is written in a query or path, where all is text and 64-bit integers need no quotes.
        """
        schema = self._shape(descriptor, as_text=as_text)
        names = {each.number: each.name for each in descriptor.enum_type.values} if descriptor.enum_type else {}
        notes = apply(rules_of(descriptor.GetOptions()), Target(schema, names, as_text))
        behaviours = descriptor.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.OUTPUT_ONLY in behaviours:
            schema["readOnly"] = True
        if field_behavior_pb2.INPUT_ONLY in behaviours:
            schema["writeOnly"] = True
        if descriptor.GetOptions().debug_redact and schema.get("type") == "string":
            schema["format"] = "password"
        comment = self.comments.get(descriptor.full_name, "")
        if text := joined(comment, also=notes):
            schema["description"] = text
        if examples := _examples(comment, schema):
            schema["examples"] = examples
        return schema

    def described(self, full_name: str) -> str:
        """Returns what the protos say of something."""
        return self.comments.get(full_name, "")

    def _shape(self, descriptor: FieldDescriptor, *, as_text: bool) -> Schema:
        if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
            return {
                "type": "object",
                "additionalProperties": self._one(descriptor.message_type.fields_by_name["value"]),
            }
        one = self._one(descriptor)
        if as_text and one.get("format") in _RANGE_64:
            lowest, highest = _RANGE_64[one["format"]]
            one = {"type": "integer", "format": one["format"], "minimum": lowest, "maximum": highest}
        return {"type": "array", "items": one} if descriptor.is_repeated else one

    def _one(self, descriptor: FieldDescriptor) -> Schema:
        if descriptor.message_type is not None:
            return self.message(descriptor.message_type)
        if descriptor.enum_type is not None:
            return self._enum(descriptor.enum_type)
        return dict(_SCALARS[descriptor.type])

    def _object(self, descriptor: Descriptor) -> Schema:
        notes = [*message_rules(descriptor.GetOptions()), *self._choices(descriptor)]
        schema: Schema = {
            "type": "object",
            "description": joined(self.described(descriptor.full_name), also=notes),
            "properties": {each.json_name: self.value(each) for each in descriptor.fields},
        }
        if required := [each.json_name for each in descriptor.fields if self._always_there(each)]:
            schema["required"] = required
        return schema

    def _always_there(self, descriptor: FieldDescriptor) -> bool:
        """Tells whether a request must have the field, or, of a message that only replies hold, whether it always does."""
        held_by = descriptor.containing_type
        if held_by is not None and held_by.full_name in self.requested:
            return is_required(descriptor)
        return not descriptor.has_presence

    def _enum(self, descriptor: EnumDescriptor) -> Schema:
        name = self.names[descriptor.full_name]
        if name not in self.components:
            values = [
                f"- `{each.name}`: {self.described(f'{descriptor.full_name}.{each.name}')}"
                for each in descriptor.values
            ]
            self.components[name] = {
                "type": "string",
                "description": "\n\n".join([self.described(descriptor.full_name), "\n".join(values)]),
                "enum": [each.name for each in descriptor.values],
            }
        return {"$ref": f"#/components/schemas/{name}"}

    def _choices(self, descriptor: Descriptor) -> Iterator[str]:
        for choice in descriptor.oneofs:
            if len(choice.fields) > 1:
                fields = " or ".join(f"`{each.json_name}`" for each in choice.fields)
                rules = choice.GetOptions().Extensions[validate_pb2.oneof]
                yield f"{'Exactly' if rules.required else 'At most'} one of {fields} is there."


def _examples(comment: str, schema: Schema) -> list[Any]:
    """Returns the values that a comment gives as examples, in the type of the field."""
    named = _EXAMPLE.search(comment)
    read = _READ.get((schema["items"] if schema.get("type") == "array" else schema).get("type", ""))
    if named is None or read is None:
        return []
    values = [read(each) for each in re.findall("`([^`]+)`", named[0])]
    return [[each] for each in values] if schema.get("type") == "array" else values


def is_required(descriptor: FieldDescriptor) -> bool:
    """Tells whether a request without the field, or with an empty one, is refused or makes no sense."""
    options = descriptor.GetOptions()
    behaviours = options.Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behaviours or rules_of(options).required


def reachable(roots: Iterable[Descriptor]) -> dict[str, Any]:
    """Returns `roots` and all messages and enums that they hold, by full name, without those with a JSON form of their own."""
    found: dict[str, Any] = {}
    waiting = list(roots)
    while waiting:
        descriptor = waiting.pop()
        if descriptor.full_name in found or descriptor.full_name in _WELL_KNOWN:
            continue
        found[descriptor.full_name] = descriptor
        for each in getattr(descriptor, "fields", ()):  # an enum has none
            waiting += [held for held in (each.message_type, each.enum_type) if held is not None]
    return found


def component_names(descriptors: Mapping[str, Any]) -> dict[str, str]:
    """Returns a name for each message and enum: its own, or with its service's before it where two have the same."""
    owners: dict[str, list[str]] = {}
    for full_name, descriptor in descriptors.items():
        if not getattr(getattr(descriptor, "GetOptions", dict)(), "map_entry", False):
            owners.setdefault(_own_name(descriptor), []).append(full_name)
    return {
        full_name: own if len(full_names) == 1 else f"{_service(full_name)}{own}"
        for own, full_names in owners.items()
        for full_name in full_names
    }


def _own_name(descriptor: Any) -> str:
    outer = descriptor.containing_type
    return f"{_own_name(outer)}{descriptor.name}" if outer is not None else str(descriptor.name)


def _service(full_name: str) -> str:
    return "".join(part.capitalize() for part in full_name.split(".")[1].split("_"))
