"""From a reading that is sent to a webhook that is told: ingest, outbox, relay, Redis stream, evaluation, delivery."""

import base64
import csv
import gzip
import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from redis import asyncio as driver

from airquality.forecast.boosting import Parameters
from airquality.forecast.frame import POLLUTANTS, WEATHER
from airquality.forecast.training import train
from airquality.forecast_repository import ForecastRepository
from airquality.live.eventformat import decode
from airquality.live.stream import KEY as STREAM
from airquality.load import TABLES, read_sites
from airquality.readings import Readings
from airquality.recorder import Recorder
from airquality.repository import AirQualityRepository
from airquality.units import AveragingPeriod, Pollutant, Unit
from geomesh.airquality.v1 import airquality_pb2 as air
from geomesh.airquality.v1 import alerts_pb2 as pb
from meshkit.postgres import Postgres
from tests.airquality.alerting import KEY, Endpoint, endpoint, hours_ago, until
from tests.airquality.conftest import Caller, reading, station
from tests.airquality.processes import process
from tests.meshkit.conftest import CHECKOUT, Issuer

FIRED, RESOLVED = pb.ALERT_KIND_FIRED, pb.ALERT_KIND_RESOLVED
SETTINGS = {
    "KEY_ENCRYPTION_KEY": KEY,
    "ALERT_WEBHOOK_NETWORKS": '["127.0.0.0/8"]',
    "ALERT_POLL_SECONDS": 0.05,
    "ALERT_MAX_AGE_SECONDS": 604_800,
    "FORECAST_CHECK_SECONDS": 1,
}
STATIONS = 40


def at(hours: float, value: float, station_id: str = "here") -> air.Reading:
    """Returns a reading of PM2.5 of so many hours ago."""
    message = reading(0, value, station_id)
    message.time.FromDatetime(hours_ago(hours))
    return message


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Tells whether a post is signed with a secret, by the words of Standard Webhooks 1.0."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(headers["webhook-signature"], f"v1,{expected}")


async def test_a_reading_that_is_sent_to_one_process_is_told_once_to_a_webhook_by_two(
    issuer: tuple[Issuer, int], database_url: Callable[[str], str], redis_url: str, tmp_path: Path
) -> None:
    dsn = database_url("airquality")
    async with AsyncExitStack() as stack:
        hook: Endpoint = await stack.enter_async_context(endpoint())
        callers = [
            await stack.enter_async_context(process(issuer, dsn, redis_url, tmp_path / f"log-{number}", **SETTINGS))
            for number in range(2)
        ]
        (_, sender, _), (_, _, acme) = callers
        await sender.register(station())
        made = await acme.create(webhook_url=hook.url())
        await sender.ingest(at(5, 20.0))
        await sender.ingest(at(4, 120.0))
        await until(lambda: hook.posts)
        await sender.ingest(at(3, 30.0))
        await until(lambda: len(hook.posts) > 1)
        alerts = await acme.alerts()
        assert [(each.kind, each.value) for each in alerts] == [(FIRED, 120.0), (RESOLVED, 30.0)]
        for alert, (_, headers, body) in zip(alerts, hook.posts, strict=True):
            told = json.loads(body)
            assert told["alert_id"] == headers["webhook-id"] == alert.alert_id
            assert (told["value"], told["threshold"], told["station_ids"]) == (alert.value, 100.0, ["here"])
            assert abs(datetime.now(UTC).timestamp() - int(headers["webhook-timestamp"])) < 300
            assert is_signed(made.webhook_secret, headers, body)
            assert not is_signed(made.webhook_secret, headers, body.replace(b"here", b"gone"))
        # What was evaluated went through Redis, each reading in an event of its own, in order.
        client: Any = driver.Redis.from_url(redis_url)
        entries = await client.xrange(STREAM)
        await client.aclose()
        events = [decode(int(name.partition(b"-")[0]), fields[b"event"]) for name, fields in entries]
        assert [[each.value for each in event.readings] for event in events] == [[20.0], [120.0], [30.0]]
        await sender.ingest(at(2, 130.0))
        await until(lambda: len(hook.posts) > 2)
        assert len({headers["webhook-id"] for _, headers, _ in hook.posts}) == len(hook.posts) == 3


