"""The errors that a geomesh service raises, in its own words and without gRPC.

A domain or a repository raises one of these; :mod:`meshkit.status` alone turns them into what a client sees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

DOMAIN = "geomesh"
"""``google.rpc.ErrorInfo.domain`` of every error."""


class Reason(StrEnum):
    """Why a call failed, for programs: the values of ``geomesh.errors.v1.ErrorReason`` without their prefix."""

    INVALID_FIELD = "INVALID_FIELD"
    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    INVALID_PAGE_TOKEN = "INVALID_PAGE_TOKEN"  # noqa: S105 -- the name of a reason
    INVALID_GEOMETRY = "INVALID_GEOMETRY"
    RESULT_TOO_LARGE = "RESULT_TOO_LARGE"
    UNIT_MISMATCH = "UNIT_MISMATCH"
    TIME_IN_FUTURE = "TIME_IN_FUTURE"
    ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    PLACE_NOT_FOUND = "PLACE_NOT_FOUND"
    ENTITY_NOT_FOUND = "ENTITY_NOT_FOUND"
    TRAJECTORY_NOT_FOUND = "TRAJECTORY_NOT_FOUND"
    STATION_NOT_FOUND = "STATION_NOT_FOUND"
    NO_DATA_NEARBY = "NO_DATA_NEARBY"
    TOKEN_MISSING = "TOKEN_MISSING"  # noqa: S105 -- the name of a reason
    TOKEN_INVALID = "TOKEN_INVALID"  # noqa: S105 -- the name of a reason
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 -- the name of a reason
    LOGIN_FAILED = "LOGIN_FAILED"
    REFRESH_TOKEN_INVALID = "REFRESH_TOKEN_INVALID"  # noqa: S105 -- the name of a reason
    PERMISSION_MISSING = "PERMISSION_MISSING"
    DEPENDENCY_UNAVAILABLE = "DEPENDENCY_UNAVAILABLE"
    OVERLOADED = "OVERLOADED"
    RATE_LIMITED = "RATE_LIMITED"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    INTERNAL = "INTERNAL"
    TOKEN_REVOKED = "TOKEN_REVOKED"  # noqa: S105 -- the name of a reason
    CREDENTIAL_INVALID = "CREDENTIAL_INVALID"
    SESSION_NOT_FOUND = "SESSION_NOT_FOUND"
    API_KEY_NOT_FOUND = "API_KEY_NOT_FOUND"
    SERVICE_ACCOUNT_NOT_FOUND = "SERVICE_ACCOUNT_NOT_FOUND"
    SECOND_FACTOR_REQUIRED = "SECOND_FACTOR_REQUIRED"
    SIGN_UP_CLOSED = "SIGN_UP_CLOSED"
    ONE_TIME_TOKEN_INVALID = "ONE_TIME_TOKEN_INVALID"  # noqa: S105 -- the name of a reason
    PASSWORD_TOO_WEAK = "PASSWORD_TOO_WEAK"  # noqa: S105 -- the name of a reason
    TENANT_NOT_FOUND = "TENANT_NOT_FOUND"
    USER_NOT_FOUND = "USER_NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    STATE_FORBIDS = "STATE_FORBIDS"
    SUBSCRIBER_TOO_SLOW = "SUBSCRIBER_TOO_SLOW"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One rule that one field breaks.

    Attributes:
        field: The path of the field in the request as the proto names it, e.g. ``location.lat``; empty for a rule about
            several fields.
        description: What is wrong with it, without repeating the field's name.
    """

    field: str
    description: str

    def __str__(self) -> str:
        """Returns it as people read it."""
        return f"{self.field}: {self.description}" if self.field else self.description


class MeshError(Exception):
    """What every error of a geomesh service is. Raise one of its subclasses."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        """Lets it pass from one process to another, which an error does not whose arguments are not its `args`."""
        return _remade, (type(self), self.args), self.__dict__


class InvalidInput(MeshError):
    """The request breaks a rule; trying again will not help."""

    def __init__(
        self,
        field: str,
        description: str,
        *,
        reason: Reason = Reason.INVALID_FIELD,
        more: Sequence[FieldViolation] = (),
    ) -> None:
        """Names the field and the reason.

        Args:
            field: The path of the field in the request, e.g. ``location.lat``.
            description: What is wrong with it, e.g. ``must be between -90 and 90``.
            reason: For programs.
            more: Further violations of the same request.
        """
        self.violations = (FieldViolation(field, description), *more)
        super().__init__(reason, "; ".join(map(str, self.violations)))


class NotFound(MeshError):
    """Nothing has this name, or nothing that the caller may see."""


class AlreadyExists(MeshError):
    """There is one already."""


class FailedPrecondition(MeshError):
    """The request is right, and the state of things forbids it."""


class Unauthenticated(MeshError):
    """The caller did not prove who they are."""


class PermissionDenied(MeshError):
    """The caller is known, and may not do this."""


class ResourceExhausted(MeshError):
    """A limit is reached; `retry_after_seconds` says when it may be worth another try."""

    def __init__(self, reason: Reason, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(reason, message)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(MeshError):
    """Something that is needed does not answer; the call may be repeated after `retry_after_seconds`."""

    def __init__(
        self,
        message: str,
        *,
        dependency: str = "",
        retry_after_seconds: float = 1.0,
        reason: Reason = Reason.DEPENDENCY_UNAVAILABLE,
        attached: object = None,
    ) -> None:
        """Says what is missing.

        Args:
            message: For people.
            dependency: The name of what does not answer.
            retry_after_seconds: When another try may be worth it.
            reason: For programs.
            attached: A protobuf message that the caller gets with the error, where a reply would have told more.
        """
        super().__init__(reason, message)
        self.dependency = dependency
        self.retry_after_seconds = retry_after_seconds
        self.attached = attached


class DeadlineExceeded(MeshError):
    """The answer was not ready in the time that the caller gave, of which there were `given_seconds`."""

    def __init__(self, message: str, *, given_seconds: float = math.inf) -> None:
        super().__init__(Reason.DEADLINE_EXCEEDED, message)
        self.given_seconds = given_seconds


def _remade(of: type[MeshError], arguments: tuple[Any, ...]) -> MeshError:
    return of.__new__(of, *arguments)
