"""What every error over REST must look like, whoever made it."""

from typing import Any

import httpx
from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2

from geomesh.gateway.v1 import gateway_pb2

DETAILS = (error_details_pb2, gateway_pb2)
"""Where the messages in details are declared; only what is imported can be parsed."""

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""What every reply tells a browser, unless it is a page."""

CODES_BY_HTTP_STATUS = {
    400: {code_pb2.INVALID_ARGUMENT},
    401: {code_pb2.UNAUTHENTICATED},
    403: {code_pb2.PERMISSION_DENIED},
    404: {code_pb2.NOT_FOUND},
    405: {code_pb2.UNIMPLEMENTED},
    413: {code_pb2.RESOURCE_EXHAUSTED},
    429: {code_pb2.RESOURCE_EXHAUSTED},
    431: {code_pb2.RESOURCE_EXHAUSTED},
    503: {code_pb2.UNAVAILABLE},
    504: {code_pb2.DEADLINE_EXCEEDED},
}


def error_of(response: httpx.Response, http_status: int, reason: str) -> dict[str, dict[str, Any]]:
    """Asserts status, code, reason and request id, and returns the details by the last part of their type's name."""
    assert response.status_code == http_status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"code", "message", "details"}
    assert body["code"] in CODES_BY_HTTP_STATUS[http_status]
    assert body["message"]
    json_format.ParseDict(body, status_pb2.Status())  # every detail is a message that the protos know
    details = {each["@type"].rpartition(".")[2]: each for each in body["details"]}
    assert details["ErrorInfo"]["reason"] == reason
    assert details["ErrorInfo"]["domain"] == "geomesh"
    assert response.headers["x-request-id"]
    assert details["RequestInfo"]["requestId"] == response.headers["x-request-id"]
    return details


def violated_fields(details: dict[str, dict[str, Any]]) -> list[str]:
    """Returns the fields that a BadRequest names."""
    return [violation["field"] for violation in details["BadRequest"]["fieldViolations"]]
