"""Writes readings with their flags, corrections and memory, all in one transaction or none of it."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np

from airquality import copyformat
from airquality.blocks import Blocks, Slots, parts_of
from airquality.deriving import counterparts, derive
from airquality.judging import Neighbours, flags_of, keys_needed
from airquality.quality import MOST_NEIGHBOURS, NEIGHBOUR_METERS
from airquality.readings import Ints, Readings
from airquality.repository import QUERIES
from airquality.sensors import Role
from airquality.units import AveragingPeriod
from meshkit.postgres import Connection, Postgres

Announce = Callable[[Connection, str, Readings, Ints], Awaitable[None]]
"""Called in the transaction with the tenant, the readings that are new or corrected, and their flags."""

_PARTITIONS: Final = (("M", "ensure_partition"), ("Y", "ensure_days"))
_STATIONS_AT_ONCE: Final = 200  # of which neighbours are looked for, a fifth of a second
_OFF_THE_LOOP: Final = 2000  # readings from which on judging them would keep others waiting


class Recorder:
    """Writes to the schema `airquality`."""

    def __init__(self, database: Postgres, announce: Announce | None = None) -> None:
        self._database = database
        self._announce = announce
        # Neither series nor partitions of what is taken go away, so what was once there need not be asked again.
        self._series: set[int] = set()
        self._partitions: set[tuple[str, int]] = set()
        self._roles: dict[int, Role] = {}
        self._neighbours = Neighbours()

    async def find_writable(self, tenant: str, station_ids: Collection[str]) -> dict[str, int]:
        """Returns the numbers of a tenant's own stations by their ids, and of sensors by `station_id/sensor_id`."""
        rows = await self._database.fetch(QUERIES["find_writable"], tenant, list(station_ids), tenant=tenant)
        for row in rows:
            if row["station"] is not None:
                speaks_for = frozenset(row["speaks_for"])
                self._roles[row["id"]] = Role(row["station"], speaks_for, row["low_cost"], row["correction"])
        return {row["station_id"]: row["id"] for row in rows}

    async def store_readings(self, tenant: str, readings: Readings) -> int:
        """Stores readings in the order of their keys, each key once; returns how many were new or corrected."""
        await self._prepare(tenant, readings)
        async with self._database.transaction(tenant=tenant) as connection:
            changed, series = await self._store(connection, tenant, readings)
        self._series.update(series)  # not before they are committed
        return changed

    async def find_loaded(self, source: str) -> dict[str, str]:
        """Returns the parts of a source that are loaded, with the digests of what they were loaded from."""
        return {row["part"]: row["digest"] for row in await self._database.fetch(QUERIES["find_loaded"], source)}

    async def load_part(self, tenant: str, source: str, part: str, digest: str, readings: Readings) -> int:
        """Stores a part of a source whole or not at all; returns how many readings were new or corrected."""
        await self._prepare(tenant, readings)
        async with self._database.transaction(tenant=tenant) as connection:
            changed, series = await self._store(connection, tenant, readings)
            await connection.execute(QUERIES["note_loaded"], source, part, digest, len(readings))
        self._series.update(series)
        return changed

    async def note_loaded(self, source: str, part: str, digest: str, row_count: int) -> None:
        """Notes that a part of a source is loaded which is stored already."""
        await self._database.execute(QUERIES["note_loaded"], source, part, digest, row_count)

    async def remember(self, readings: Readings, flags: Ints) -> None:
        """Takes readings that are stored, with their flags, into the memory of their series."""
        await self._make_room(readings)
        async with self._database.transaction() as connection:
            await self._lock(connection, readings)
            await connection.execute(QUERIES["look_up_by_key"])
            slots = Slots.of(readings, flags)
            blocks = await _load(connection, Blocks.empty(slots.keys))
            blocks.fold(slots)
            await _put_days(connection, blocks, blocks.keys)

    async def _make_room(self, readings: Readings) -> None:
        """Makes the partitions that readings belong in, on its own, so that nobody waits long for the lock."""
        for unit, statement in _PARTITIONS:
            starts = np.unique(readings.time.astype("datetime64[us]").astype(f"datetime64[{unit}]"))
            for start in starts:
                number = int(start.astype(np.int64))
                if (unit, number) not in self._partitions:
                    seconds = int(start.astype("datetime64[s]").astype(np.int64))
                    await self._database.fetchval(QUERIES[statement], datetime.fromtimestamp(seconds, UTC))
                    self._partitions.add((unit, number))

    async def _prepare(self, tenant: str, readings: Readings) -> None:
        """Makes what the transaction needs and what nobody should wait for in it: partitions, and who is near whom."""
        await self._make_room(readings)
        hourly = readings.averaging_period == AveragingPeriod.HOUR
        numbers = np.unique(readings.station[hourly])
        spoken_for = {self._roles[each].station for each in numbers.tolist() if each in self._roles}
        strangers = self._neighbours.unknown(np.union1d(numbers, list(spoken_for)).astype(np.int64))
        for begin in range(0, len(strangers), _STATIONS_AT_ONCE):
            some = strangers[begin : begin + _STATIONS_AT_ONCE]
            rows = await self._database.fetch(
                QUERIES["find_neighbours"], some, NEIGHBOUR_METERS, MOST_NEIGHBOURS, tenant, tenant=tenant
            )
            self._neighbours.learn(some, [(row["id"], row["neighbour"]) for row in rows])

    async def _store(self, connection: Connection, tenant: str, given: Readings) -> tuple[int, list[int]]:
        """Returns how many of the readings given were new or corrected, and the series that are new to this process."""
        series = await self._lock(connection, given)
        await connection.execute(QUERIES["look_up_by_key"])
        readings, is_given, marks = await self._with_derived(connection, given)
        blocks = await self._blocks(connection, readings)
        slots = Slots.of(readings, marks)
        is_new, is_corrected = await _compare(connection, readings, blocks, slots)
        changed = is_new | is_corrected
        if not changed.any():
            return 0, series
        stored, marks = readings.take(changed), marks[changed]
        if len(stored) < _OFF_THE_LOOP:
            flags = flags_of(stored, marks, blocks, self._neighbours)
        else:
            flags = await asyncio.to_thread(flags_of, stored, marks, blocks, self._neighbours)
        new = is_new[changed]
        await _write(connection, stored.take(new), flags[new], stored.take(~new), flags[~new])
        await _put_days(connection, blocks, np.unique(slots.keys[changed]))
        if self._announce is not None:
            await self._announce(connection, tenant, stored, flags)
        return int((changed & is_given).sum()), series

    async def _lock(self, connection: Connection, readings: Readings) -> list[int]:
        """Notes the series that this process has not seen before, keeps others from writing all, and returns them."""
        wanted = np.unique(readings.series())
        numbers = set(wanted.tolist())
        for each in wanted[np.isin(wanted >> 16, list(self._roles))].tolist() if self._roles else ():
            sensor, pollutant, period = each >> 16, each >> 8 & 0xFF, each & 0xFF
            for station, other, of in self._roles[sensor].series(sensor, pollutant, period):
                numbers.add(station << 16 | other << 8 | of)
        everything = np.array(sorted(numbers), dtype=np.int64)
        new = [each for each in everything.tolist() if each not in self._series]
        if new:
            await connection.execute(QUERIES["add_series"], *_columns(np.array(new)))
        await connection.execute(QUERIES["lock_series"], *_columns(everything))
        return new

    async def _with_derived(
        self, connection: Connection, given: Readings
    ) -> tuple[Readings, "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]", Ints]:
        """Returns the readings with what sensors say for their stations, which were given, and first flags."""
        from_sensors = (
            np.isin(given.station, list(self._roles)) if self._roles else np.zeros(len(given), dtype=np.bool_)
        )
        if not from_sensors.any():
            return given, np.ones(len(given), dtype=np.bool_), np.zeros(len(given), dtype=np.int64)
        wanted = counterparts(given.take(from_sensors), self._roles)
        known = await _known(connection, *wanted)
        found = {
            (int(wanted[0][place]), int(wanted[1][place]), int(wanted[3][place])): (value, unit)
            for place, (value, unit, _) in known.items()
        }
        return derive(given, self._roles, found)

    async def _blocks(self, connection: Connection, readings: Readings) -> Blocks:
        """Returns the days that the readings change and those that they are judged by, as they are stored."""
        return await _load(connection, Blocks.empty(keys_needed(readings, self._neighbours)))


