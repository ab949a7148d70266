"""The service is killed in the middle of ingest: what it acknowledged is there, and nothing twice."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import numpy as np

from airquality.blocks import Blocks, Slots
from airquality.readings import Ints, Readings
from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.postgres import Postgres
from tests.airquality.conftest import reading, station
from tests.airquality.processes import service
from tests.meshkit.conftest import Issuer

STATIONS, BATCH = 5, 40


def batch(number: int) -> list[pb.Reading]:
    """Returns a batch whose readings no other has."""
    return [
        reading(number * BATCH // STATIONS + place // STATIONS, float(place % 7), f"s{place % STATIONS}")
        for place in range(BATCH)
    ]


async def test_every_acknowledged_reading_is_there_once_after_kill_9(
    issuer: tuple[Issuer, int],
    database: Postgres,
    database_url: Callable[[str], str],
    redis_url: str,
    tmp_path: Path,
) -> None:
    acknowledged: list[int] = []
    enough = asyncio.Event()
    async with service(issuer, database_url("airquality"), redis_url, tmp_path / "log") as (process, caller):
        await caller.register(*[station(f"s{number}") for number in range(STATIONS)])

        async def send(first: int) -> None:
            for number in range(first, 10_000, 4):
                try:
                    await caller.ingest(*batch(number))
                except grpc.aio.AioRpcError:
                    return
                acknowledged.append(number)
                if len(acknowledged) == 20:
                    enough.set()

        senders = [asyncio.create_task(send(first)) for first in range(4)]
        async with asyncio.timeout(60):
            await enough.wait()
        assert process.returncode is None
        process.send_signal(signal.SIGKILL)
        await asyncio.gather(*senders)
    await check(database, acknowledged)
    async with service(issuer, database_url("airquality"), redis_url, tmp_path / "log") as (_, caller):
        again = [await caller.ingest(*batch(number)) for number in range(max(acknowledged) + 1)]
    assert all(reply.accepted_count == BATCH for reply in again)
    assert all(again[number].changed_count == 0 for number in acknowledged)
    await check(database, list(range(max(acknowledged) + 1)))


async def test_a_stream_that_was_killed_is_sent_again_whole(
    issuer: tuple[Issuer, int],
    database: Postgres,
    database_url: Callable[[str], str],
    redis_url: str,
    tmp_path: Path,
) -> None:
    chunks = [batch(number) for number in range(40)]
    async with service(issuer, database_url("airquality"), redis_url, tmp_path / "log") as (process, caller):
        await caller.register(*[station(f"s{number}") for number in range(STATIONS)])

        async def until_killed() -> AsyncIterator[pb.IngestReadingsRequest]:
            for chunk in chunks[:-1]:
                yield pb.IngestReadingsRequest(readings=chunk)
            while not await database.fetchval("SELECT count(*) FROM airquality.readings"):
                assert process.returncode is None
                await asyncio.sleep(0.005)
            process.send_signal(signal.SIGKILL)

        try:
            await caller.stub.IngestReadings(until_killed(), metadata=caller.metadata, timeout=60)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 -- what a client sees
        else:
            raise AssertionError("a killed service has acknowledged")
    async with service(issuer, database_url("airquality"), redis_url, tmp_path / "log") as (_, caller):
        assert (await caller.stream(*chunks)).accepted_count == 40 * BATCH
    await check(database, list(range(40)))
    assert await database.fetchval("SELECT count(*) FROM airquality.readings") == 40 * BATCH


async def check(database: Postgres, numbers: list[int]) -> None:
    """Asserts that all readings of some batches are stored, none twice, and that the memory is that of the readings."""
    rows = await database.fetch(
        "SELECT stations.station_id, stations.id, pollutant, averaging_period, unit,"
        " (extract(epoch FROM time) * 1000000)::int8 AS time, value, flags"
        " FROM airquality.readings JOIN airquality.stations ON stations.id = readings.station_id"
        " ORDER BY stations.id, pollutant, averaging_period, time",
        tenant="acme",
    )
    found = [(row["station_id"], row["time"], row["value"]) for row in rows]
    assert len(found) == len({each[:2] for each in found})
    sent = {(each.station_id, each.time.ToMicroseconds(), each.value) for number in numbers for each in batch(number)}
    assert sent <= set(found)

    def column(name: str) -> Ints:
        return np.array([row[name] for row in rows], dtype=np.int64)

    readings = Readings(
        column("id"),
        column("pollutant"),
        column("averaging_period"),
        column("unit"),
        column("time"),
        np.array([row["value"] for row in rows]),
    )
    slots = Slots.of(readings, column("flags"))
    made_anew = Blocks.empty(slots.keys)
    made_anew.fold(slots)
    stored = await database.fetch("SELECT hours FROM airquality.days ORDER BY station_id, day")
    assert [row["hours"] for row in stored] == [day.tobytes() for day in made_anew.hours]
