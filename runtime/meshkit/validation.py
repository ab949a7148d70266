"""Holds a request against the rules that its proto states, and names the fields that break one."""

import json
from collections.abc import Sequence
from typing import Final

import protovalidate
from google.protobuf.message import Message

from meshkit.errors import FieldViolation, InvalidInput
from meshkit.glance import Glance, glance_of

VALIDATOR: Final = protovalidate.Validator()
"""Keeps the compiled rules of every message it has seen; one a process is enough."""

# An error travels in the trailers of the call, and gRPC gives up on more than 16 KiB of them.
_MOST_NAMED: Final = 20
# Collecting takes time that grows with the square of the violations: 9 s for 100,000, which 100 kB can hold.
_LARGEST_EXPLAINED_BYTES: Final = 1024
_GLANCES: Final[dict[type[Message], Glance]] = {}
"""Of every type that was seen, what spares most messages that keep their rules the way through the validator."""


def validate(message: Message) -> None:
    """Returns when `message` keeps all its rules.

    Raises:
        InvalidInput: It does not; the first violations are named, of a large message the first alone.
    """
    kind = type(message)
    glance = _GLANCES.get(kind)
    if glance is None:
        glance = _GLANCES[kind] = _glance_of(kind)
    if glance(message):
        return
    found = VALIDATOR.collect_violations(message, fail_fast=True)
    if found:
        small = message.ByteSize() <= _LARGEST_EXPLAINED_BYTES
        raise _refusal(VALIDATOR.collect_violations(message)[:_MOST_NAMED] if small else found)


def _glance_of(kind: type[Message]) -> Glance:
    unset = (_violation(each).field for each in VALIDATOR.collect_violations(kind()))
    return glance_of(kind, {name.partition(".")[0].partition("[")[0] for name in unset}) or _no_idea


def _no_idea(_message: Message) -> bool:
    return False


def _refusal(found: Sequence[protovalidate.Violation]) -> InvalidInput:
    first, *more = (_violation(each) for each in found)
    return InvalidInput(first.field, first.description, more=more)


def _violation(found: protovalidate.Violation) -> FieldViolation:
    violation = found.proto
    path = [_element(element) for element in violation.field.elements] if violation.field else []
    field, dot, _ = violation.rule_id.partition(".")
    if violation.rule is None and dot:  # a rule of a message, which has no path, and whose id begins with a field of it
        path.append(field)
    return FieldViolation(".".join(path), violation.message or violation.rule_id)


def _element(element: protovalidate.FieldPathElementPb) -> str:
    subscript = element.subscript
    return element.field_name if subscript is None else f"{element.field_name}[{json.dumps(subscript.value)}]"
