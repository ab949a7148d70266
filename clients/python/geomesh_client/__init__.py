"""A typed client of geomesh: it signs in, stays signed in, repeats what may be repeated, and says in types what went wrong."""

from geomesh_client.client import Client
from geomesh_client.credentials import (
    AccessToken,
    ApiKey,
    ClientCredentials,
    Credentials,
    Password,
    RefreshToken,
    Tokens,
)
from geomesh_client.errors import (
    Conflict,
    DeadlineExceeded,
    FieldViolation,
    GeomeshError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from geomesh_client.following import follow
from geomesh_client.tls import Tls

__all__ = [
    "AccessToken",
    "ApiKey",
    "Client",
    "ClientCredentials",
    "Conflict",
    "Credentials",
    "DeadlineExceeded",
    "FieldViolation",
    "GeomeshError",
    "InvalidRequest",
    "NotFound",
    "Password",
    "PermissionDenied",
    "RefreshToken",
    "ResourceExhausted",
    "Tls",
    "Tokens",
    "Unauthenticated",
    "Unavailable",
    "follow",
]
