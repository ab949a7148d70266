"""Sends the committed sample of AirNow through the API as if it came in now: `python -m airquality.replay`.

Nobody can take it for the truth: its stations are called `replay-…`, their provider is `replay`, their names end in
`(replay)`, and they belong to the caller's tenant, which must not be the public one.
"""

import argparse
import asyncio
import csv
import gzip
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from airquality.load import LICENCE, TABLES, read_sites
from airquality.stations import Station
from airquality.units import Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.airquality.v1.airquality_pb2_grpc import AirQualityServiceStub
from geomesh.auth.v1 import auth_pb2
from geomesh.auth.v1.auth_pb2_grpc import AuthServiceStub
from geomesh.types.v1.types_pb2 import Location
from meshkit.identity import PUBLIC_TENANT
from meshkit.settings import CHECKOUT

PROVIDER: Final = "replay"

_EMAIL, _PASSWORD = "GEOMESH_REPLAY_EMAIL", "GEOMESH_REPLAY_PASSWORD"  # the names of variables
_LONGEST_PAUSE_SECONDS: Final = 60.0
_MISSING: Final = -999.0
_STATIONS_AT_ONCE: Final = 500
_READINGS_AT_ONCE: Final = 5_000
_ID_LENGTH: Final = 64


class Measured(NamedTuple):
    """A value of one hour."""

    station_id: str
    pollutant: Pollutant
    unit: int
    value: float


def stations_of(sites: list[Station]) -> list[pb.Station]:
    """Returns the stations under names that say what they are."""
    return [
        pb.Station(
            station_id=f"{PROVIDER}-{each.station_id}"[:_ID_LENGTH],
            provider=PROVIDER,
            name=f"{each.name} (replay)",
            agency=each.agency,
            location=Location(lat=each.lat, lng=each.lng),
        )
        for each in sites
    ]


def hours_of(data_dir: Path) -> Iterator[list[Measured]]:
    """Yields what was measured in each hour of the sample, the first of them 10 August 2020, 01:00 UTC."""
    tables = [_rows(data_dir / table.name, table.pollutant, table.unit) for table in TABLES]
    found = [next(table, None) for table in tables]
    while any(found):
        hour = min(each[0] for each in found if each)
        yield [row for each in found if each and each[0] == hour for row in each[1]]
        found = [
            next(table, None) if each and each[0] == hour else each for table, each in zip(tables, found, strict=True)
        ]


