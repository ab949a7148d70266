"""Reading trajectories, asked of the real service."""

import itertools
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from geomesh.trajectory.v1 import trajectory_pb2 as pb
from meshkit.paging import PageToken, Position
from tests.refusals import refused
from tests.trajectory.conftest import As, Caller, at, position, struct, window

READS = [
    ("GetTrajectory", pb.GetTrajectoryRequest),
    ("SummarizeTrajectory", pb.SummarizeTrajectoryRequest),
    ("DetectStays", pb.DetectStaysRequest),
]


async def test_an_unknown_entity_or_a_time_without_positions_is_not_found(acme: Caller) -> None:
    await acme.ingest(position(seconds=100))
    for method, request_type in READS:
        for request in (request_type(entity_id="nobody"), request_type(entity_id="ship", **window(0, 100))):
            answer = await refused(acme.call(method, request))
            assert answer == (grpc.StatusCode.NOT_FOUND, "TRAJECTORY_NOT_FOUND", [])


async def test_refuses_an_end_that_is_not_after_the_start(acme: Caller) -> None:
    for (method, request_type), end in itertools.product(READS, [0.0, -1.0]):
        answer = await refused(acme.call(method, request_type(entity_id="ship", **window(0, end))))
        assert answer == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["end_time"])


async def test_another_tenants_entity_is_not_found(as_tenant: As) -> None:
    await as_tenant("acme").ingest(position())
    for (method, request_type), other in itertools.product(READS, ["other", None]):
        answer = await refused(as_tenant(other).call(method, request_type(entity_id="ship")))
        assert answer == (grpc.StatusCode.NOT_FOUND, "TRAJECTORY_NOT_FOUND", [])


async def test_everyone_reads_what_is_public(as_tenant: As) -> None:
    await as_tenant("public").ingest(position())
    assert (await as_tenant(None).track()).point_count == 1
    assert (await as_tenant("acme").track()).point_count == 1


async def test_an_entity_of_ones_own_hides_a_public_one(as_tenant: As) -> None:
    await as_tenant("public").ingest(position(lat=1.0), position(seconds=1))
    await as_tenant("acme").ingest(position(lat=2.0))
    assert [point.location.lat for point in (await as_tenant("acme").track()).points] == [2.0]
    assert (await as_tenant("other").track()).point_count == 2


async def test_ingest_needs_a_token_and_a_role(as_tenant: As) -> None:
    assert (await refused(as_tenant(None).ingest(position())))[1] == "TOKEN_MISSING"
    assert (await refused(as_tenant("acme", "public").ingest(position())))[1] == "PERMISSION_MISSING"
    assert (await refused(as_tenant(None).stream([position()])))[1] == "TOKEN_MISSING"


async def test_the_window_holds_its_start_and_not_its_end(acme: Caller) -> None:
    await acme.ingest(*(position(seconds=second) for second in range(5)))
    track = await acme.track(**window(1, 3))
    assert [point.time.ToDatetime().second for point in track.points] == [1, 2]


async def test_pages_make_the_whole_track_in_every_format(acme: Caller) -> None:
    await acme.ingest(*(position(seconds=second, lat=second / 100) for second in range(25)))
    for chosen in (pb.TRAJECTORY_FORMAT_POINTS, pb.TRAJECTORY_FORMAT_GPX, pb.TRAJECTORY_FORMAT_POLYLINE):
        counts, token = [], ""
        for _ in itertools.count():
            page = await acme.track(page_size=10, page_token=token, format=chosen)
            counts.append(page.point_count)
            token = page.next_page_token
            if not token:
                break
        assert counts == [10, 10, 5]


async def test_a_page_that_ends_with_the_track_has_no_next(acme: Caller) -> None:
    await acme.ingest(*(position(seconds=second) for second in range(10)))
    assert (await acme.track(page_size=10)).next_page_token == ""


async def test_page_size_is_clamped_and_not_negative(acme: Caller) -> None:
    await acme.ingest(*(position(seconds=second) for second in range(1200)))
    assert (await acme.track()).point_count == 1000
    assert (await acme.track(page_size=2_000_000_000)).point_count == 1200
    assert (await refused(acme.track(page_size=-1)))[2] == ["page_size"]


