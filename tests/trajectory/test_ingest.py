"""Storing positions, asked of the real service."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import grpc
import pytest

from geomesh.trajectory.v1 import trajectory_pb2 as pb
from geomesh.types.v1.types_pb2 import Location
from meshkit.postgres import Postgres
from tests.refusals import refused, told
from tests.trajectory.conftest import Caller, at, position, struct


async def test_returns_what_was_ingested(acme: Caller) -> None:
    sent = position(
        seconds=1.5,
        lat=-12.25,
        lng=179.5,
        altitude=12.25,
        accuracy=3.5,
        speed=1.25,
        bearing=359.5,
        attributes=struct(a="é", b=1.5, c=True),
    )
    reply = await acme.ingest(sent)
    assert (reply.accepted_count, reply.duplicate_count, reply.rejected_count) == (1, 0, 0)
    (point,) = (await acme.track()).points
    expected = pb.TrackPoint(
        time=sent.time,
        location=sent.location,
        altitude=12.25,
        accuracy=3.5,
        speed=1.25,
        bearing=359.5,
        attributes=struct(a="é", b=1.5, c=True),
    )
    assert point == expected


async def test_what_was_not_measured_stays_absent(acme: Caller) -> None:
    await acme.ingest(position())
    (point,) = (await acme.track()).points
    assert not any(point.HasField(name) for name in ("altitude", "accuracy", "speed", "bearing"))


async def test_a_measured_zero_is_not_absent(acme: Caller) -> None:
    await acme.ingest(position(speed=0.0, bearing=0.0))
    (point,) = (await acme.track()).points
    assert point.HasField("speed")
    assert point.HasField("bearing")


async def test_late_positions_take_their_place(acme: Caller) -> None:
    await acme.ingest(position(seconds=20), position(seconds=0))
    await acme.ingest(position(seconds=10))
    times = [point.time.seconds for point in (await acme.track()).points]
    assert times == [int(at(seconds).timestamp()) for seconds in (0, 10, 20)]


async def test_a_duplicate_is_counted_and_changes_nothing(acme: Caller) -> None:
    await acme.ingest(position(lat=1.0))
    reply = await acme.ingest(position(lat=9.0), position(seconds=1), position(seconds=1, lat=3.0))
    assert (reply.accepted_count, reply.duplicate_count) == (3, 2)
    assert [point.location.lat for point in (await acme.track()).points] == [1.0, 1.0]


async def test_positions_of_many_years_are_kept(acme: Caller) -> None:
    seconds = [-60.0 * 366 * 86_400, -23.0 * 366 * 86_400, -86_400.0 * 5, 0.0, 86_400.0 * 40]
    await acme.ingest(*(position(seconds=each) for each in seconds))
    assert (await acme.track()).point_count == 5


async def test_the_first_second_of_the_year_1000_is_kept(acme: Caller) -> None:
    first = position()
    first.time.seconds = -30610224000
    await acme.ingest(first)
    assert (await acme.track()).points[0].time == first.time


async def test_a_stream_stores_every_chunk_and_counts_over_all(acme: Caller) -> None:
    chunks = [[position(f"e{index}", chunk) for index in range(700)] for chunk in range(3)]
    chunks[2][5] = position(lat=91.0)
    reply = await acme.stream(*chunks)
    assert (reply.accepted_count, reply.duplicate_count, reply.rejected_count) == (2099, 0, 1)
    assert [error.index for error in reply.errors] == [1405]
    assert (await acme.track("e5")).point_count == 2


async def test_a_stream_sent_again_stores_nothing_twice(acme: Caller) -> None:
    chunk = [position(seconds=second) for second in range(10)]
    await acme.stream(chunk)
    reply = await acme.stream(chunk, chunk)
    assert (reply.accepted_count, reply.duplicate_count) == (20, 20)


async def test_a_stream_that_broke_off_is_made_whole_by_sending_it_again(acme: Caller) -> None:
    chunks = [[position(seconds=10 * number + second) for second in range(10)] for number in range(3)]
    sent = asyncio.Event()

    async def two_chunks_and_silence() -> AsyncIterator[pb.IngestPositionsRequest]:
        yield pb.IngestPositionsRequest(positions=chunks[0])
        yield pb.IngestPositionsRequest(positions=chunks[1])
        sent.set()
        await asyncio.Event().wait()

    call = acme.stub.IngestPositions(two_chunks_and_silence(), metadata=acme.metadata)
    await sent.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    reply = await acme.stream(*chunks)
    assert (reply.accepted_count, (await acme.track()).point_count) == (30, 30)


async def test_a_stream_whose_storing_fails_acknowledges_nothing(acme: Caller, database: Postgres) -> None:
    await database.close()
    answer = await refused(acme.stream([position()], [position(seconds=1)]))
    assert answer == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", [])


async def test_a_stream_without_chunks_stores_nothing(acme: Caller) -> None:
    assert (await acme.stream()).accepted_count == 0


async def test_a_stream_explains_a_thousand_errors_and_counts_all(acme: Caller) -> None:
    reply = await acme.stream([position(lat=91.0)] * 600, [position(lat=91.0)] * 600, [position()])
    assert (len(reply.errors), reply.rejected_count, reply.accepted_count) == (1000, 1200, 1)


async def test_two_streams_with_the_same_new_entities_do_not_block_each_other(acme: Caller) -> None:
    chunks = [[position(f"e{index}", second) for index in range(300)] for second in range(4)]
    replies = await asyncio.gather(acme.stream(*chunks), acme.stream(*(chunk[::-1] for chunk in chunks[::-1])))
    assert sum(reply.accepted_count - reply.duplicate_count for reply in replies) == 1200


BAD_POSITIONS = [
    (position(lat=91.0), "INVALID_FIELD", "location.lat"),
    (position(lng=float("nan")), "INVALID_FIELD", "location.lng"),
    (position(lng=180.5), "INVALID_FIELD", "location.lng"),
    (position(speed=-1.0), "INVALID_FIELD", "speed"),
    (position(speed=float("nan")), "INVALID_FIELD", "speed"),
    (position(bearing=360.0), "INVALID_FIELD", "bearing"),
    (position(accuracy=-1.0), "INVALID_FIELD", "accuracy"),
    (position(altitude=float("inf")), "INVALID_FIELD", "altitude"),
    (position("a:summary"), "INVALID_FIELD", "entity_id"),
    (position("a" * 129), "INVALID_FIELD", "entity_id"),
    (position(attributes=struct(a="b" * 257)), "INVALID_FIELD", "attributes.a"),
    (position(attributes=struct(a=float("nan"))), "INVALID_FIELD", "attributes.a"),
    (position(attributes=struct(a=None)), "INVALID_FIELD", "attributes.a"),
    (position(attributes=struct(a=[1.0])), "INVALID_FIELD", "attributes.a"),
    (position(attributes=struct(**{"a:b": 1.0})), "INVALID_FIELD", "attributes"),
    (position(attributes=struct(**{f"name{number}": 1.0 for number in range(33)})), "INVALID_FIELD", "attributes"),
    (position(attributes=struct(a="b\x00")), "INVALID_FIELD", "attributes.a"),
    (position(seconds=10 * 365 * 86_400), "TIME_IN_FUTURE", "time"),
    (position(seconds=-1023 * 365.25 * 86_400), "INVALID_FIELD", "time"),
    (pb.Position(entity_id="ship", location=Location(lat=0.0, lng=0.0)), "INVALID_FIELD", "time"),
    (pb.Position(entity_id="ship", location=Location(lng=1.0), time=position().time), "INVALID_FIELD", "location.lat"),
]


async def test_bad_positions_are_reported_by_index_and_the_good_ones_kept(acme: Caller) -> None:
    mixed = [[bad, position(seconds=index)] for index, (bad, _, _) in enumerate(BAD_POSITIONS)]
    reply = await acme.ingest(*itertools.chain.from_iterable(mixed))
    found = [(error.index, *told(error.status)) for error in reply.errors]
    assert found == [(2 * index, reason, [field]) for index, (_, reason, field) in enumerate(BAD_POSITIONS)]
    assert (reply.accepted_count, reply.rejected_count) == (len(BAD_POSITIONS), len(BAD_POSITIONS))
    assert (await acme.track()).point_count == len(BAD_POSITIONS)


async def test_a_position_within_the_clock_skew_is_kept(acme: Caller) -> None:
    soon = position()
    soon.time.GetCurrentTime()
    soon.time.seconds += 30
    assert (await acme.ingest(soon)).accepted_count == 1


async def test_refuses_an_empty_batch(acme: Caller) -> None:
    assert await refused(acme.ingest()) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["positions"])


async def test_a_poles_track_is_kept(acme: Caller) -> None:
    await acme.ingest(position(lat=90.0, lng=0.0), position(seconds=1, lat=-90.0, lng=180.0))
    summary = await acme.call("SummarizeTrajectory", pb.SummarizeTrajectoryRequest(entity_id="ship"))
    assert summary.length_meters == pytest.approx(20_003_931.46, abs=0.1)
