"""The one form of errors, and which of them an operation may end with."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from geomesh.errors.v1 import errors_pb2
from geomesh.options.v1 import options_pb2
from meshkit.errors import DOMAIN, Reason

Schema = dict[str, Any]

_CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""The HTTP status of each code that a reason's comment may begin with."""
_COMMENT = re.compile(r"(?P<code>[A-Z_]+)(?:, HTTP (?P<status>\d{3}))?: (?P<meaning>.*)", re.DOTALL)
_PREFIX = "ERROR_REASON_"
_ALWAYS = (
    Reason.MALFORMED_REQUEST,
    Reason.RATE_LIMITED,
    Reason.OVERLOADED,
    Reason.INTERNAL,
    Reason.DEPENDENCY_UNAVAILABLE,
    Reason.SHUTTING_DOWN,
    Reason.DEADLINE_EXCEEDED,
)
_OF_TOKENS = (Reason.TOKEN_INVALID, Reason.TOKEN_EXPIRED)
_OPEN = {options_pb2.PERMISSION_ANYONE, options_pb2.PERMISSION_READ_PUBLIC_DATA}
_TELL_WHEN = {429, 503}
"""Statuses that come with ``retry-after``."""
_TELL_LIMITS = {429}
"""Statuses that may come with the limit that is reached."""
RATE_LIMIT_HEADERS = {
    "x-ratelimit-limit": {"$ref": "#/components/headers/RateLimit"},
    "x-ratelimit-remaining": {"$ref": "#/components/headers/RateLimitRemaining"},
    "x-ratelimit-reset": {"$ref": "#/components/headers/RateLimitReset"},
}
TYPE_URL = "type.googleapis.com/google.rpc."


@dataclass(frozen=True, slots=True)
class Failure:
    """A reason as its comment documents it.

    Attributes:
        status: The HTTP status that it comes with.
        code: The name of the gRPC code.
        meaning: What it says.
    """

    status: int
    code: str
    meaning: str


def failures(comments: Mapping[str, str]) -> dict[str, Failure]:
    """Returns every reason with what its comment in the protos says.

    Raises:
        ValueError: A comment does not begin with the code that the reason comes with.
    """
    descriptor = errors_pb2.ErrorReason.DESCRIPTOR
    found = {}
    for value in descriptor.values:
        if value.number == 0:
            continue
        comment = comments.get(f"{descriptor.full_name}.{value.name}", "")
        parts = _COMMENT.fullmatch(comment)
        if parts is None or parts["code"] not in _CODES:
            raise ValueError(f"the comment of {value.name} does not begin with a code and a colon: {comment!r}")
        status = int(parts["status"] or _CODES[parts["code"]])
        found[value.name.removeprefix(_PREFIX)] = Failure(status, parts["code"], parts["meaning"])
    return found


def expected(permission: int, comment: str, parameters: Iterable[str], *, has_body: bool, in_path: bool) -> set[str]:
    """Returns the reasons that an operation may end with.

    Args:
        permission: What its caller must hold.
        comment: What the proto says of it; the reasons that it names are meant.
        parameters: The names of its fields.
        has_body: Whether it takes one.
        in_path: Whether its path has variables.
    """
    parameters = set(parameters)
    found: set[str] = {*_ALWAYS, *(reason for reason in Reason if re.search(rf"\b{reason}\b", comment))}
    if parameters:
        found.add(Reason.INVALID_FIELD)
    if "page_token" in parameters:
        found.add(Reason.INVALID_PAGE_TOKEN)
    if has_body:
        found.add(Reason.REQUEST_TOO_LARGE)
    if in_path:
        found.add(Reason.ROUTE_NOT_FOUND)
    if permission != options_pb2.PERMISSION_ANYONE:
        found.update(_OF_TOKENS)
    if permission not in _OPEN:
        found.update((Reason.TOKEN_MISSING, Reason.PERMISSION_MISSING))
    return found


def replies(reasons: Iterable[str], documented: Mapping[str, Failure]) -> Schema:
    """Returns the error replies of an operation by HTTP status."""
    by_status: dict[int, list[str]] = {}
    for reason in sorted(reasons):
        by_status.setdefault(documented[reason].status, []).append(reason)
    return {str(status): _reply(status, names, documented) for status, names in sorted(by_status.items())}


