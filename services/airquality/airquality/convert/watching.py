"""Between what is watched and its messages."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import h3  # type: ignore[import-untyped]  # ships no types
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.json_format import MessageToDict

from airquality.convert import replies
from airquality.events import StoredReading
from airquality.live.areas import Area, Cells, Circle, Named, Rectangle
from airquality.live.subscription import Wanted
from airquality.live.watching import DEFAULT_RADIUS_METERS, Kind, Message, Watched, Watching, max_age
from airquality.stations import Latest, Station
from airquality.units import LABELS
from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.context import current
from meshkit.errors import InvalidInput

_UNITS: Final = {label: unit for unit, label in LABELS.items()}
_LAST_EVENT_ID: Final = "last-event-id"
_MOST_DIGITS: Final = 18
_NAMES: Final = {each: each.name.lower() for each in Kind}
_RETRY: Final = b"retry: 1000\n"
"""After how many milliseconds a browser begins a stream again that has ended."""


def render_stored(readings: Sequence[StoredReading]) -> bytes:
    """Returns readings of one station as the `stations` of a serialized WatchConditionsResponse."""
    first = readings[0]
    station = Station(first.station_id, first.provider, "", "", first.lat, first.lng)
    latest = [
        Latest(each.pollutant, each.averaging_period, each.time, each.value, _UNITS[each.unit], each.flags)
        for each in readings
    ]
    return pb.WatchConditionsResponse(stations=[replies.station(station, latest)]).SerializeToString()


def render_snapshot(watched: Sequence[Watched]) -> bytes:
    """Returns stations as the `stations` of a serialized WatchConditionsResponse."""
    stations = [replies.station(each.station, each.latest) for each in watched]
    return pb.WatchConditionsResponse(stations=stations).SerializeToString()


def response(message: Message) -> bytes:
    """Returns a message, serialized: serialized fields can be joined, so that stations are rendered once for all."""
    head = pb.WatchConditionsResponse(
        event_id=str(message.position),
        event=pb.WatchEvent.ValueType(message.kind),
        snapshot_reason=pb.SnapshotReason.ValueType(message.cause),
        skipped_updates=message.skipped,
        ending_reason=message.ending,
    )
    return head.SerializeToString() + message.stations


def server_sent(message: Message) -> HttpBody:
    """Returns a message as a server-sent event (WHATWG HTML, section 9.2)."""
    data = _retry(message) + b"id: %d\nevent: %s\ndata: %s\n\n" % (
        message.position,
        _NAMES[message.kind].encode(),
        _json(response(message)),
    )
    return HttpBody(content_type="text/event-stream", data=data)


def _retry(message: Message) -> bytes:
    return _RETRY if message.kind is Kind.SNAPSHOT else b""


@lru_cache(maxsize=1024)
def _json(serialized: bytes) -> bytes:
    """Returns a response as one line of JSON; remembered, because an update often goes to many."""
    message = pb.WatchConditionsResponse.FromString(serialized)
    fields = MessageToDict(message, always_print_fields_with_no_presence=True)  # as the edge prints replies
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


async def wanted(request: pb.WatchConditionsRequest, watching: Watching, default_age_seconds: float) -> Wanted:
    """Returns what a caller wants to know.

    Raises:
        InvalidInput: A cell is none.
        NotFound: A station is unknown.
    """
    tenant = current().identity.tenant
    seconds = request.max_age.ToMicroseconds() / 1e6 if request.HasField("max_age") else None
    return Wanted(
        tenant=tenant,
        area=await _area(request, tenant, watching),
        pollutants=frozenset(request.pollutants) or None,
        max_age=max_age(seconds, default_age_seconds),
    )


async def _area(request: pb.WatchConditionsRequest, tenant: str, watching: Watching) -> Area:
    if request.HasField("lat"):
        radius = request.radius_meters if request.HasField("radius_meters") else DEFAULT_RADIUS_METERS
        return Circle(request.lat, request.lng, radius)
    if request.HasField("bbox"):
        box = request.bbox
        return Rectangle((box.west, box.east, box.south, box.north))
    if request.station_ids:
        found: Named = await watching.named(tenant, request.station_ids)
        return found
    for place, cell in enumerate(request.cells):
        if not h3.is_valid_cell(cell):
            raise InvalidInput(f"cells[{place}]", "is no H3 cell")
    return Cells(frozenset(request.cells))


def after(request: pb.WatchConditionsRequest) -> int | None:
    """Returns the position after which to begin; None for a snapshot.

    Raises:
        InvalidInput: The header Last-Event-ID is no id of an event.
    """
    header = current().text(_LAST_EVENT_ID)
    if not header:
        return int(request.after_event_id) if request.after_event_id else None
    if not (header.isascii() and header.isdigit() and len(header) <= _MOST_DIGITS):
        raise InvalidInput(_LAST_EVENT_ID, "must be the id of an event, which is a whole number")
    return int(header)