async def fill(database: Postgres) -> tuple[str, datetime, float]:
    """Stores the shipped sample's PM2.5 of the stations that report most, as if its last day were today's.

    Returns:
        A station that has the last hour, that hour, and its value, which is not stored.
    """
    series: dict[str, dict[datetime, float]] = defaultdict(dict)
    with gzip.open(CHECKOUT / "data" / TABLES[0].name, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (value := float(row["raw_concentration"])) > -100:
                series[row["fullaqsid"]][datetime.fromisoformat(row["utc"]).replace(tzinfo=UTC)] = value
    fullest = sorted(series, key=lambda each: (-len(series[each]), each))[:STATIONS]
    last = max(max(series[each]) for each in fullest)
    shift = timedelta(days=(hours_ago(1) - last) // timedelta(days=1))  # so that the hour of the day stays
    last_one = next(each for each in fullest if last in series[each])
    sites = {each.station_id: each for each in read_sites(CHECKOUT / "data")}
    places = [sites[f"airnow-{each}"] for each in fullest]
    await AirQualityRepository(database).upsert_stations("public", places)
    recorder = Recorder(database)
    numbers = await recorder.find_writable("public", [each.station_id for each in places])
    rows = [
        (numbers[place.station_id], int((time + shift).timestamp()) * 1_000_000, value)
        for name, place in zip(fullest, places, strict=True)
        for time, value in series[name].items()
        if (name, time) != (last_one, last)
    ]
    stations, times, values = zip(*rows, strict=True)
    readings = Readings(
        station=np.array(stations),
        pollutant=np.full(len(rows), Pollutant.PM25),
        averaging_period=np.full(len(rows), AveragingPeriod.HOUR),
        unit=np.full(len(rows), Unit.MICROGRAMS_PER_CUBIC_METER),
        time=np.array(times),
        value=np.array(values),
    )
    await recorder.store_readings("public", readings.last_by_key())
    return f"airnow-{last_one}", last + shift, series[last_one][last]


async def test_a_forecast_of_a_trained_model_raises_an_alert_that_is_delivered(
    issuer: tuple[Issuer, int],
    database: Postgres,
    database_url: Callable[[str], str],
    redis_url: str,
    tmp_path: Path,
) -> None:
    station_id, hour, value = await fill(database)
    repository = ForecastRepository(database)
    frame = await repository.find_trainable(Pollutant.PM25, (*POLLUTANTS, *WEATHER), None)
    assert frame is not None
    small = Parameters(rows=12_000, members=1, trees=10, leaves=15, fewest_in_leaf=20)
    await repository.add_model("pm25-sample", train(frame, Pollutant.PM25, small, lambda _words: None))
    assert await repository.activate_model("pm25-sample")
    running = process(issuer, database_url("airquality"), redis_url, tmp_path / "log", **SETTINGS)
    async with endpoint() as hook, running as (_, caller, acme):
        fields = {"measure": pb.ALERT_MEASURE_FORECAST, "station_id": station_id, "horizon_hours": 24}
        made = await acme.create(**fields, threshold=1.0, webhook_url=hook.url())
        await acme.create(**fields, threshold=5_000.0, webhook_url=hook.url("/never"))
        operator = Caller(caller.stub, (("authorization", f"Bearer {issuer[0].token('user', tenant='public')}"),))
        message = air.Reading(station_id=station_id, pollutant=air.POLLUTANT_PM25, value=value)
        message.time.FromDatetime(hour)
        assert (await operator.ingest(message)).changed_count == 1
        await until(lambda: hook.posts)
        (alert,) = await acme.alerts()
        moment = Timestamp()
        moment.FromDatetime(hour + timedelta(hours=1))
        forecast = await caller.call("GetForecast", air.GetForecastRequest(station_id=station_id, at=moment, hours=24))
        assert (forecast.method, forecast.model.version) == (air.FORECAST_METHOD_MODEL, "pm25-sample")
        assert alert.rule_id == made.rule.rule_id
        assert alert.value == max(each.value for each in forecast.hours) > 1.0
        ((path, headers, body),) = hook.posts
        assert (path, json.loads(body)["value"]) == ("/taken", alert.value)
        assert is_signed(made.webhook_secret, headers, body)
