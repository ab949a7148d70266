"""The calls of AirQualityService that tell until their subscriber goes: protobuf in, protobuf out."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from google.api.httpbody_pb2 import HttpBody

from airquality.convert import following, watching
from airquality.live.watching import Moves, Watching
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.airquality.v1.airquality_pb2_grpc import AirQualityServiceServicer


class WatchingServicer(AirQualityServiceServicer):
    """A part of AirQualityServicer."""

    def __init__(self, watching: Watching, max_age_seconds: float) -> None:
        self._watching = watching
        self._watch_age_seconds = max_age_seconds

    async def WatchConditions(  # type: ignore[override]  # replies come serialized, as they are shared
        self, request: pb.WatchConditionsRequest, _context: object
    ) -> AsyncGenerator[bytes, None]:
        """Tells what the air is like, and then what is stored."""
        wanted = await watching.wanted(request, self._watching, self._watch_age_seconds)
        async with aclosing(self._watching.watch(wanted, watching.after(request))) as messages:
            async for message in messages:
                yield watching.response(message)

    async def WatchConditionsEvents(
        self, request: pb.WatchConditionsRequest, _context: object
    ) -> AsyncGenerator[HttpBody, None]:
        """Does the same as server-sent events."""
        wanted = await watching.wanted(request, self._watching, self._watch_age_seconds)
        async with aclosing(self._watching.watch(wanted, watching.after(request))) as messages:
            async for message in messages:
                yield watching.server_sent(message)

    async def WatchConditionsAlong(  # type: ignore[override]  # replies come serialized, as they are shared
        self, requests: AsyncIterator[pb.WatchConditionsAlongRequest], _context: object
    ) -> AsyncGenerator[bytes, None]:
        """Does the same around something that moves."""
        first, moves = await following.first(requests), Moves()
        wanted = await watching.wanted(first, self._watching, self._watch_age_seconds)
        async with (
            following.reading(requests, wanted, moves),
            aclosing(self._watching.watch(wanted, watching.after(first), moves)) as messages,
        ):
            async for message in messages:
                yield watching.response(message)
