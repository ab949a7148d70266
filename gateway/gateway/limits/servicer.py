"""Envoy's rate-limit protocol: protobuf in, protobuf out."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Counter

from gateway.limits.decisions import Decision, Limiter
from gateway.limits.listener import Answer
from geomesh.limits.v1 import limits_pb2 as pb

_LOG: Final = structlog.get_logger(__name__)
_DECISIONS: Final = Counter(
    "geomesh_limits_decisions_total", "Requests that passed, were refused, or passed uncounted.", ["decision"]
)
_PASSED, _REFUSED, _UNCOUNTED = (_DECISIONS.labels(each) for each in ("passed", "refused", "uncounted"))
# Whoever is not counted passes: the bucket in Envoy still holds, and a limiter must not be what is down.
_UNKNOWN: Final = pb.RateLimitResponse(overall_code=pb.RateLimitResponse.CODE_OK).SerializeToString()

# Filled in anew for each reply, since building one took six times as long.
_REPLY: Final = pb.RateLimitResponse(
    overall_code=pb.RateLimitResponse.CODE_OK,
    response_headers_to_add=[pb.HeaderValue(key=f"x-ratelimit-{each}") for each in ("limit", "remaining", "reset")],
)


def answer(limiter: Limiter) -> Answer:
    """Returns what answers a serialized request of Envoy's."""

    def answered(request: bytes, reply: Callable[[bytes], None]) -> None:
        try:
            limiter.decide(_facts(request), lambda decision: reply(_answer(decision)))
        except (ValueError, DecodeError) as error:
            _LOG.error("a request could not be counted", cause=str(error))
            reply(_answer(None))

    return answered


# Nearly every request is of someone who called a moment ago, and says the same.
@lru_cache(maxsize=16_384)
def _facts(request: bytes) -> tuple[tuple[str, str], ...]:
    asked = pb.RateLimitRequest.FromString(request)
    return tuple((entry.key, entry.value) for each in asked.descriptors for entry in each.entries)


def _answer(decision: Decision | None) -> bytes:
    if decision is None:
        _UNCOUNTED.inc()
        return _UNKNOWN
    limit, remaining, reset = _REPLY.response_headers_to_add
    limit.value, remaining.value = str(decision.most), str(decision.remaining)
    reset.value = str(decision.reset_seconds)
    if decision.allowed:
        _PASSED.inc()
        return _serialized(_REPLY)
    _REFUSED.inc()
    refused = pb.RateLimitResponse()
    refused.CopyFrom(_REPLY)
    refused.overall_code = pb.RateLimitResponse.CODE_OVER_LIMIT
    refused.raw_body = decision.message().encode()
    details = base64.b64encode(decision.status()).decode().rstrip("=")
    for key, value in (
        ("retry-after", str(decision.reset_seconds)),
        ("grpc-status-details-bin", details),
        ("grpc-message", decision.message()),
    ):
        refused.response_headers_to_add.add(key=key, value=value)
    return _serialized(refused)


def _serialized(response: pb.RateLimitResponse) -> bytes:
    serialized: bytes = response.SerializeToString()
    return serialized
