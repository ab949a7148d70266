"""Requests for tiles, and their replies."""

import hashlib
from datetime import datetime
from typing import Final

from google.api.httpbody_pb2 import HttpBody

from airquality.conditions import check_moment
from airquality.convert import requests
from airquality.mapping import View, check_view
from airquality.standards import standard_of
from airquality.tiles import Tile, check_tile
from geomesh.airquality.v1 import airquality_pb2 as pb

MEDIA_TYPES: Final = {"png": "image/png", "mvt": "application/vnd.mapbox-vector-tile"}

# The edge makes this the status of the HTTP reply; gRPC has none that would become it.
_STATUS: Final = "x-geomesh-http-status"
_MOST_CLIENT_SECONDS: Final = 60


def tile(request: pb.GetTileRequest) -> tuple[Tile, str]:
    """Returns the tile asked for and its format, a key of MEDIA_TYPES."""
    row, _, kind = request.file.partition(".")
    return check_tile(request.z, request.x, int(row)), kind


def view(request: pb.GetTileRequest, now: datetime, latest: datetime, radius_meters: float) -> View:
    """Returns what the map shows.

    Args:
        request: The request.
        now: The present.
        latest: Up to when the present reaches.
        radius_meters: How far the nearest station may be where the request does not say.
    """
    is_now = not request.HasField("at")
    at = now if is_now else requests.moment(request.at, "at")
    check_moment(at, latest)
    standard = standard_of(request.index)
    found = View(
        at=at,
        is_now=is_now,
        standard=standard,
        version=requests.version(standard, request.index_version, at, field="at"),
        pollutant=request.pollutant,
        radius_meters=request.radius_meters if request.HasField("radius_meters") else radius_meters,
    )
    check_view(found)
    return found


def reply(
    content: bytes, kind: str, if_none_match: str, *, ttl_seconds: float, everyones: bool
) -> tuple[tuple[tuple[str, str], ...], HttpBody]:
    """Returns the headers and the body of a reply; no body where the caller has this content already."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    scope = "public" if everyones else "private"
    headers = (
        ("etag", tag),
        ("cache-control", f"{scope}, max-age={min(_MOST_CLIENT_SECONDS, int(ttl_seconds))}"),
        ("vary", "authorization, cookie"),
    )
    known = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    if tag in known or "*" in known:
        return (*headers, (_STATUS, "304")), HttpBody()
    return headers, HttpBody(content_type=MEDIA_TYPES[kind], data=content)