def too_long(documented: Mapping[str, Failure]) -> Schema:
    """Returns the reply to a URL that does not fit into the headers' limit."""
    return _reply(431, [Reason.REQUEST_TOO_LARGE], documented)


def _reply(status: int, reasons: Iterable[str], documented: Mapping[str, Failure]) -> Schema:
    lines = [f"- `{reason}`: {documented[reason].meaning}" for reason in reasons]
    headers = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
    if status in _TELL_WHEN:
        headers["retry-after"] = {"$ref": "#/components/headers/RetryAfter"}
    if status in _TELL_LIMITS:
        headers |= RATE_LIMIT_HEADERS
    return {
        "description": "\n".join([f"{HTTPStatus(status).phrase}.\n", *lines]),
        "headers": headers,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def components(documented: Mapping[str, Failure]) -> dict[str, Schema]:
    """Returns the schemas of the one form of errors."""
    details = {
        "ErrorInfo": _detail(
            "ErrorInfo",
            "Why the call failed, for programs.",
            reason={
                "type": "string",
                "enum": list(documented),
                "description": "\n".join(f"- `{reason}`: {each.meaning}" for reason, each in documented.items()),
            },
            domain={"type": "string", "const": DOMAIN},
            metadata={"type": "object", "additionalProperties": {"type": "string"}},
        ),
        "BadRequest": _detail(
            "BadRequest",
            "Which fields of the request break which rules.",
            fieldViolations={"type": "array", "items": {"$ref": "#/components/schemas/FieldViolation"}},
        ),
        "RetryInfo": _detail(
            "RetryInfo",
            "When another try may be worth it.",
            retryDelay={"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?s$", "examples": ["1s"]},
        ),
        "RequestInfo": _detail(
            "RequestInfo",
            "The name under which every log knows the request; quote it when you report a problem.",
            requestId={"type": "string"},
            servingData={"type": "string", "description": "Not used."},
        ),
    }
    other: Schema = {
        "type": "object",
        "description": "What an RPC adds to an error of its own; `@type` names the message.",
        "properties": {"@type": {"type": "string", "not": {"enum": [f"{TYPE_URL}{name}" for name in details]}}},
        "required": ["@type"],
    }
    violation: Schema = {
        "type": "object",
        "description": "One rule that one field breaks.",
        "properties": {
            "field": {"type": "string", "description": "The path of the field, in the proto's names."},
            "description": {"type": "string", "description": "What is wrong with it."},
            "reason": {"type": "string", "description": "Not used."},
        },
        "required": ["field", "description"],
    }
    error: Schema = {
        "type": "object",
        "description": "Every error of the mesh and of its edge: a google.rpc.Status.",
        "properties": {
            "code": {
                "type": "integer",
                "format": "int32",
                "description": "A google.rpc.Code, e.g. 3: INVALID_ARGUMENT.",
            },
            "message": {"type": "string", "description": "What went wrong, for people; the words may change."},
            "details": {
                "type": "array",
                "description": "What went wrong, for programs. An ErrorInfo is always there.",
                "items": {
                    "anyOf": [
                        *({"$ref": f"#/components/schemas/{name}"} for name in details),
                        {"$ref": "#/components/schemas/OtherDetail"},
                    ]
                },
                "contains": {"$ref": "#/components/schemas/ErrorInfo"},
            },
        },
        "required": ["code", "message", "details"],
        "examples": [
            {
                "code": 3,
                "message": "lat: must be greater than or equal to -90 and less than or equal to 90",
                "details": [
                    {
                        "@type": f"{TYPE_URL}BadRequest",
                        "fieldViolations": [
                            {
                                "field": "lat",
                                "description": "must be greater than or equal to -90 and less than or equal to 90",
                            }
                        ],
                    },
                    {"@type": f"{TYPE_URL}ErrorInfo", "reason": "INVALID_FIELD", "domain": DOMAIN, "metadata": {}},
                ],
            }
        ],
    }
    return {"Error": error, "FieldViolation": violation, **details, "OtherDetail": other}


def _detail(name: str, description: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {"@type": {"const": f"{TYPE_URL}{name}"}, **properties},
        "required": ["@type", *(each for each in properties if each not in {"metadata", "servingData"})],
    }
