"""Streams that outlast what carries them."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import Final, TypeVar

import grpc

from geomesh_client.calls import OLD
from geomesh_client.errors import GeomeshError, ResourceExhausted, Unauthenticated, Unavailable

ReplyT = TypeVar("ReplyT")

_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 10.0


async def follow(
    begin: Callable[[ReplyT | None], AsyncIterable[ReplyT]], *, attempts: int = 8
) -> AsyncGenerator[ReplyT, None]:
    """Yields the replies of a stream that is begun again when it breaks: a server stops, a token ends, a network fails.

    Args:
        begin: Gets the last reply, or None before the first one, and begins the stream behind it, e.g.
            ``lambda last: mesh.probe.Watch(WatchRequest(after=last.id if last else ""))``.
        attempts: How often in a row it is begun at most without a reply.

    Raises:
        GeomeshError: The stream ended with an error that another try does not mend, or with too many in a row.
    """
    last: ReplyT | None = None
    failed = 0
    while True:
        stream = begin(last)
        try:
            async for reply in stream:
                last, failed = reply, 0
                yield reply
        except GeomeshError as error:
            failed += 1
            if failed >= attempts or not _passes(error):
                raise
            longest = min(_FIRST_WAIT_SECONDS * 2**failed, _LONGEST_WAIT_SECONDS)
            jitter = random.uniform(0, longest)  # noqa: S311 -- no secret hangs on it
            await asyncio.sleep((error.retry_after_seconds or 0.0) + jitter)
        else:
            return
        finally:
            if isinstance(stream, grpc.aio.Call):  # else the mesh would go on until the call is collected as garbage
                stream.cancel()


def _passes(error: GeomeshError) -> bool:
    """Tells whether the same stream may go well a little later."""
    if isinstance(error, ResourceExhausted):
        return error.retry_after_seconds is not None
    return isinstance(error, Unavailable) or (isinstance(error, Unauthenticated) and error.reason in OLD)
