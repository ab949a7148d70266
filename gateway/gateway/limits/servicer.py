"""Envoy's rate-limit protocol: protobuf in, protobuf out."""

from __future__ import annotations

import base64
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


def answer(limiter: Limiter) -> Answer:
    """Returns what answers a serialized request of Envoy's."""

    async def answered(request: bytes) -> bytes:
        try:
            decision = await limiter.decide(_facts(request))
        except (ValueError, DecodeError) as error:
            _LOG.error("a request could not be counted", cause=str(error))
            decision = None
        return _answer(decision)

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
    headers = [
        pb.HeaderValue(key="x-ratelimit-limit", value=str(decision.most)),
        pb.HeaderValue(key="x-ratelimit-remaining", value=str(decision.remaining)),
        pb.HeaderValue(key="x-ratelimit-reset", value=str(decision.reset_seconds)),
    ]
    if decision.allowed:
        _PASSED.inc()
        return _serialized(pb.RateLimitResponse.CODE_OK, headers)
    _REFUSED.inc()
    details = base64.b64encode(decision.status()).decode().rstrip("=")
    headers += [
        pb.HeaderValue(key="retry-after", value=str(decision.reset_seconds)),
        pb.HeaderValue(key="grpc-status-details-bin", value=details),
        pb.HeaderValue(key="grpc-message", value=decision.message()),
    ]
    return _serialized(pb.RateLimitResponse.CODE_OVER_LIMIT, headers, decision.message().encode())


def _serialized(
    code: pb.RateLimitResponse.Code.ValueType, headers: list[pb.HeaderValue], raw_body: bytes = b""
) -> bytes:
    response = pb.RateLimitResponse(overall_code=code, response_headers_to_add=headers, raw_body=raw_body)
    serialized: bytes = response.SerializeToString()
    return serialized
