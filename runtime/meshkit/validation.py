"""Holds a request against the rules that its proto states, and names the fields that break one."""

import json
from collections.abc import Sequence
from typing import Final

import protovalidate
from google.protobuf.message import Message

from meshkit.errors import FieldViolation, InvalidInput

VALIDATOR: Final = protovalidate.Validator()
"""Keeps the compiled rules of every message it has seen; one a process is enough."""

# An error travels in the trailers of the call, and gRPC gives up on more than 16 KiB of them.
_MOST_NAMED: Final = 20
# Collecting takes time that grows with the square of the violations: 9 s for 100,000, which 100 kB can hold.
_LARGEST_EXPLAINED_BYTES: Final = 1024


def validate(message: Message) -> None:
    """Returns when `message` keeps all its rules.

    Raises:
        InvalidInput: It does not; the first violations are named, of a large message the first alone.
    """
    found = VALIDATOR.collect_violations(message, fail_fast=True)
    if found:
        small = message.ByteSize() <= _LARGEST_EXPLAINED_BYTES
        raise _refusal(VALIDATOR.collect_violations(message)[:_MOST_NAMED] if small else found)


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