def _rows(path: Path, pollutant: Pollutant, unit: int) -> Iterator[tuple[str, list[Measured]]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for hour, rows in groupby(csv.DictReader(file), key=lambda row: row["utc"]):
            values = ((row["fullaqsid"], float(row["raw_concentration"])) for row in rows)
            yield (
                hour,
                [
                    Measured(f"{PROVIDER}-airnow-{site}"[:_ID_LENGTH], pollutant, unit, value)
                    for site, value in values
                    if value != _MISSING
                ],
            )


async def replay(target: str, account: tuple[str, str], data_dir: Path, *, speed: float, hours: int | None) -> str:
    """Sends the sample, an hour of it each 3600 / `speed` seconds, and returns how many readings that were.

    A reading's time is the moment it is sent less one hour, as that of a feed is which reports an hour when it is over:
    at a speed other than 1 the hours of the sample lie closer together, and averages over them mean nothing.

    Args:
        target: The gRPC address of the edge.
        account: E-mail and password of who sends.
        data_dir: The folder of the sample.
        speed: How much faster than life.
        hours: Hours of the sample to send; None for all.

    Raises:
        PermissionError: The account is of the public tenant.
        ValueError: A reading was refused.
    """
    pause = 3600 / speed
    async with grpc.aio.insecure_channel(target) as channel:
        stub = AirQualityServiceStub(channel)
        metadata = await _signed_in(channel, account)
        stations = stations_of(read_sites(data_dir))
        for start in range(0, len(stations), _STATIONS_AT_ONCE):
            request = pb.UpsertStationsRequest(stations=stations[start : start + _STATIONS_AT_ONCE])
            await stub.UpsertStations(request, metadata=metadata)
        measured = list(hours_of(data_dir))[:hours]
        # One stream for all, unless it would be silent for so long that the edge ends it.
        streams = [[each] for each in measured] if pause > _LONGEST_PAUSE_SECONDS else [measured]
        accepted = 0
        with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as bar:
            task = bar.add_task("hours of August 2020", total=len(measured))
            for number, stream in enumerate(streams):
                if number:
                    await asyncio.sleep(pause)
                    metadata = await _signed_in(channel, account)
                reply = await stub.IngestReadings(_chunks(stream, pause, bar, task), metadata=metadata)
                if reply.rejected_count:
                    raise ValueError(f"{reply.rejected_count} readings were refused: {reply.errors[0]}")
                accepted += reply.accepted_count
    return f"{accepted} readings of {len(measured)} hours"


async def _signed_in(channel: grpc.aio.Channel, account: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    auth = AuthServiceStub(channel)
    pair = await auth.Login(auth_pb2.LoginRequest(email=account[0], password=account[1]))
    metadata = (("authorization", f"Bearer {pair.access_token}"),)
    if (await auth.WhoAmI(auth_pb2.WhoAmIRequest(), metadata=metadata)).tenant == PUBLIC_TENANT:
        raise PermissionError("of the public tenant, where everybody would take a replay for the truth")
    return metadata


async def _chunks(
    stream: Sequence[list[Measured]], pause: float, bar: Progress, task: TaskID
) -> AsyncIterator[pb.IngestReadingsRequest]:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number, measured in enumerate(stream):
        await asyncio.sleep(max(0.0, begin + number * pause - loop.time()))
        # Whole milliseconds: two hours of the sample may come within a second.
        now = datetime.now(UTC)
        time = now.replace(microsecond=now.microsecond // 1000 * 1000) - timedelta(hours=1)
        for start in range(0, len(measured), _READINGS_AT_ONCE):
            yield _chunk(measured[start : start + _READINGS_AT_ONCE], time)
        bar.advance(task)


def _chunk(measured: Sequence[Measured], time: datetime) -> pb.IngestReadingsRequest:
    request = pb.IngestReadingsRequest()
    for each in measured:
        reading = request.readings.add(
            station_id=each.station_id,
            pollutant=pb.Pollutant.ValueType(each.pollutant),
            unit=pb.Unit.ValueType(each.unit),
            value=each.value,
        )
        reading.time.FromDatetime(time)
    return request


def main() -> None:
    """Replays, or ends with one line that says why not."""
    parser = argparse.ArgumentParser(prog="python -m airquality.replay", description=__doc__)
    parser.add_argument("--target", default="127.0.0.1:8080", help="gRPC address of the edge")
    parser.add_argument(
        "--speed", type=float, default=3600.0, help="how much faster than life; 3600 is an hour a second"
    )
    parser.add_argument("--hours", type=int, help="hours of the sample to send; all by default")
    parser.add_argument("--data", type=Path, default=CHECKOUT / "data", help="the folder of the sample")
    options = parser.parse_args()
    account = os.environ.get(_EMAIL, ""), os.environ.get(_PASSWORD, "")
    if not all(account):
        sys.exit(f"{_EMAIL} and {_PASSWORD} must be set: an account of the tenant that is to get the replay")
    if not (options.speed > 0 and (options.hours is None or options.hours > 0)):
        sys.exit("--speed and --hours must be positive")
    console = Console()
    console.print(f"This is a replay of {LICENCE}")
    work = replay(options.target, account, options.data, speed=options.speed, hours=options.hours)
    try:
        console.print(f"replayed {asyncio.run(work)}")
    except grpc.aio.AioRpcError as error:
        sys.exit(f"{options.target}: {error.code().name}: {error.details()}")
    except PermissionError as error:
        sys.exit(f"{_EMAIL}: {error}")
    except ValueError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped")


if __name__ == "__main__":
    main()
