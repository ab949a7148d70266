"""The requests of something that moves: first what to watch, then where it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airquality.live.areas import Circle
from airquality.live.subscription import Wanted
from airquality.live.watching import Moves
from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.errors import InvalidInput


async def first(requests: AsyncIterator[pb.WatchConditionsAlongRequest]) -> pb.WatchConditionsRequest:
    """Returns what to watch.

    Raises:
        InvalidInput: The first request does not say it.
    """
    async for request in requests:
        if request.WhichOneof("request") == "watch":
            return request.watch
        break
    raise InvalidInput("watch", "must be the first request")


@asynccontextmanager
async def reading(
    requests: AsyncIterator[pb.WatchConditionsAlongRequest], wanted: Wanted, moves: Moves
) -> AsyncIterator[None]:
    """Reads where it is while the context is open. When no more comes, it stays where it is.

    Raises:
        InvalidInput: What is watched has no centre.
    """
    if not isinstance(wanted.area, Circle):
        raise InvalidInput("watch", "must be a circle, by lat and lng: nothing else has a centre that moves")

    async def read() -> None:
        try:
            async for request in requests:
                if request.WhichOneof("request") == "watch":
                    raise InvalidInput("watch", "must come once")  # noqa: TRY301 -- one way to tell of all that is wrong
                moves.move(request.update_location.lat, request.update_location.lng)
        except Exception as error:  # noqa: BLE001 -- raised where the stream is written
            moves.fail(error)

    task = asyncio.create_task(read(), name="read moves")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