async def _load(connection: Connection, blocks: Blocks) -> Blocks:
    """Fills in what is stored of days."""
    parts = parts_of(blocks.keys)
    rows = await connection.fetch(QUERIES["find_days"], *[part.tolist() for part in parts])
    if rows:
        blocks.load([row["place"] - 1 for row in rows], [row["hours"] for row in rows])
    return blocks


async def _compare(
    connection: Connection, readings: Readings, blocks: Blocks, slots: Slots
) -> tuple["np.ndarray[tuple[int, ...], np.dtype[np.bool_]]", "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"]:
    """Returns which readings are new and which correct others. In an hour that has no value no reading is stored."""
    maybe = np.flatnonzero(~np.isnan(blocks.values_at(slots.keys, slots.hour)))
    is_new, is_corrected = np.ones(len(readings), dtype=np.bool_), np.zeros(len(readings), dtype=np.bool_)
    if len(maybe):
        some = readings.take(maybe)
        known = await _known(connection, some.station, some.pollutant, some.averaging_period, some.time)
        for place, (value, unit, _) in known.items():
            at = maybe[place]
            is_new[at] = False
            is_corrected[at] = bool(value != readings.value[at] or unit != readings.unit[at])
    return is_new, is_corrected


async def _known(
    connection: Connection, station: Ints, pollutant: Ints, period: Ints, time: Ints
) -> dict[int, tuple[float, int, int]]:
    """Returns value, unit and flags of what is stored under keys, by their places."""
    if not len(station):
        return {}
    rows = await connection.fetch(
        QUERIES["find_known"], station.tolist(), pollutant.tolist(), period.tolist(), time.tolist()
    )
    return {place - 1: (value, unit, flags) for place, value, unit, flags in rows}


