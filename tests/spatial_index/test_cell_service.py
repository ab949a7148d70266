"""Cells through a real server."""

from typing import Any

import grpc
import h3  # type: ignore[import-untyped]  # ships no types
import pytest
from google.protobuf.json_format import ParseDict

from geomesh.spatial_index.v1 import spatial_index_pb2 as pb
from geomesh.types.v1.types_pb2 import Location
from tests.spatial_index.conftest import Caller
from tests.spatial_index.refusals import explain, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

SQUARE = [[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]


def cover_request(coordinates: Any, kind: str = "Polygon", **fields: Any) -> pb.CoverAreaRequest:
    """Returns a request as it comes over REST."""
    request = {"area": {"type": kind, "coordinates": coordinates}, "resolution": 5} | fields
    return ParseDict(request, pb.CoverAreaRequest())


async def test_encodes_what_is_asked_for(bare: Caller) -> None:
    request = pb.EncodeLocationRequest(lat=37.7752702151959, lng=-122.418307270836, resolution=[9, 0])
    reply = await bare.call("EncodeLocation", request)
    assert [(cell.resolution, cell.cell) for cell in reply.cells] == [(9, "8928308280fffff"), (0, "8029fffffffffff")]
    assert (reply.geohash, reply.plus_code) == ("", "")


async def test_a_geohash_alone_costs_no_cells(bare: Caller) -> None:
    reply = await bare.call(
        "EncodeLocation", pb.EncodeLocationRequest(lat=57.64911, lng=10.40744, geohash_precision=11)
    )
    assert reply == pb.EncodeLocationResponse(geohash="u4pruydqqvj")


async def test_a_plus_code_alone_costs_no_cells(bare: Caller) -> None:
    reply = await bare.call("EncodeLocation", pb.EncodeLocationRequest(lat=20.375, lng=2.775, plus_code_length=6))
    assert reply == pb.EncodeLocationResponse(plus_code="7FG49Q00+")


async def test_encodes_in_every_grid_when_none_is_named(bare: Caller) -> None:
    reply = await bare.call("EncodeLocation", pb.EncodeLocationRequest(lat=0.0, lng=0.0))
    assert [cell.resolution for cell in reply.cells] == list(range(16))
    assert [cell.cell for cell in reply.cells] == [h3.latlng_to_cell(0, 0, resolution) for resolution in range(16)]
    assert (reply.geohash, reply.plus_code) == ("s00000000000", "6FG22222+22")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"lng": 1.0}, "lat"),
        ({"lat": 1.0}, "lng"),
        ({"lat": 90.1, "lng": 1.0}, "lat"),
        ({"lat": float("nan"), "lng": 1.0}, "lat"),
        ({"lat": 1.0, "lng": float("-inf")}, "lng"),
        ({"lat": 1.0, "lng": 1.0, "resolution": [3, 16]}, "resolution[1]"),
        ({"lat": 1.0, "lng": 1.0, "resolution": [-1]}, "resolution[0]"),
        ({"lat": 1.0, "lng": 1.0, "resolution": [1] * 17}, "resolution"),
        ({"lat": 1.0, "lng": 1.0, "geohash_precision": 0}, "geohash_precision"),
        ({"lat": 1.0, "lng": 1.0, "geohash_precision": 13}, "geohash_precision"),
        ({"lat": 1.0, "lng": 1.0, "plus_code_length": 0}, "plus_code_length"),
        ({"lat": 1.0, "lng": 1.0, "plus_code_length": 9}, "plus_code_length"),
        ({"lat": 1.0, "lng": 1.0, "plus_code_length": 16}, "plus_code_length"),
    ],
)
async def test_refuses_what_cannot_be_encoded(bare: Caller, fields: dict[str, Any], named: str) -> None:
    refusal = await refused(bare.call("EncodeLocation", pb.EncodeLocationRequest(**fields)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert list(refusal.fields) == [named]


async def test_a_batch_keeps_its_order_and_reports_the_bad_by_index(bare: Caller) -> None:
    places = [(1.0, 2.0), (91.0, 0.0), (3.0, 4.0), (0.0, 181.0)]
    request = pb.BatchEncodeLocationsRequest(
        locations=[Location(lat=lat, lng=lng) for lat, lng in places], resolution=[7], geohash_precision=3
    )
    reply = await bare.call("BatchEncodeLocations", request)
    wanted = [h3.latlng_to_cell(*places[0], 7), "", h3.latlng_to_cell(*places[2], 7), ""]
    assert [result.cells[0].cell if result.cells else "" for result in reply.results] == wanted
    assert [result.geohash for result in reply.results] == ["s01", "", "s0d", ""]
    assert [error.index for error in reply.errors] == [1, 3]
    assert [list(explain(error.status)[1]) for error in reply.errors] == [["lat"], ["lng"]]


@pytest.mark.parametrize("count", [0, 1001])
async def test_refuses_a_batch_that_is_empty_or_too_large(bare: Caller, count: int) -> None:
    request = pb.BatchEncodeLocationsRequest(locations=[Location()] * count)
    assert list((await refused(bare.call("BatchEncodeLocations", request))).fields) == ["locations"]


async def test_describes_a_cell(bare: Caller) -> None:
    cell = await bare.call("GetCell", pb.GetCellRequest(cell="8928308280fffff"))
    assert (cell.cell, cell.resolution, cell.parent) == ("8928308280fffff", 9, "8828308281fffff")
    assert (cell.children_count, cell.pentagon, cell.base_cell) == (7, False, 20)
    assert (cell.center.lat, cell.center.lng) == pytest.approx(h3.cell_to_latlng("8928308280fffff"))
    corners = [(corner.lat, corner.lng) for corner in cell.boundary]
    assert corners == list(h3.cell_to_boundary("8928308280fffff"))
    assert cell.area_square_meters == pytest.approx(h3.cell_area("8928308280fffff", "m^2"))


@pytest.mark.parametrize("method", ["GetCell", "GridDisk"])
@pytest.mark.parametrize("text", ["8928308280FFFFF", "0x8928308280fffff", "115283473fffffff", "london", "x" * 65, ""])
async def test_refuses_what_is_no_cell(bare: Caller, method: str, text: str) -> None:
    request = pb.GetCellRequest(cell=text) if method == "GetCell" else pb.GridDiskRequest(cell=text, k=1)
    refusal = await refused(bare.call(method, request))
    assert (refusal.code, list(refusal.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["cell"])


async def test_returns_a_disk_or_a_ring(bare: Caller) -> None:
    origin = "8928308280fffff"
    plain = await bare.call("GridDisk", pb.GridDiskRequest(cell=origin, k=2))
    disk = await bare.call("GridDisk", pb.GridDiskRequest(cell=origin, k=2, shape=pb.DISK_SHAPE_DISK))
    ring = await bare.call("GridDisk", pb.GridDiskRequest(cell=origin, k=2, shape=pb.DISK_SHAPE_RING))
    assert plain == disk
    assert disk.cells[0] == origin
    assert set(disk.cells) == set(h3.grid_disk(origin, 2))
    assert set(ring.cells) == set(h3.grid_ring(origin, 2))


async def test_a_disk_of_no_steps_is_the_cell_itself(bare: Caller) -> None:
    for shape in pb.DiskShape.values():
        reply = await bare.call("GridDisk", pb.GridDiskRequest(cell="8928308280fffff", k=0, shape=shape))
        assert list(reply.cells) == ["8928308280fffff"]


async def test_the_largest_disk_fits_into_a_reply(bare: Caller) -> None:
    reply = await bare.call("GridDisk", pb.GridDiskRequest(cell="8928308280fffff", k=100))
    assert len(reply.cells) == 30_301


@pytest.mark.parametrize("fields", [{}, {"k": -1}, {"k": 101}])
async def test_refuses_a_disk_without_bounds(bare: Caller, fields: dict[str, Any]) -> None:
    refusal = await refused(bare.call("GridDisk", pb.GridDiskRequest(cell="8928308280fffff", **fields)))
    assert list(refusal.fields) == ["k"]


async def test_refuses_a_shape_that_it_does_not_know(bare: Caller) -> None:
    request = pb.GridDiskRequest(cell="8928308280fffff", k=1, shape=7)  # type: ignore[arg-type]  # no such value
    assert list((await refused(bare.call("GridDisk", request))).fields) == ["shape"]


async def test_covers_a_polygon_pasted_as_geojson(bare: Caller) -> None:
    reply = await bare.call("CoverArea", cover_request([SQUARE]))
    shape = h3.LatLngPoly([(lat, lng) for lng, lat in SQUARE])
    assert set(reply.cells) == set(h3.h3shape_to_cells(shape, 5))
    assert reply.cell_count == len(reply.cells)


async def test_containments_differ_as_they_say(bare: Caller) -> None:
    names = ["UNSPECIFIED", "FULL", "CENTER", "OVERLAPPING"]
    covers = [
        set((await bare.call("CoverArea", cover_request([SQUARE], containment=f"CONTAINMENT_{name}"))).cells)
        for name in names
    ]
    assert covers[1] < covers[2] < covers[3]
    assert covers[0] == covers[2]


async def test_covers_a_multipolygon_with_altitudes_and_compacts_it(bare: Caller) -> None:
    with_altitude = [[[lng, lat, 100.5] for lng, lat in SQUARE]]
    beside = [[[lng + 10, lat] for lng, lat in SQUARE]]
    plain = await bare.call("CoverArea", cover_request([with_altitude, beside], "MultiPolygon"))
    compacted = await bare.call("CoverArea", cover_request([with_altitude, beside], "MultiPolygon", compact=True))
    assert compacted.cell_count == plain.cell_count == len(plain.cells)
    assert len(compacted.cells) < len(plain.cells)
    assert set(h3.uncompact_cells(compacted.cells, 5)) == set(plain.cells)


async def test_covers_across_the_antimeridian_and_over_a_pole(bare: Caller) -> None:
    fiji = [[[179, -18], [-179, -18], [-179, -16], [179, -16], [179, -18]]]
    cells = (await bare.call("CoverArea", cover_request(fiji))).cells
    assert h3.latlng_to_cell(-17, 179.5, 5) in cells
    assert h3.latlng_to_cell(-17, -179.5, 5) in cells
    assert h3.latlng_to_cell(-17, 0, 5) not in cells
    arctic = [[[0, 80], [120, 80], [-120, 80], [0, 80]]]
    cells = (await bare.call("CoverArea", cover_request(arctic, resolution=3))).cells
    assert h3.latlng_to_cell(90, 0, 3) in cells
    assert h3.latlng_to_cell(85, 180, 3) in cells


async def test_an_area_between_the_centres_has_no_cells(bare: Caller) -> None:
    lat, lng = h3.cell_to_boundary("8928308280fffff")[0]
    speck = [[[lng, lat], [lng + 1e-5, lat], [lng, lat + 1e-5], [lng, lat]]]
    reply = await bare.call("CoverArea", cover_request(speck, resolution=9, compact=True))
    assert (list(reply.cells), reply.cell_count) == ([], 0)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"resolution": 16}, "resolution"),
        ({"resolution": -1}, "resolution"),
        ({"containment": 9}, "containment"),
        ({"area": {"type": "Point", "coordinates": [1, 2]}}, "area.type"),
        ({"area": {"type": "Polygon"}}, "area.coordinates"),
        ({"area": None}, "area"),
        ({"resolution": None}, "resolution"),
    ],
)
async def test_refuses_a_cover_that_breaks_a_rule(bare: Caller, fields: dict[str, Any], named: str) -> None:
    refusal = await refused(bare.call("CoverArea", cover_request([SQUARE], **fields)))
    assert (refusal.code, list(refusal.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, [named])


@pytest.mark.parametrize(
    ("coordinates", "named", "wanted"),
    [
        ([], "area.coordinates", "must have a ring"),
        ([3], "area.coordinates[0]", "must be an array"),
        ([[]], "area.coordinates[0]", "at least 4 positions"),
        ([SQUARE[:3]], "area.coordinates[0]", "at least 4 positions"),
        ([[*SQUARE[:3], "x", [0, 0]]], "area.coordinates[0][3]", "must be an array"),
        ([[*SQUARE[:3], [1], [0, 0]]], "area.coordinates[0][3]", "two numbers"),
        ([[*SQUARE[:3], [1, None], [0, 0]]], "area.coordinates[0][3]", "two numbers"),
        ([[*SQUARE[:3], [1, 2, "high"], [0, 0]]], "area.coordinates[0][3]", "two numbers"),
        ([[*SQUARE[:3], [181, 2], [0, 0]]], "area.coordinates[0][3]", "longitude from -180 to 180"),
        ([[*SQUARE[:3], [2, 90.5], [0, 0]]], "area.coordinates[0][3]", "latitude from -90 to 90"),
        ([SQUARE[:4]], "area.coordinates[0]", "must end where it begins"),
        ([[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]], "area.coordinates[0]", "crosses or touches itself at [1, 1]"),
        ([SQUARE, [[5, 5], [6, 5], [6, 6], [5, 5]]], "area.coordinates[1]", "outside of its polygon's outer ring"),
        ([SQUARE, SQUARE], "area.coordinates", "its holes fill it"),
    ],
)
async def test_refuses_what_is_no_polygon_and_names_the_place(
    bare: Caller, coordinates: Any, named: str, wanted: str
) -> None:
    refusal = await refused(bare.call("CoverArea", cover_request(coordinates)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_GEOMETRY")
    assert list(refusal.fields) == [named]
    assert wanted in refusal.fields[named]


async def test_refuses_a_nan_in_a_polygon(bare: Caller) -> None:
    request = cover_request([SQUARE])
    request.area.coordinates.values[0].list_value.values[1].list_value.values[0].number_value = float("nan")
    assert list((await refused(bare.call("CoverArea", request))).fields) == ["area.coordinates[0][1]"]


async def test_names_the_ring_within_a_multipolygon(bare: Caller) -> None:
    bow = [[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]
    refusal = await refused(bare.call("CoverArea", cover_request([[SQUARE], [bow]], "MultiPolygon")))
    assert list(refusal.fields) == ["area.coordinates[1][0]"]
    refusal = await refused(bare.call("CoverArea", cover_request([[SQUARE], []], "MultiPolygon")))
    assert refusal.fields == {"area.coordinates[1]": "must have a ring"}


async def test_refuses_more_positions_than_it_reads(bare: Caller) -> None:
    rings = [[[0, 0], *([[1, 0], [1, 1]] * 2000), [0, 0]]] * 3
    refusal = await refused(bare.call("CoverArea", cover_request(rings)))
    assert refusal.fields == {"area.coordinates": "must have at most 10000 positions"}


async def test_refuses_a_cover_without_bounds_before_it_works(bare: Caller) -> None:
    refusal = await refused(bare.call("CoverArea", cover_request([SQUARE], resolution=15, compact=True)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "RESULT_TOO_LARGE")
    assert refusal.fields["resolution"].endswith("more than 5000; the finest resolution that fits is 6")
