"""How a call was refused, as a client reads it."""

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2


def told(status: status_pb2.Status) -> tuple[str, list[str]]:
    """Returns the reason and the fields that a status names."""
    reason, fields = "", []
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason = info.reason
        if detail.Unpack(bad):
            fields = [violation.field for violation in bad.field_violations]
    return reason, fields


async def refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, list[str]]:
    """Returns code, reason and fields of the error that a call ends with."""
    return (await refused_saying(call))[:3]


async def refused_saying(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, list[str], str]:
    """Returns code, reason, fields and message of the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    raw = dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(raw, bytes)
    status = status_pb2.Status.FromString(raw)
    return caught.value.code(), *told(status), status.message