async def _write(
    connection: Connection, new: Readings, new_flags: Ints, corrected: Readings, corrected_flags: Ints
) -> None:
    """Adds readings and corrects others, of which it keeps what they were."""
    if len(new):
        await _copy(connection, new, new_flags, "readings", schema="airquality")
    if len(corrected):
        await connection.execute(QUERIES["make_staging"])
        await _copy(connection, corrected, corrected_flags, "staged_readings", schema="pg_temp")
        await connection.execute(QUERIES["keep_replaced"])
        await connection.execute(QUERIES["correct_staged"])


async def _put_days(connection: Connection, blocks: Blocks, keys: Ints) -> None:
    rows = blocks.rows(keys)
    touched = Blocks(keys, blocks.hours[rows])
    figures = touched.figures()
    await connection.execute(
        QUERIES["put_days"],
        *[part.tolist() for part in parts_of(keys)],
        *[figure.tolist() for figure in figures],
        [day.tobytes() for day in touched.hours],
    )


async def _copy(connection: Connection, readings: Readings, flags: Ints, table: str, *, schema: str) -> None:
    await connection.copy_to_table(
        table,
        schema_name=schema,
        source=io.BytesIO(copyformat.encode(readings, flags)),
        format="binary",
        columns=copyformat.COLUMNS,
    )


def _columns(series: Ints) -> Sequence[list[int]]:
    return (series >> 16).tolist(), (series >> 8 & 0xFF).tolist(), (series & 0xFF).tolist()
