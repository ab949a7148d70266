"""The whole OpenAPI document."""

import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from gateway.contract import OF_EVERY_SERVICE, Contract, rest_of
from gateway.openapi import errors
from gateway.openapi.operations import BEARER, SESSION, Operations
from gateway.openapi.rules import Schema
from gateway.openapi.schemas import Schemas, component_names, reachable

_DESCRIPTION = """\
Where is it, what moves there, and what is the air like: geocoding, a spatial index, trajectories and air quality, over \
REST, gRPC and gRPC-Web on one port.

**Values.** Latitudes and longitudes are degrees of WGS 84, lengths metres, speeds metres per second, bearings degrees \
clockwise from true north, times RFC 3339 in UTC; time filters hold their begin and not their end. Enums are written with \
their full name, in any case. 64-bit integers are strings in JSON. Query parameters may be `snake_case` or `camelCase`; \
an unknown one is refused.

**Pages.** A list takes `page_size` and the `page_token` of the page before; the token belongs to its query.

**Errors.** All have one form, `Error`, whoever made them: a canonical code, words for people, and details for programs, \
among them an `ErrorInfo` with a reason. Besides what an operation lists, the edge refuses a path that nothing has with 404, \
a method that a path does not take with 405, headers and a path of more than 32 KiB with 431 (over HTTP/2 it resets the \
stream), and a body that does not arrive in time with 408.

**Signing in.** What is public can be read without a token. For the rest `POST /v1/auth/login` gives an access token, which \
goes into the header `authorization: Bearer …`, and a refresh token for the next one. Programs have an API key or a service \
account instead, and `POST /v1/auth/token`. Libraries for OAuth 2.0 find the same under `/.well-known/openid-configuration`: \
`/oauth2/token` and `/oauth2/introspect` take its forms and answer in its own JSON, errors included.
"""


def openapi(contract: Contract, comments: Mapping[str, str]) -> Schema:
    """Returns the document of everything that can be called over REST.

    Args:
        contract: The API.
        comments: What the protos say of everything, by full name.
    """
    rpcs = [rpc for service in public_services(contract) for rpc in service.methods if list(rest_of(rpc))]
    requested = reachable(rpc.input_type for rpc in rpcs)
    held = requested | reachable(rpc.output_type for rpc in rpcs)
    schemas = Schemas(comments, component_names(held), frozenset(requested))
    documented = errors.failures(comments)
    paths: dict[str, Schema] = {}
    for rpc in rpcs:
        for path, verb, operation in Operations(schemas, documented).of(rpc):
            paths.setdefault(path, {})[verb] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "geomesh",
            "version": importlib.metadata.version("geomesh-gateway"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The edge that serves this document."}],
        "tags": [
            {"name": service.name, "description": comments.get(service.full_name, "")}
            for service in public_services(contract)
            if any(rpc in rpcs for rpc in service.methods)
        ],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted((schemas.components | errors.components(documented)).items())),
            "headers": _HEADERS,
            "securitySchemes": {
                BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The access token that Login, RefreshToken or ExchangeToken gave.",
                },
                SESSION: {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "geomesh_session",
                    "description": "The same token in a cookie, which a Login or RefreshToken with `sessionCookie` sets, for "
                    "browsers' EventSource. It counts on operations that change nothing alone.",
                },
            },
        },
    }


def public_services(contract: Contract) -> list[ServiceDescriptor]:
    """Returns the services that the edge offers, sorted by name."""
    found = (service for file in contract.files for service in file.services_by_name.values())
    return sorted((each for each in found if each.full_name not in OF_EVERY_SERVICE), key=lambda each: each.full_name)


def only_grpc(contract: Contract) -> Iterator[MethodDescriptor]:
    """Yields the RPCs that cannot be called over REST."""
    for service in public_services(contract):
        yield from (rpc for rpc in service.methods if not list(rest_of(rpc)))


_HEADERS: dict[str, Any] = {
    "RequestId": {
        "description": "The name under which every log knows the request: the caller's own, or a new one.",
        "schema": {"type": "string"},
    },
    "RetryAfter": {
        "description": "Seconds after which another try may be worth it.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "RateLimit": {
        "description": "How many calls the limit allows that is nearest to its end; absent where nothing is counted.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "RateLimitRemaining": {"description": "How many of them are left.", "schema": {"type": "integer", "minimum": 0}},
    "RateLimitReset": {
        "description": "Seconds until more of them are left.",
        "schema": {"type": "integer", "minimum": 0},
    },
}