async def test_refuses_the_page_token_of_another_query(acme: Caller) -> None:
    await acme.ingest(*(position(seconds=second) for second in range(5)))
    token = (await acme.track(page_size=2)).next_page_token
    for other in ({"entity_id": "boat"}, {"format": pb.TRAJECTORY_FORMAT_GPX}, window(1)):
        answer = await refused(acme.track(page_size=2, page_token=token, **other))
        assert answer == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", ["page_token"])


async def test_refuses_a_forged_page_token(acme: Caller) -> None:
    await acme.ingest(position(), position(seconds=1))
    forged: list[Position] = [
        (datetime.max.replace(tzinfo=UTC),),
        (at(0), at(1)),
        ("ship",),
        (),
    ]
    track, stays = pb.GetTrajectoryRequest(entity_id="ship"), pb.DetectStaysRequest(entity_id="ship")
    for token in forged:
        track.page_token = PageToken.encode(token, query=track)
        stays.page_token = PageToken.encode(token, query=stays)
        for call in (acme.call("GetTrajectory", track), acme.call("DetectStays", stays)):
            answer = await refused(call)
            assert answer == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", ["page_token"])


async def test_a_page_of_long_attributes_ends_early(acme: Caller) -> None:
    long = struct(**{f"name{number}": "x" * 256 for number in range(16)})
    await acme.ingest(*(position(seconds=second, attributes=long) for second in range(400)))
    first = await acme.track(page_size=1000)
    assert 100 < first.point_count < 400
    rest = await acme.track(page_size=1000, page_token=first.next_page_token)
    assert first.point_count + rest.point_count == 400


async def test_simplified_pages_make_the_simplified_track(acme: Caller) -> None:
    await acme.ingest(*(position(seconds=second, lat=(second % 2) / 10, lng=second / 10) for second in range(30)))
    options: dict[str, Any] = {"simplify": pb.SIMPLIFY_DOUGLAS_PEUCKER, "tolerance_meters": 100.0}
    whole = await acme.track(**options)
    assert (whole.point_count, whole.unsimplified_count) == (30, 30)
    first = await acme.track(**options, page_size=20)
    second = await acme.track(**options, page_size=20, page_token=first.next_page_token)
    assert [*first.points, *second.points] == list(whole.points)
    assert second.next_page_token == ""


async def test_a_huge_tolerance_leaves_the_ends(acme: Caller) -> None:
    await acme.ingest(*(position(seconds=second, lat=second / 100) for second in range(9)))
    for simplify in (pb.SIMPLIFY_DOUGLAS_PEUCKER, pb.SIMPLIFY_TIME_RATIO):
        track = await acme.track(simplify=simplify, tolerance_meters=1_000_000)
        assert [point.time.ToDatetime().second for point in track.points] == [0, 8]


async def test_refuses_a_tolerance_out_of_range(acme: Caller) -> None:
    for tolerance in (-1.0, 1e7, float("nan"), float("inf")):
        answer = await refused(acme.track(simplify=pb.SIMPLIFY_TIME_RATIO, tolerance_meters=tolerance))
        assert answer == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["tolerance_meters"])


async def test_refuses_a_tolerance_without_an_algorithm(acme: Caller) -> None:
    assert (await refused(acme.track(tolerance_meters=5.0)))[2] == ["tolerance_meters"]


async def test_a_track_too_long_to_take_whole_is_refused(acme: Caller) -> None:
    await acme.ingest(*(position(seconds=second) for second in range(2501)))
    for method, request in [
        ("GetTrajectory", pb.GetTrajectoryRequest(entity_id="ship", simplify=pb.SIMPLIFY_TIME_RATIO)),
        ("SummarizeTrajectory", pb.SummarizeTrajectoryRequest(entity_id="ship")),
        ("DetectStays", pb.DetectStaysRequest(entity_id="ship")),
    ]:
        answer = await refused(acme.call(method, request))
        assert answer == (grpc.StatusCode.INVALID_ARGUMENT, "RESULT_TOO_LARGE", ["end_time"])
    assert (await acme.track()).point_count == 1000


