"""Holds a request against the rules that its proto states, and names every field that breaks one."""

import json
from collections.abc import Sequence
from typing import Final

import protovalidate
from google.protobuf.message import Message

from meshkit.errors import FieldViolation, InvalidInput

VALIDATOR: Final = protovalidate.Validator()
"""Keeps the compiled rules of every message it has seen; one a process is enough."""


def validate(message: Message) -> None:
    """Returns when `message` keeps all its rules.

    Raises:
        InvalidInput: It does not; every violation is named.
    """
    found = VALIDATOR.collect_violations(message)
    if found:
        raise refusal(found)


def refusal(found: Sequence[protovalidate.Violation]) -> InvalidInput:
    """Returns the error that names every violation in `found`, of which there is at least one."""
    first, *more = (_violation(each) for each in found)
    return InvalidInput(first.field, first.description, more=more)


def _violation(found: protovalidate.Violation) -> FieldViolation:
    violation = found.proto
    path = ".".join(_element(element) for element in violation.field.elements) if violation.field else ""
    return FieldViolation(path, violation.message or violation.rule_id)


def _element(element: protovalidate.FieldPathElementPb) -> str:
    subscript = element.subscript
    return element.field_name if subscript is None else f"{element.field_name}[{json.dumps(subscript.value)}]"
