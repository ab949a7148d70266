"""Protobuf messages to the domain's values and back."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from geomesh.trajectory.v1 import trajectory_pb2 as pb
from geomesh.types.v1.types_pb2 import BoundingBox, Location
from meshkit.attributes import check_attributes, from_struct, to_struct
from meshkit.errors import InvalidInput, Reason
from meshkit.paging import PageToken
from trajectory.formats import to_geojson, to_gpx, to_polyline
from trajectory.positions import Attributes, Position, Positions
from trajectory.stays import Stay
from trajectory.summary import Bearing, Bounds, Speeds, Summary
from trajectory.track import EPOCH, MICROSECONDS_PER_SECOND, Track, to_datetime
from trajectory.trajectories import Page, Window

_NANOSECONDS_PER_MICROSECOND = 1000
_LAST_TIME = datetime.max.replace(tzinfo=UTC)

Request = pb.GetTrajectoryRequest | pb.SummarizeTrajectoryRequest | pb.DetectStaysRequest


def window(tenant: str, request: Request) -> Window:
    """Returns which positions a request means.

    Raises:
        InvalidInput: It ends before it starts.
    """
    start = _datetime(request.start_time) if request.HasField("start_time") else None
    end = _datetime(request.end_time) if request.HasField("end_time") else None
    if start is not None and end is not None and end <= start:
        raise InvalidInput("end_time", "must be later than start_time")
    return Window(tenant, request.entity_id, start, end)


def page_after(request: pb.GetTrajectoryRequest | pb.DetectStaysRequest) -> datetime | None:
    """Returns the time after which the page asked for begins, or None for the first page."""
    match PageToken.decode(request.page_token, query=request):
        case None:
            return None
        # A token can be forged, so it may hold the time that no other follows.
        case (datetime() as time,) if time < _LAST_TIME:
            return time
        case _:
            raise InvalidInput("page_token", "must be one of this query", reason=Reason.INVALID_PAGE_TOKEN)


def positions(messages: Iterable[pb.Position]) -> Positions:
    """Returns valid positions column by column."""
    return Positions.of(map(_position, messages))


def checker(latest: datetime) -> Callable[[pb.Position], None]:
    """Returns a check of what the proto's rules cannot say of a position.

    It raises InvalidInput for one later than `latest`, with TIME_IN_FUTURE, and for attributes of a wrong kind.
    """
    seconds = int(latest.timestamp())

    def check(position: pb.Position) -> None:
        if position.time.seconds > seconds:
            raise InvalidInput(
                "time", f"must not be later than {latest:%Y-%m-%dT%H:%M:%SZ}", reason=Reason.TIME_IN_FUTURE
            )
        if position.HasField("attributes"):
            check_attributes(position.attributes)

    return check


def microseconds(duration: Duration) -> int:
    """Returns a duration in whole microseconds, at least one."""
    whole = duration.seconds * MICROSECONDS_PER_SECOND + duration.nanos // _NANOSECONDS_PER_MICROSECOND
    return max(whole, 1)


def trajectory(request: pb.GetTrajectoryRequest, page: Page) -> pb.Trajectory:
    """Returns a page of a track in the format that the request asks for."""
    track = page.track
    reply = pb.Trajectory(
        entity_id=request.entity_id, point_count=len(track), unsimplified_count=page.unsimplified_count
    )
    match request.format:
        case pb.TRAJECTORY_FORMAT_POLYLINE:
            reply.polyline = to_polyline(track)
        case pb.TRAJECTORY_FORMAT_GEOJSON:
            reply.geojson.update(to_geojson(request.entity_id, track))
        case pb.TRAJECTORY_FORMAT_GPX:
            reply.gpx = to_gpx(request.entity_id, track)
        case _:
            reply.points.extend(_points(track, page.attributes))
    if not page.last:
        reply.next_page_token = PageToken.encode((to_datetime(int(track.times[-1])),), query=request)
    return reply


def summary(entity_id: str, position_count: int, summary: Summary) -> pb.TrajectorySummary:
    """Returns a summary as a message."""
    return pb.TrajectorySummary(
        entity_id=entity_id,
        position_count=position_count,
        start_time=_timestamp(summary.start),
        end_time=_timestamp(summary.end),
        duration=_duration(summary.end - summary.start),
        moving_duration=_duration(summary.moving),
        length_meters=summary.length,
        displacement_meters=summary.displacement,
        straightness=summary.straightness,
        speed=_speeds(summary.speeds),
        bearing=_bearing(summary.bearing),
        radius_of_gyration_meters=summary.radius_of_gyration,
        centroid=_location(*summary.centre),
        bounding_box=_bounding_box(summary.bounds),
        cell_count=summary.cell_count,
        cells=summary.cells,
    )


def stays(request: pb.DetectStaysRequest, found: list[Stay], size: int) -> pb.DetectStaysResponse:
    """Returns the first `size` of the stays found as a page."""
    reply = pb.DetectStaysResponse(entity_id=request.entity_id, stays=[_stay(stay) for stay in found[:size]])
    if len(found) > size:
        reply.next_page_token = PageToken.encode((to_datetime(found[size - 1].arrival),), query=request)
    return reply


def _position(message: pb.Position) -> Position:
    location = message.location
    return Position(
        message.entity_id,
        _datetime(message.time),
        location.lat,
        location.lng,
        message.altitude if message.HasField("altitude") else None,
        message.accuracy if message.HasField("accuracy") else None,
        message.speed if message.HasField("speed") else None,
        message.bearing if message.HasField("bearing") else None,
        json.dumps(from_struct(message.attributes)) if message.HasField("attributes") else None,
    )


def _points(track: Track, attributes: Mapping[int, Attributes]) -> Iterable[pb.TrackPoint]:
    columns = (track.times, track.lats, track.lngs, track.altitudes, track.accuracies, track.speeds, track.bearings)
    for time, lat, lng, *measured in zip(*(column.tolist() for column in columns), strict=True):
        altitude, accuracy, speed, bearing = (None if math.isnan(value) else value for value in measured)
        yield pb.TrackPoint(
            time=_timestamp(time),
            location=_location(lat, lng),
            altitude=altitude,
            accuracy=accuracy,
            speed=speed,
            bearing=bearing,
            attributes=to_struct(attributes[time]) if time in attributes else None,
        )


def _speeds(speeds: Speeds | None) -> pb.SpeedStatistics | None:
    if speeds is None:
        return None
    p50, p90, p95, p99 = speeds.percentiles
    return pb.SpeedStatistics(
        mean=speeds.mean, moving_mean=speeds.moving_mean, max=speeds.maximum, p50=p50, p90=p90, p95=p95, p99=p99
    )


def _bearing(bearing: Bearing | None) -> pb.BearingStatistics | None:
    return pb.BearingStatistics(mean=bearing.mean, concentration=bearing.concentration) if bearing else None


def _stay(stay: Stay) -> pb.Stay:
    return pb.Stay(
        location=_location(stay.lat, stay.lng),
        radius_meters=stay.radius,
        arrival_time=_timestamp(stay.arrival),
        departure_time=_timestamp(stay.departure),
        duration=_duration(stay.departure - stay.arrival),
        position_count=stay.last - stay.first + 1,
        departed=stay.departed,
    )


def _location(lat: float, lng: float) -> Location:
    return Location(lat=lat, lng=lng)


def _bounding_box(bounds: Bounds) -> BoundingBox:
    return BoundingBox(south=bounds.south, west=bounds.west, north=bounds.north, east=bounds.east)


def _datetime(time: Timestamp) -> datetime:
    """Returns a timestamp, cut to the microsecond; Timestamp's own conversion rounds through a float."""
    # By position, because keywords cost half as much again, and a stream has many of these.
    return EPOCH + timedelta(0, time.seconds, time.nanos // _NANOSECONDS_PER_MICROSECOND)


def _timestamp(time: int) -> Timestamp:
    seconds, fraction = divmod(time, MICROSECONDS_PER_SECOND)
    return Timestamp(seconds=seconds, nanos=fraction * _NANOSECONDS_PER_MICROSECOND)


def _duration(length: int) -> Duration:
    seconds, fraction = divmod(length, MICROSECONDS_PER_SECOND)
    return Duration(seconds=seconds, nanos=fraction * _NANOSECONDS_PER_MICROSECOND)
