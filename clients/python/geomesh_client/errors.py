"""What a call ends with when it does not end well."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY: Final = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One rule that one field of the request breaks.

    Attributes:
        field: The path of the field as the proto names it, e.g. ``location.lat``.
        description: What is wrong with it.
    """

    field: str
    description: str


class GeomeshError(Exception):
    """A call that failed.

    Attributes:
        code: The gRPC code.
        message: What went wrong, for people.
        reason: What went wrong, for programs: a name of ``geomesh.errors.v1.ErrorReason`` without its prefix; empty where
            nothing of geomesh answered.
        violations: The rules that the request breaks.
        retry_after_seconds: When another try may be worth it; None where the mesh did not say.
        request_id: Under which every log knows the call; quote it when you report a problem.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        violations: Sequence[FieldViolation] = (),
        retry_after_seconds: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(f"{reason or code.name}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.violations = tuple(violations)
        self.retry_after_seconds = retry_after_seconds
        self.request_id = request_id


class InvalidRequest(GeomeshError):
    """The request breaks a rule; `violations` names each."""


class Unauthenticated(GeomeshError):
    """The caller did not prove who they are, or no longer does."""


class PermissionDenied(GeomeshError):
    """The caller is known, and may not do this."""


class NotFound(GeomeshError):
    """Nothing has this name, or nothing that the caller may see."""


class Conflict(GeomeshError):
    """Something is in the way: it exists already, or changed meanwhile."""


class ResourceExhausted(GeomeshError):
    """A limit is reached; `retry_after_seconds` says when it may be worth another try."""


class Unavailable(GeomeshError):
    """The mesh, or something that it needs, does not answer."""


class DeadlineExceeded(GeomeshError):
    """The answer was not ready in time."""


_TYPES: Final[dict[grpc.StatusCode, type[GeomeshError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


def from_rpc_error(error: grpc.aio.AioRpcError) -> GeomeshError:
    """Returns what a stub raised as an error of this package."""
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    request = error_details_pb2.RequestInfo()
    told_when = False
    for detail in _status(error).details:
        told_when |= detail.Unpack(retry)
        for message in (info, bad_request, request):
            detail.Unpack(message)
    kind = _TYPES.get(error.code(), GeomeshError)
    return kind(
        error.code(),
        error.details() or "no more is known",
        reason=info.reason,
        violations=[FieldViolation(each.field, each.description) for each in bad_request.field_violations],
        retry_after_seconds=retry.retry_delay.ToNanoseconds() / 1e9 if told_when else None,
        request_id=request.request_id,
    )


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    raw = dict(error.trailing_metadata() or ()).get(_DETAILS_KEY)
    return status_pb2.Status.FromString(raw) if isinstance(raw, bytes) else status_pb2.Status()
