"""Positions in Postgres."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

import numpy as np

from meshkit.identity import PUBLIC_TENANT
from meshkit.postgres import Connection, Postgres, load_queries
from trajectory.positions import Attributes, Positions
from trajectory.track import Floats, Track, to_microseconds

QUERIES: Final = load_queries("trajectory")

FIRST_TIME: Final = datetime.min.replace(tzinfo=UTC)
LAST_TIME: Final = datetime.max.replace(tzinfo=UTC)

_POSTGRES_EPOCH: Final = to_microseconds(datetime(2000, 1, 1, tzinfo=UTC))


class LoadState(NamedTuple):
    """How far a file was loaded."""

    rows_done: int
    finished: bool


class PositionRepository:
    """Keeps positions by entity and time. A tenant sees its own and the public ones, and adds to its own."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def add(self, tenant: str, positions: Positions) -> int:
        """Stores positions that are not stored yet, all or none of them.

        Returns:
            How many were new. They are committed.
        """
        if not len(positions):
            return 0
        async with self._database.transaction(tenant=tenant) as connection:
            return await add_positions(connection, tenant, positions)

    async def find_entity(self, tenant: str, entity_id: str) -> int | None:
        """Returns the key of an entity, the tenant's own before a public one of the same id, or None."""
        key: int | None = await self._database.fetchval(QUERIES["find_entity"], tenant, entity_id, tenant=tenant)
        return key

    async def read(
        self, tenant: str, entity_key: int, start: datetime | None, end: datetime | None, *, limit: int
    ) -> Track:
        """Returns the first `limit` positions in [start, end)."""
        row = await self._database.fetchrow(
            QUERIES["read_track"], entity_key, start or FIRST_TIME, end or LAST_TIME, limit, tenant=tenant
        )
        assert row is not None  # noqa: S101 -- an aggregate has a row
        return Track(
            np.frombuffer(row["times"], ">i8").astype(np.int64) + _POSTGRES_EPOCH,
            _doubles(row["lats"], ">f8"),
            _doubles(row["lngs"], ">f8"),
            *(_doubles(row[name], ">f4") for name in ("altitudes", "accuracies", "speeds", "bearings")),
        )

    async def read_attributes(
        self, tenant: str, entity_key: int, times: Iterable[datetime]
    ) -> Mapping[int, Attributes]:
        """Returns the attributes of those positions that have any, by time in microseconds since 1970."""
        rows = await self._database.fetch(QUERIES["read_attributes"], entity_key, list(times), tenant=tenant)
        return {to_microseconds(row["time"]): json.loads(row["attributes"]) for row in rows}


class LoadRepository:
    """Adds public positions from files and keeps book of them, as the schema's owner."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(self, sha256: str) -> LoadState:
        """Returns how far the file with this digest was loaded."""
        row = await self._connection.fetchrow(QUERIES["find_load"], sha256)
        return LoadState(row["rows_done"], row["finished"]) if row else LoadState(0, finished=False)

    async def add(self, sha256: str, source: str, positions: Positions, *, rows_done: int, finished: bool) -> int:
        """Stores positions in the public tenant together with how far the file is loaded; returns how many were new."""
        async with self._connection.transaction():
            added = await add_positions(self._connection, PUBLIC_TENANT, positions) if len(positions) else 0
            await self._connection.execute(QUERIES["save_load"], sha256, source, rows_done, finished)
        return added


async def add_positions(connection: Connection, tenant: str, positions: Positions) -> int:
    """Stores positions inside the connection's transaction and returns how many were new."""
    months = {date(time.year, time.month, 1) for time in positions.times}
    await connection.execute(QUERIES["ensure_partitions"], list(months))
    keys = await _keys(connection, tenant, set(positions.entity_ids))
    added: int = await connection.fetchval(
        QUERIES["add_positions"],
        tenant,
        [keys[entity_id] for entity_id in positions.entity_ids],
        positions.times,
        positions.lats,
        positions.lngs,
        positions.cells,
        positions.altitudes,
        positions.accuracies,
        positions.speeds,
        positions.bearings,
        positions.attributes,
    )
    return added


async def _keys(connection: Connection, tenant: str, entity_ids: set[str]) -> dict[str, int]:
    """Returns the keys of entities, new ones for those that the tenant did not have."""
    keys = await _find_keys(connection, tenant, entity_ids)
    if unknown := entity_ids - keys.keys():
        await connection.execute(QUERIES["add_entities"], tenant, list(unknown))
        keys |= await _find_keys(connection, tenant, unknown)
    return keys


async def _find_keys(connection: Connection, tenant: str, entity_ids: set[str]) -> dict[str, int]:
    rows = await connection.fetch(QUERIES["find_keys"], tenant, list(entity_ids))
    return {row["entity_id"]: row["entity_key"] for row in rows}


def _doubles(column: bytes, kind: str) -> Floats:
    return np.frombuffer(column, kind).astype(np.float64)
