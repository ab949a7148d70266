"""Validation rules of the protos as JSON Schema. What that cannot say is said in words.

A rule that is not known here stops the generator, so that none is lost silently.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor_pb2 import FieldOptions, MessageOptions

from buf.validate import validate_pb2

Schema = dict[str, Any]

_BOUNDS = {"gte": "minimum", "lte": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_IN_WORDS = {"gte": "at least", "lte": "at most", "gt": "more than", "lt": "less than", "const": "always"}
_NUMBERS = {"double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64"}
_LONG = {"int64", "uint64", "sint64"}
_STRING_FORMATS = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uri_ref": "uri-reference",
    "uuid": "uuid",
}
_STRING_KEYWORDS = {"min_len": "minLength", "max_len": "maxLength", "const": "const"}


class UnknownRuleError(Exception):
    """A rule has no counterpart in this module yet."""


@dataclass(frozen=True, slots=True)
class Target:
    """What rules are applied to.

    Attributes:
        schema: Of the field's value; it is changed.
        names: The names of an enum's values by their numbers.
        as_text: Whether 64-bit integers are held against bounds as numbers, as in a query, where all is text.
    """

    schema: Schema
    names: Mapping[int, str] = field(default_factory=dict)
    as_text: bool = False


def rules_of(options: FieldOptions) -> validate_pb2.FieldRules:
    """Returns the rules that a field's options state; empty ones where there are none."""
    return options.Extensions[validate_pb2.field]


def message_rules(options: MessageOptions) -> Iterator[str]:
    """Yields in words what a message's options demand across its fields."""
    for rule, value in options.Extensions[validate_pb2.message].ListFields():
        if rule.name == "cel":
            yield from (_about_fields(each) for each in value)
        elif rule.name == "oneof":
            for each in value:
                names = " or ".join(f"`{name}`" for name in each.fields)
                yield f"{'Exactly' if each.required else 'At most'} one of {names} is given."
        else:
            raise UnknownRuleError(f"message rule {rule.name}")


def _about_fields(rule: validate_pb2.Rule) -> str:
    text = rule.message or rule.expression
    # The id begins with the field that a refusal names, and the message goes on from there unless it names it itself.
    return _sentence(text if text.startswith("give ") else f"`{rule.id.partition('.')[0]}` {text}")


def apply(rules: validate_pb2.FieldRules, target: Target) -> list[str]:
    """Adds to the target's schema what `rules` demand and returns, as sentences, what a schema cannot say."""
    if rules.ignore == validate_pb2.IGNORE_ALWAYS:
        return []
    notes = [_sentence(each.message or each.expression) for each in rules.cel]
    kind = rules.WhichOneof("type")
    if kind is not None:
        one = getattr(rules, kind)
        handler = _long if kind in _LONG else _number if kind in _NUMBERS else _KINDS.get(kind)
        for rule, value in one.ListFields():
            if handler is None:
                raise UnknownRuleError(f"{kind}.{rule.name}")
            if rule.name != "example":
                notes += handler(rule.name, value, target)
    if rules.required:
        _require(target.schema)
    return notes


def _long(name: str, value: Any, target: Target) -> list[str]:
    if not target.as_text:
        # JSON holds 64-bit integers as strings, which have no bounds.
        if (name, value) == ("gte", 0):
            target.schema["pattern"] = "^[0-9]+$"
            return []
        return [f"{_IN_WORDS[name].capitalize()} {value}."]
    return _number(name, value, target)


def _number(name: str, value: Any, target: Target) -> list[str]:
    schema = target.schema
    if name == "finite":
        return []  # JSON has no other numbers
    if name in _BOUNDS:
        schema[_BOUNDS[name]] = _plain(value)
        if name in {"gt", "lt"}:
            schema.pop(_BOUNDS[f"{name}e"], None)
    elif name in {"in", "const"}:
        schema["enum"] = [_plain(each) for each in (value if name == "in" else [value])]
    elif name == "not_in":
        schema["not"] = {"enum": [_plain(each) for each in value]}
    else:
        raise UnknownRuleError(f"number.{name}")
    return []


def _string(name: str, value: Any, target: Target) -> list[str]:
    schema = target.schema
    if name == "pattern":
        schema["pattern"] = _portable(value)
    elif name in _STRING_KEYWORDS:
        schema[_STRING_KEYWORDS[name]] = value
    elif name in _STRING_FORMATS:
        schema["format"] = _STRING_FORMATS[name]
    elif name == "in":
        schema["enum"] = list(value)
    elif name == "not_in":
        schema["not"] = {"enum": list(value)}
    elif name == "len":
        schema |= {"minLength": value, "maxLength": value}
    elif name in {"prefix", "suffix", "contains"}:
        text = re.escape(value)
        schema["pattern"] = {"prefix": f"^{text}", "suffix": f"{text}$", "contains": text}[name]
    elif name in {"min_bytes", "max_bytes", "len_bytes"}:
        return [f"{ {'min': 'At least', 'max': 'At most', 'len': 'Exactly'}[name[:3]] } {value} bytes in UTF-8."]
    elif name == "ip":
        schema["anyOf"] = [{"format": "ipv4"}, {"format": "ipv6"}]
    else:
        raise UnknownRuleError(f"string.{name}")
    return []


