"""What a refusal says."""

from collections.abc import Awaitable
from typing import Any, NamedTuple

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2


class Refusal(NamedTuple):
    """How a call ended: the code, the reason, and the description of each field blamed."""

    code: grpc.StatusCode
    reason: str
    fields: dict[str, str]


async def refused(call: Awaitable[Any]) -> Refusal:
    """Awaits a call that must fail and returns how."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    metadata = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    assert status.code == caught.value.code().value[0]
    return Refusal(caught.value.code(), *explain(status))


def explain(status: Any) -> tuple[str, dict[str, str]]:
    """Returns the reason of a status and the fields that it blames."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert info.domain == "geomesh"
    return info.reason, {violation.field: violation.description for violation in bad.field_violations}
