"""From the transaction that stores readings to those who follow, through real Postgres and Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from redis import asyncio as driver

from airquality.events import EventBatch, EventExpired
from airquality.live import outbox
from airquality.live.stream import KEY
from airquality.live.wiring import Live
from airquality.readings import Readings
from airquality.recorder import Recorder
from airquality.repository import AirQualityRepository
from airquality.settings import Settings
from airquality.stations import Station
from meshkit.postgres import Postgres
from tests.airquality.conftest import START


class Store:
    """Stores readings as ingest does, and knows both stores."""

    def __init__(self, database: Postgres, settings: Settings) -> None:
        self.settings = settings
        self.database = database
        self.repository = AirQualityRepository(database)
        self.recorder = Recorder(database, outbox.append)
        self.redis: Any = driver.Redis.from_url(settings.redis_url.get_secret_value())
        self._hours = 0

    async def add(self, count: int = 1) -> None:
        """Stores so many events, each of one reading whose value is its number."""
        await self.repository.upsert_stations("acme", [Station("here", "tests", "", "", 40.0, -100.0)])
        number = (await self.recorder.find_writable("acme", ["here"]))["here"]
        for _ in range(count):
            self._hours += 1
            time = int(START.timestamp() + 3600 * self._hours) * 1_000_000
            one = np.array([1])
            value = np.array([float(self._hours)])
            readings = Readings(one * number, one, one, one, one * time, value)
            assert await self.recorder.store_readings("acme", readings)

    async def streamed(self) -> list[int]:
        """Returns the positions in Redis."""
        return [int(name.partition(b"-")[0]) for name, _ in await self.redis.xrange(KEY)]

    async def until_streamed(self, *positions: int) -> None:
        """Waits until Redis has exactly these."""
        async with asyncio.timeout(10):
            while await self.streamed() != list(positions):  # noqa: ASYNC110 -- of another task
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def live(self, **more: Any) -> AsyncIterator[Live]:
        """Runs the parts of one process."""
        live = Live(self.settings.model_copy(update=more), self.database)
        for each in live.dependencies:
            await each.start()
        try:
            yield live
        finally:
            for each in reversed(live.dependencies):
                await each.close()


@pytest.fixture
async def store(database: Postgres, database_url: Callable[[str], str], redis_url: str) -> AsyncIterator[Store]:
    settings = Settings(postgres_dsn=SecretStr(database_url("airquality")), redis_url=SecretStr(redis_url))
    store = Store(database, settings)
    yield store
    await store.redis.aclose()


async def first(batches: AsyncIterator[EventBatch], count: int) -> list[tuple[str, list[float]]]:
    """Returns ids and values of the first batches."""
    found = []
    async with asyncio.timeout(10):
        async for batch in batches:
            found.append((batch.event_id, [reading.value for reading in batch.readings]))
            if len(found) == count:
                break
    return found


async def test_an_event_is_there_if_and_only_if_its_readings_are(store: Store) -> None:
    await store.add(2)
    with pytest.raises(RuntimeError):
        async with store.database.transaction() as connection:
            await connection.execute("UPDATE airquality.last_event SET position = position + 1")
            raise RuntimeError
    await store.add()
    async with store.live() as live:
        assert await first(live.events.follow("0"), 3) == [("1", [1.0]), ("2", [2.0]), ("3", [3.0])]
        assert await first(live.events.follow("2"), 1) == [("3", [3.0])]


async def test_who_follows_from_now_on_gets_what_is_stored_then(store: Store) -> None:
    await store.add(3)
    async with store.live() as live:
        following = asyncio.create_task(first(live.events.follow(""), 2))
        while not following.done():
            await store.add()
            await asyncio.sleep(0.05)
        (one, _), (other, _) = await following
        assert 3 < int(one) == int(other) - 1


async def test_redis_gets_back_what_it_lost_under_the_same_ids(store: Store) -> None:
    async with store.live() as live:
        await store.add(3)
        await store.until_streamed(1, 2, 3)
        following = asyncio.create_task(first(live.events.follow("1"), 4))
        await store.redis.flushdb()
        await store.add(2)
        await store.until_streamed(1, 2, 3, 4, 5)
        assert [event_id for event_id, _ in await following] == ["2", "3", "4", "5"]


async def test_what_redis_lost_at_its_end_alone_comes_back_too(store: Store) -> None:
    async with store.live():
        await store.add(4)
        await store.until_streamed(1, 2, 3, 4)
        await store.redis.xdel(KEY, "4-0")  # XDEL keeps the stream's last id, as a failover does not
        payloads = await store.redis.xrange(KEY)
        await store.redis.delete(KEY)
        for name, fields in payloads:
            await store.redis.xadd(KEY, fields, id=name)
        await store.add()
        await store.until_streamed(1, 2, 3, 4, 5)


async def test_a_stream_ahead_of_a_restored_database_begins_anew(store: Store) -> None:
    async with store.live():
        await store.add(2)
        await store.until_streamed(1, 2)
    (_, fields), *_ = await store.redis.xrange(KEY)
    await store.redis.xadd(KEY, fields, id="100000-0")  # of another life
    async with store.live() as live:
        await store.until_streamed(1, 2)
        assert [event_id for event_id, _ in await first(live.events.follow("0"), 2)] == ["1", "2"]


async def test_one_process_relays_and_another_takes_over(store: Store) -> None:
    async with store.live():
        async with store.live():
            await store.add(2)
            await store.until_streamed(1, 2)
        await store.add()
        await store.until_streamed(1, 2, 3)


async def test_old_events_are_forgotten_when_redis_has_them_and_who_needs_them_is_told(store: Store) -> None:
    await store.add(3)
    async with store.live(event_keep_seconds=0.001) as live:
        await store.until_streamed(1, 2, 3)
        async with asyncio.timeout(10):
            while await store.database.fetchval("SELECT count(*) FROM airquality.outbox"):  # noqa: ASYNC110 -- of another task
                await asyncio.sleep(0.02)
        assert len(await first(live.events.follow("0"), 3)) == 3  # from Redis
        await store.redis.flushdb()
        with pytest.raises(EventExpired):
            await first(live.events.follow("0"), 1)


async def test_a_large_batch_is_cut_into_events_of_a_thousand(store: Store) -> None:
    await store.add()
    number = (await store.recorder.find_writable("acme", ["here"]))["here"]
    count = 2_500
    time = (int(START.timestamp()) + 3600 * (np.arange(count) - 5000)) * 1_000_000
    ones = np.ones(count, dtype=np.int64)
    await store.recorder.store_readings("acme", Readings(ones * number, ones, ones, ones, time, np.arange(count) / 10))
    async with store.live() as live:
        sizes = [len(values) for _, values in await first(live.events.follow("1"), 3)]
    assert sizes == [1000, 1000, 500]