async def test_a_track_of_one_position_has_every_format_and_summary(acme: Caller) -> None:
    await acme.ingest(position())
    geojson = MessageToDict((await acme.track(format=pb.TRAJECTORY_FORMAT_GEOJSON)).geojson)
    assert geojson["geometry"] == {"type": "Point", "coordinates": [2.0, 1.0]}
    assert (await acme.track(format=pb.TRAJECTORY_FORMAT_POLYLINE)).polyline == "_ibE_seK"
    assert "<trkpt" in (await acme.track(format=pb.TRAJECTORY_FORMAT_GPX)).gpx
    summary = await acme.call("SummarizeTrajectory", pb.SummarizeTrajectoryRequest(entity_id="ship"))
    assert (summary.position_count, summary.length_meters, summary.cell_count) == (1, 0.0, 1)
    assert not summary.HasField("speed")
    assert not summary.HasField("bearing")
    assert not summary.HasField("straightness")
    stays = await acme.call("DetectStays", pb.DetectStaysRequest(entity_id="ship"))
    assert len(stays.stays) == 0


async def test_summarizes_a_degree_along_the_equator(acme: Caller) -> None:
    await acme.ingest(*(position(seconds=60 * step, lat=0.0, lng=179.5 + step / 10) for step in range(6)))
    await acme.ingest(*(position(seconds=60 * step, lat=0.0, lng=-180.5 + step / 10) for step in range(6, 11)))
    summary = await acme.call("SummarizeTrajectory", pb.SummarizeTrajectoryRequest(entity_id="ship", cell_resolution=0))
    assert summary.length_meters == pytest.approx(111_319.49, abs=0.01)
    assert summary.speed.mean == pytest.approx(111_319.49 / 600, abs=0.01)
    assert summary.bearing.mean == pytest.approx(90.0)
    assert summary.straightness == pytest.approx(1.0)
    assert (summary.bounding_box.west, summary.bounding_box.east) == (179.5, -179.5)
    assert summary.duration.seconds == summary.moving_duration.seconds == 600


async def test_refuses_bad_fields_of_summaries_and_stays(acme: Caller) -> None:
    summary, stays = pb.SummarizeTrajectoryRequest, pb.DetectStaysRequest
    requests: list[tuple[str, Any, str]] = [
        ("SummarizeTrajectory", summary(entity_id="ship", cell_resolution=16), "cell_resolution"),
        (
            "SummarizeTrajectory",
            summary(entity_id="ship", stop_speed_meters_per_second=0),
            "stop_speed_meters_per_second",
        ),
        ("SummarizeTrajectory", summary(entity_id=""), "entity_id"),
        ("DetectStays", stays(entity_id="ship", max_distance_meters=0), "max_distance_meters"),
        ("DetectStays", stays(entity_id="ship", max_distance_meters=float("nan")), "max_distance_meters"),
        ("DetectStays", stays(entity_id="ship", min_duration=Duration(seconds=-5)), "min_duration"),
        ("DetectStays", stays(entity_id="ship", min_duration=Duration()), "min_duration"),
        ("DetectStays", stays(entity_id="ship", page_size=-1), "page_size"),
    ]
    for method, request, field in requests:
        answer = await refused(acme.call(method, request))
        assert answer == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", [field])


async def test_finds_stays_page_by_page(acme: Caller) -> None:
    # Ten minutes at each of three places a degree apart.
    await acme.ingest(
        *(position(seconds=3600 * place + 60 * minute, lng=float(place)) for place in range(3) for minute in range(11))
    )
    request = pb.DetectStaysRequest(entity_id="ship", page_size=2)
    first = await acme.call("DetectStays", request)
    request.page_token = first.next_page_token
    second = await acme.call("DetectStays", request)
    stays = [*first.stays, *second.stays]
    assert [stay.location.lng for stay in stays] == pytest.approx([0.0, 1.0, 2.0])
    assert [stay.duration.seconds for stay in stays] == [600] * 3
    assert [stay.departed for stay in stays] == [True, True, False]
    assert [stay.position_count for stay in stays] == [11] * 3
    assert second.next_page_token == ""
