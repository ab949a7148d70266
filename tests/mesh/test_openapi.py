"""Whatever a caller sends to whatever the OpenAPI document lists, the reply is one that the document lists too.

Schemathesis makes the calls from the document: right ones, and ones that are wrong in some way. The draws are the same at
every run.
"""

import json
from importlib import resources
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.running_mesh import Mesh

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    unsupported_method,
]


EDGES_METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
"""What the edge answers itself; Envoy refuses stranger ones, such as QUERY, before it reads the path."""


LONGEST_LIST = 50
"""Longer ones cost minutes and meet no other rule than their length, which tests of each service meet."""


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the document with no room for fields that it does not list; it leaves that room for later versions."""
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema and name != "OtherDetail":
            schema["additionalProperties"] = False
        for each in schema.get("properties", {}).values():
            if each.get("maxItems", 0) > LONGEST_LIST:
                each["maxItems"] = LONGEST_LIST
    return document


DOCUMENT = json.loads(resources.files("gateway").joinpath("openapi.json").read_text())
ENDLESS = [
    path
    for path, verbs in DOCUMENT["paths"].items()
    if any(
        "text/event-stream" in reply.get("content", {})
        for each in verbs.values()
        for reply in each["responses"].values()
    )
]
"""Streams, whose replies nobody could wait for; tests/mesh/test_watching.py reads them."""
SCHEMA = schemathesis.openapi.from_dict(closed(DOCUMENT)).exclude(path=ENDLESS)
SCHEMA.config.generation.update(database="none")


@SCHEMA.parametrize()
@settings(max_examples=10, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_reply_is_documented(case: "schemathesis.Case[Any]", mesh: Mesh) -> None:
    headers = {"authorization": f"Bearer {mesh.token('tenant_admin', 'schemathesis')}"}
    checks = [each for each in CHECKS if case.method in EDGES_METHODS or each is not_a_server_error]
    case.call_and_validate(base_url=mesh.base_url, headers=headers, checks=checks, timeout=30)