def _portable(pattern: str) -> str:
    """Returns an expression that every JSON Schema library reads; few know the classes of Unicode that RE2 has."""
    portable = pattern.replace(r"\P{Cc}", r"[^\x00-\x1f\x7f-\x9f]").replace(r"\p{Cc}", r"[\x00-\x1f\x7f-\x9f]")
    if re.search(r"\\[pPzQE]|\(\?", portable):
        raise UnknownRuleError(f"pattern {pattern}")
    return portable


def _repeated(name: str, value: Any, target: Target) -> list[str]:
    schema = target.schema
    if name in {"min_items", "max_items"}:
        schema[{"min_items": "minItems", "max_items": "maxItems"}[name]] = value
    elif name == "unique":
        schema["uniqueItems"] = value
    elif name == "items":
        notes = apply(value, Target(schema["items"], target.names, target.as_text))
        return [f"Of each: {note[0].lower()}{note[1:]}" for note in notes]
    else:
        raise UnknownRuleError(f"repeated.{name}")
    return []


def _map(name: str, value: Any, target: Target) -> list[str]:
    schema = target.schema
    if name in {"min_pairs", "max_pairs"}:
        schema[{"min_pairs": "minProperties", "max_pairs": "maxProperties"}[name]] = value
    elif name == "keys":
        schema["propertyNames"] = {}
        return [f"Of each key: {note}" for note in apply(value, Target(schema["propertyNames"]))]
    elif name == "values":
        return [f"Of each value: {note}" for note in apply(value, Target(schema["additionalProperties"], target.names))]
    else:
        raise UnknownRuleError(f"map.{name}")
    return []


def _enum(name: str, value: Any, target: Target) -> list[str]:
    schema = target.schema
    names = target.names
    if name == "not_in":
        schema["not"] = {"enum": [names[each] for each in value]}
    elif name == "in":
        schema["enum"] = [names[each] for each in value]
    elif name != "defined_only":  # all that a schema lists
        raise UnknownRuleError(f"enum.{name}")
    return []


def _bool(name: str, value: Any, target: Target) -> list[str]:
    schema = target.schema
    if name != "const":
        raise UnknownRuleError(f"bool.{name}")
    schema["const"] = value
    return []


def _bytes(name: str, value: Any, target: Target) -> list[str]:
    schema = target.schema
    if name not in {"min_len", "max_len", "len"}:
        raise UnknownRuleError(f"bytes.{name}")
    schema["contentEncoding"] = "base64"
    return [f"{ {'min': 'At least', 'max': 'At most', 'len': 'Exactly'}[name[:3]] } {value} bytes."]


def _time(name: str, value: Any, target: Target) -> list[str]:
    schema = target.schema
    if name in {"lt_now", "gt_now"}:
        return ["In the past." if name == "lt_now" else "In the future."]
    if name == "within":
        return [f"Within {_seconds(value)} of now."]
    words = {"gte": "Not before", "gt": "After", "lte": "Not after", "lt": "Before", "const": "Exactly"}
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=value.seconds)
    schema.setdefault("format", "date-time")
    return [f"{words[name]} {moment.isoformat().replace('+00:00', 'Z')}."]


def _duration(name: str, value: Any, target: Target) -> list[str]:
    del target
    if name not in _IN_WORDS:
        raise UnknownRuleError(f"duration.{name}")
    return [f"{_IN_WORDS[name].capitalize()} {_seconds(value)}."]


_KINDS: dict[str, Callable[[str, Any, Target], list[str]]] = {
    "string": _string,
    "repeated": _repeated,
    "map": _map,
    "enum": _enum,
    "bool": _bool,
    "bytes": _bytes,
    "timestamp": _time,
    "duration": _duration,
}


def _require(schema: Schema) -> None:
    """Says that an empty value is as good as none, for the types where the two are the same."""
    match schema.get("type"):
        case "string" if "format" not in schema:
            schema["minLength"] = max(1, schema.get("minLength", 0))
        case "array":
            schema["minItems"] = max(1, schema.get("minItems", 0))


def _plain(value: float) -> float:
    return int(value) if float(value).is_integer() else value


def _seconds(duration: Any) -> str:
    return f"{_plain(duration.seconds + duration.nanos / 1e9)} s"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def joined(*parts: str, also: Sequence[str] = ()) -> str:
    """Returns descriptions and notes as one Markdown text."""
    return " ".join(filter(None, [*parts, *also]))
