"""Protobuf messages to the domain's values and back."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from geomesh.spatial_index.v1 import spatial_index_pb2 as pb
from geomesh.types.v1.types_pb2 import Location
from meshkit.attributes import check_attributes, from_struct
from meshkit.errors import InvalidInput, Reason
from spatial_index import geojson
from spatial_index.cells import Cell, require_cell
from spatial_index.cover import Containment
from spatial_index.encoding import EVERY_GRID, Encoding, Grids
from spatial_index.entities import Entity, Filters, Neighbour
from spatial_index.region import Cells, Polygons, Rectangle, Region

CONTAINMENTS = {
    pb.CONTAINMENT_UNSPECIFIED: Containment.CENTER,
    pb.CONTAINMENT_CENTER: Containment.CENTER,
    pb.CONTAINMENT_FULL: Containment.FULL,
    pb.CONTAINMENT_OVERLAPPING: Containment.OVERLAPPING,
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_A_DAY = 86_400


def grids(request: pb.EncodeLocationRequest | pb.BatchEncodeLocationsRequest) -> Grids:
    """Returns which grids a request asks for: all, when it names none."""
    resolutions, precision, length = list(request.resolution), request.geohash_precision, request.plus_code_length
    return Grids(resolutions, precision, length) if resolutions or precision or length else EVERY_GRID


def encoding(wanted: Grids, found: Encoding) -> pb.EncodeLocationResponse:
    """Returns the names of a location as a message."""
    reply = pb.EncodeLocationResponse()
    # Set field by field, which costs a third of keyword arguments: of all calls, this one is made most.
    for resolution, name in zip(wanted.resolutions, found.cells, strict=True):
        each = reply.cells.add()
        each.resolution = resolution
        each.cell = name
    if found.geohash:
        reply.geohash = found.geohash
    if found.plus_code:
        reply.plus_code = found.plus_code
    return reply


def cell(found: Cell) -> pb.Cell:
    """Returns a cell as a message."""
    return pb.Cell(
        cell=found.name,
        resolution=found.resolution,
        center=_location(*found.center),
        boundary=[_location(*corner) for corner in found.boundary],
        area_square_meters=found.area_square_meters,
        edge_length_meters=found.edge_length_meters,
        parent=found.parent,
        children_count=found.children_count,
        pentagon=found.pentagon,
        base_cell=found.base_cell,
    )


def check_entity(message: pb.Entity, latest: datetime) -> None:
    """Returns when an entity that follows the proto's rules may be stored.

    Raises:
        InvalidInput: Its time is later than `latest`, with TIME_IN_FUTURE, or its attributes are of a wrong kind.
    """
    if _datetime(message.time) > latest:
        raise InvalidInput("time", f"must not be later than {latest:%Y-%m-%dT%H:%M:%SZ}", reason=Reason.TIME_IN_FUTURE)
    if not message.HasField("attributes"):
        return
    check_attributes(message.attributes)


def entity(message: pb.Entity) -> Entity:
    """Returns the entity of a checked message."""
    location = message.location
    return Entity(
        message.entity_id,
        location.lat,
        location.lng,
        _datetime(message.time),
        message.altitude if message.HasField("altitude") else None,
        message.accuracy if message.HasField("accuracy") else None,
        message.speed if message.HasField("speed") else None,
        message.bearing if message.HasField("bearing") else None,
        message.type,
        from_struct(message.attributes) if message.HasField("attributes") else None,
    )


def fill_entity(message: pb.Entity, found: Entity) -> None:
    """Writes an entity into an empty message: one that is made apart and then put in is copied at each level."""
    message.entity_id = found.entity_id
    message.location.lat = found.lat
    message.location.lng = found.lng
    passed = found.time - _EPOCH
    message.time.seconds = passed.days * _SECONDS_A_DAY + passed.seconds
    message.time.nanos = passed.microseconds * 1000
    if found.altitude is not None:
        message.altitude = found.altitude
    if found.accuracy is not None:
        message.accuracy = found.accuracy
    if found.speed is not None:
        message.speed = found.speed
    if found.bearing is not None:
        message.bearing = found.bearing
    message.type = found.type
    if found.attributes:
        message.attributes.update(found.attributes)
    message.tenant = found.tenant


def entity_message(found: Entity) -> pb.Entity:
    """Returns an entity as a message."""
    message = pb.Entity()
    fill_entity(message, found)
    return message


def nearby_reply(found: Iterable[Neighbour]) -> pb.FindNearbyResponse:
    """Returns entities with their distances as a reply."""
    reply = pb.FindNearbyResponse()
    for neighbour in found:
        result = reply.results.add()
        result.distance_meters = neighbour.distance_meters
        fill_entity(result.entity, neighbour.entity)
    return reply


def page_reply(found: Iterable[Entity]) -> pb.FindWithinResponse:
    """Returns entities as a reply without a token for the next page."""
    reply = pb.FindWithinResponse()
    for entity in found:
        fill_entity(reply.entities.add(), entity)
    return reply


def filters(request: pb.FindNearbyRequest | pb.FindWithinRequest, now: datetime) -> Filters:
    """Returns which entities a request is for."""
    # A valid attribute has a colon, its value may have more.
    attributes = [(name, value) for name, _, value in (each.partition(":") for each in request.attribute)]
    if not request.HasField("max_age"):
        return Filters(list(request.type), attributes)
    age = timedelta(seconds=request.max_age.seconds, microseconds=request.max_age.nanos // 1000)
    return Filters(list(request.type), attributes, now - age)


def region(request: pb.FindWithinRequest) -> Region:
    """Returns where a request looks.

    Raises:
        InvalidInput: The area is none, or one of the cells.
    """
    match request.WhichOneof("region"):
        case "area":
            return Polygons(geojson.area(request.area, "area"))
        case "cells":
            names = enumerate(request.cells.cells)
            return Cells([require_cell(name, f"cells.cells[{index}]") for index, name in names])
        case _:
            box = request.bounding_box
            return Rectangle(box.south, box.west, box.north, box.east)


def _location(lat: float, lng: float) -> Location:
    return Location(lat=lat, lng=lng)


def _datetime(timestamp: Timestamp) -> datetime:
    """Returns a timestamp, cut to the microsecond; Timestamp's own conversion rounds through a float."""
    return _EPOCH + timedelta(0, timestamp.seconds, timestamp.nanos // 1000)
