"""The errors that the edge makes by itself, in the same form as those of the services.

What the limits service adds to its refusals (when to try again, the details for gRPC) goes before what stands here.

Envoy takes the first entry that fits. What it says in words is the text of the reply alone: which service, host or
limit it was, stands in the access log.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.contract import Contract
from meshkit.errors import DOMAIN, Reason

FLOOD = 423
"""What Envoy's own buckets would reply with, so that it can be told from what the limits service refuses: 429."""

_TAKEN_APART = {"x-geomesh-names-field": "maybe"}
"""Tells the Lua filter to look for a field's name in the words of the reply; the filter removes it."""


@dataclass(frozen=True, slots=True)
class LocalReply:
    """One error of the edge.

    Attributes:
        statuses: First and last HTTP status that Envoy would have replied with.
        code: The google.rpc.Code.
        reason: The reason for programs.
        message: The words for people; over gRPC the same if no operator of Envoy is in them.
        http_status: The HTTP status to reply with over REST.
        grpc_code: The code to reply with over gRPC, where another is the custom.
        grpc_message: The words over gRPC if an operator of Envoy is in the message.
        flags: Response flags of which Envoy must have set one; empty for any.
        paths: RE2 expressions of which the path must match one; empty for any.
        named: Whether it holds for requests that Envoy read far enough to give them an id, for those it did not, or both.
        met_filters: Whether it holds only for requests that got as far as the filters, which say what was wrong.
        retry_after_seconds: When it may be worth another try, unless the limits service said so; 0 when the same request
            would fail again.
        headers: Further reply headers.
    """

    statuses: tuple[int, int]
    code: int
    reason: Reason
    message: str
    http_status: int
    grpc_code: int | None = None
    grpc_message: str = "the request could not be read"
    flags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    named: tuple[bool, ...] = (True, False)
    met_filters: bool = False
    retry_after_seconds: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    def rest_body(self, *, named: bool) -> str:
        """Returns the JSON body with Envoy's operators in it; `named` says whether the request has an id or the reply alone."""
        request_id = "%REQ(X-REQUEST-ID)%" if named else "%RESP(X-REQUEST-ID)%"
        details = [*self._details(), error_details_pb2.RequestInfo(request_id=request_id)]
        body = {"code": self.code, "message": self.message, "details": [_json(detail) for detail in details]}
        return json.dumps(body)

    def rest_headers(self) -> dict[str, str]:
        """Returns the headers beside the body."""
        retry = {"retry-after": str(self.retry_after_seconds)} if self.retry_after_seconds else {}
        return {**retry, **self.headers}

    def grpc_headers(self) -> dict[str, str]:
        """Returns the headers that make it a gRPC status; Envoy sends them as trailers."""
        code = self.code if self.grpc_code is None else self.grpc_code
        # Fixed words, since the serialized details repeat them and clients refuse a status that says two things.
        message = self.grpc_message if "%" in self.message else self.message
        status = status_pb2.Status(code=code, message=message)
        for detail in self._details():
            status.details.add().Pack(detail)
        details = base64.b64encode(status.SerializeToString(deterministic=True)).decode().rstrip("=")
        return {
            # Without it a gRPC-Web caller would get a status that the filter guesses from the HTTP status.
            "content-type": "application/grpc",
            "grpc-status": str(code),
            "grpc-message": message,
            "grpc-status-details-bin": details,
        }

    def _details(self) -> Iterator[Message]:
        yield error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN)
        if self.retry_after_seconds:
            yield error_details_pb2.RetryInfo(retry_delay=Duration(seconds=self.retry_after_seconds))


def local_replies(contract: Contract) -> list[LocalReply]:
    """Returns every error of the edge, the special before the general."""
    return [
        LocalReply(
            (400, 400),
            code_pb2.INVALID_ARGUMENT,
            Reason.MALFORMED_REQUEST,
            "%LOCAL_REPLY_BODY%",
            400,
            named=(True,),
            met_filters=True,
            headers=_TAKEN_APART,
        ),
        LocalReply(
            (400, 400),
            code_pb2.INVALID_ARGUMENT,
            Reason.MALFORMED_REQUEST,
            "the request could not be read (%RESPONSE_CODE_DETAILS%); a URL holds letters beyond ASCII percent-encoded",
            400,
        ),
        *_wrong_verbs(contract),
        LocalReply(
            (404, 404),
            code_pb2.NOT_FOUND,
            Reason.ROUTE_NOT_FOUND,
            "nothing has this path",
            404,
            grpc_code=code_pb2.UNIMPLEMENTED,
        ),
        LocalReply(
            (408, 408), code_pb2.DEADLINE_EXCEEDED, Reason.DEADLINE_EXCEEDED, "the request did not arrive in time", 408
        ),
        LocalReply(
            (413, 413), code_pb2.RESOURCE_EXHAUSTED, Reason.REQUEST_TOO_LARGE, "the request's body is too large", 413
        ),
        LocalReply(
            (431, 431),
            code_pb2.RESOURCE_EXHAUSTED,
            Reason.REQUEST_TOO_LARGE,
            "the request's headers are too large",
            431,
        ),
        LocalReply(
            (429, 429),
            code_pb2.RESOURCE_EXHAUSTED,
            Reason.RATE_LIMITED,
            "%LOCAL_REPLY_BODY%",
            429,
            grpc_message="too many requests",
            retry_after_seconds=1,
        ),
        LocalReply(
            (FLOOD, FLOOD),
            code_pb2.RESOURCE_EXHAUSTED,
            Reason.RATE_LIMITED,
            "too many requests within a second",
            429,
            retry_after_seconds=1,
        ),
        LocalReply(
            (503, 503),
            code_pb2.RESOURCE_EXHAUSTED,
            Reason.OVERLOADED,
            "the edge works at its limit",
            429,
            flags=("UO", "OM"),
            retry_after_seconds=1,
        ),
        LocalReply(
            (502, 503),
            code_pb2.UNAVAILABLE,
            Reason.DEPENDENCY_UNAVAILABLE,
            "the service does not answer",
            503,
            retry_after_seconds=1,
        ),
        LocalReply(
            (504, 504), code_pb2.DEADLINE_EXCEEDED, Reason.DEADLINE_EXCEEDED, "the answer was not ready in time", 504
        ),
        LocalReply(
            (401, 499), code_pb2.INVALID_ARGUMENT, Reason.MALFORMED_REQUEST, "the edge does not take this request", 400
        ),
        LocalReply((500, 599), code_pb2.INTERNAL, Reason.INTERNAL, "internal error", 500),
    ]


def _wrong_verbs(contract: Contract) -> Iterator[LocalReply]:
    """Yields one error for each set of verbs that some paths take: nothing else ends in 404 on a known path."""
    for verbs, patterns in contract.verbs().items():
        yield LocalReply(
            (404, 404),
            code_pb2.UNIMPLEMENTED,
            Reason.METHOD_NOT_ALLOWED,
            f"this path takes {verbs}",
            405,
            paths=tuple(patterns),
            headers={"allow": verbs},
        )


def _json(detail: Message) -> dict[str, object]:
    """Returns a detail as the transcoder prints it: with every field that has no presence of its own."""
    name = detail.DESCRIPTOR.full_name
    fields = json_format.MessageToDict(detail, always_print_fields_with_no_presence=True)
    if isinstance(detail, error_details_pb2.RetryInfo):
        fields = {"retryDelay": "%RESP(RETRY-AFTER)%s"}  # what the header says, whoever set it
    return {"@type": f"type.googleapis.com/{name}", **fields}
