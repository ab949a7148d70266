"""The one place where an error becomes what a client sees."""

import math
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from meshkit import errors
from meshkit.errors import DOMAIN, InvalidInput, MeshError, Reason, ResourceExhausted, Unavailable

_CODES: Final[dict[type[MeshError], int]] = {
    errors.InvalidInput: code_pb2.INVALID_ARGUMENT,
    errors.NotFound: code_pb2.NOT_FOUND,
    errors.AlreadyExists: code_pb2.ALREADY_EXISTS,
    errors.FailedPrecondition: code_pb2.FAILED_PRECONDITION,
    errors.Unauthenticated: code_pb2.UNAUTHENTICATED,
    errors.PermissionDenied: code_pb2.PERMISSION_DENIED,
    errors.ResourceExhausted: code_pb2.RESOURCE_EXHAUSTED,
    errors.Unavailable: code_pb2.UNAVAILABLE,
    errors.DeadlineExceeded: code_pb2.DEADLINE_EXCEEDED,
}
_GRPC_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

DETAILS_KEY: Final = "grpc-status-details-bin"


class RichStatus(grpc.Status):
    """A status as grpc's ``abort_with_status`` takes it."""

    def __init__(self, status: status_pb2.Status) -> None:
        self.code = _GRPC_CODES[status.code]
        self.details = status.message
        self.trailing_metadata = ((DETAILS_KEY, status.SerializeToString()),)


def code_of(error: BaseException) -> grpc.StatusCode:
    """Returns the gRPC code that `error` ends a call with."""
    return (
        _GRPC_CODES[_CODES.get(type(error), code_pb2.INTERNAL)]
        if isinstance(error, MeshError)
        else grpc.StatusCode.INTERNAL
    )


def to_status(error: MeshError, *, request_id: str = "") -> status_pb2.Status:
    """Returns the status of `error` with its details.

    Args:
        error: What a handler raised.
        request_id: Added as ``google.rpc.RequestInfo``, so that a person can quote it.
    """
    status = status_pb2.Status(code=_CODES.get(type(error), code_pb2.INTERNAL), message=error.message)
    for detail in _details(error, request_id):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _details(error: MeshError, request_id: str) -> list[Message]:
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    details: list[Message] = [info]
    if isinstance(error, InvalidInput):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=each.field, description=each.description)
            for each in error.violations
        ]
        details.insert(0, error_details_pb2.BadRequest(field_violations=violations))
    elif isinstance(error, Unavailable | ResourceExhausted):
        if isinstance(error, Unavailable) and error.dependency:
            info.metadata["dependency"] = error.dependency
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        if isinstance(error, Unavailable) and isinstance(error.attached, Message):
            details.append(error.attached)
    if request_id:
        details.append(error_details_pb2.RequestInfo(request_id=request_id))
    return details


def internal(request_id: str) -> MeshError:
    """Returns what a client sees of a defect: the request id and nothing else of it."""
    return MeshError(Reason.INTERNAL, f"internal error; quote request id {request_id}")


def from_rpc_error(error: grpc.aio.AioRpcError, dependency: str, given_seconds: float = math.inf) -> MeshError:
    """Returns the error that a callee raised, as if it had been raised here.

    Args:
        error: What a stub raised.
        dependency: The name of the service that was called.
        given_seconds: The time that it was given.
    """
    info, bad_request, retry = _unpacked(error)
    message = error.details() or ""
    reason = Reason(info.reason) if info.domain == DOMAIN and info.reason in set(Reason) else Reason.INTERNAL
    wait_seconds = retry.retry_delay.ToNanoseconds() / 1e9
    code = error.code()
    if code is grpc.StatusCode.UNAVAILABLE:
        return Unavailable(
            f"{dependency} does not answer", dependency=dependency, retry_after_seconds=wait_seconds or 1.0
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded(f"{dependency} did not answer in time", given_seconds=given_seconds)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ResourceExhausted(Reason.OVERLOADED, f"{dependency}: {message}", retry_after_seconds=wait_seconds or 1.0)
    if bad_request.field_violations:
        first, *more = (errors.FieldViolation(each.field, each.description) for each in bad_request.field_violations)
        return InvalidInput(first.field, first.description, reason=reason, more=more)
    plain = _PLAIN.get(code)
    if plain is None or reason is Reason.INTERNAL:
        return MeshError(Reason.INTERNAL, f"{dependency} ended with {code.name}: {message}")
    return plain(reason, message)


_PLAIN: Final[dict[grpc.StatusCode, type[MeshError]]] = {
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
}


def _unpacked(
    error: grpc.aio.AioRpcError,
) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo]:
    status = status_pb2.Status()
    raw = dict(error.trailing_metadata()).get(DETAILS_KEY)
    if isinstance(raw, bytes):
        status.ParseFromString(raw)
    found = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for packed in status.details:
        for detail in found:
            packed.Unpack(detail)
    return found
