"""The trajectory service over gRPC."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from geomesh.trajectory.v1 import trajectory_pb2 as pb
from geomesh.trajectory.v1.trajectory_pb2_grpc import TrajectoryServiceServicer
from meshkit.context import current
from meshkit.errors import InvalidInput
from trajectory import convert
from trajectory.compute import compute
from trajectory.ingest import Ingest
from trajectory.simplify import douglas_peucker, time_ratio
from trajectory.trajectories import Page, Trajectories, Window

DEFAULT_TOLERANCE_METERS: Final = 10.0
DEFAULT_STOP_SPEED_METERS_PER_SECOND: Final = 5 / 3.6
DEFAULT_CELL_RESOLUTION: Final = 8
DEFAULT_MAX_DISTANCE_METERS: Final = 100.0
DEFAULT_MIN_DURATION_MICROSECONDS: Final = 300_000_000
DEFAULT_POINTS: Final = 1_000
MAX_POINTS: Final = 10_000
DEFAULT_STAYS: Final = 100
MAX_STAYS: Final = 1_000

_SIMPLIFIERS: Final = {
    pb.SIMPLIFY_DOUGLAS_PEUCKER: douglas_peucker,
    pb.SIMPLIFY_TIME_RATIO: time_ratio,
}


class TrajectoryServicer(TrajectoryServiceServicer):
    """Translates; what is to be known is known by `trajectories`."""

    def __init__(self, trajectories: Trajectories, *, clock_skew_seconds: float) -> None:
        """Takes the domain, and how far in seconds a position may lie in the future."""
        self._trajectories = trajectories
        self._clock_skew = timedelta(seconds=clock_skew_seconds)

    async def IngestPositions(
        self,
        request_iterator: AsyncIterator[pb.IngestPositionsRequest],
        _context: object,
    ) -> pb.IngestPositionsResponse:
        """Stores positions as they come."""
        return await self._ingest().stream(request_iterator)

    async def BatchIngestPositions(
        self,
        request: pb.BatchIngestPositionsRequest,
        _context: object,
    ) -> pb.IngestPositionsResponse:
        """Stores up to 10,000 positions."""
        return await self._ingest().batch(request.positions)

    async def GetTrajectory(
        self,
        request: pb.GetTrajectoryRequest,
        _context: object,
    ) -> pb.Trajectory:
        """Returns a page of a track, whole or simplified."""
        page = await self._page(convert.window(_tenant(), request), request)
        return await compute(len(page.track), lambda: convert.trajectory(request, page))

    async def SummarizeTrajectory(
        self,
        request: pb.SummarizeTrajectoryRequest,
        _context: object,
    ) -> pb.TrajectorySummary:
        """Returns what a track amounts to."""
        summary, count = await self._trajectories.summary(
            convert.window(_tenant(), request),
            stop_speed=request.stop_speed_meters_per_second
            if request.HasField("stop_speed_meters_per_second")
            else DEFAULT_STOP_SPEED_METERS_PER_SECOND,
            cell_resolution=request.cell_resolution if request.HasField("cell_resolution") else DEFAULT_CELL_RESOLUTION,
        )
        return convert.summary(request.entity_id, count, summary)

    async def DetectStays(
        self,
        request: pb.DetectStaysRequest,
        _context: object,
    ) -> pb.DetectStaysResponse:
        """Returns a page of the stays of an entity."""
        after = convert.page_after(request)
        stays = await self._trajectories.stays(
            convert.window(_tenant(), request),
            max_distance_meters=request.max_distance_meters
            if request.HasField("max_distance_meters")
            else DEFAULT_MAX_DISTANCE_METERS,
            min_duration=convert.microseconds(request.min_duration)
            if request.HasField("min_duration")
            else DEFAULT_MIN_DURATION_MICROSECONDS,
            after=after,
        )
        return convert.stays(request, stays, min(request.page_size or DEFAULT_STAYS, MAX_STAYS))

    async def _page(self, window: Window, request: pb.GetTrajectoryRequest) -> Page:
        after = convert.page_after(request)
        size = min(request.page_size or DEFAULT_POINTS, MAX_POINTS)
        with_attributes = request.format in {pb.TRAJECTORY_FORMAT_UNSPECIFIED, pb.TRAJECTORY_FORMAT_POINTS}
        simplifier = _SIMPLIFIERS.get(request.simplify)
        if simplifier is None:
            if request.HasField("tolerance_meters"):
                raise InvalidInput("tolerance_meters", "means nothing without simplify")
            return await self._trajectories.page(window, after=after, size=size, with_attributes=with_attributes)
        tolerance = request.tolerance_meters if request.HasField("tolerance_meters") else DEFAULT_TOLERANCE_METERS
        return await self._trajectories.simplified_page(
            window, simplifier, tolerance, after=after, size=size, with_attributes=with_attributes
        )

    def _ingest(self) -> Ingest:
        return Ingest(self._trajectories, _tenant(), self._clock_skew)


def _tenant() -> str:
    return current().identity.tenant
