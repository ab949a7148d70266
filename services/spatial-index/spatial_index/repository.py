"""Entities in Postgres."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshkit.identity import PUBLIC_TENANT
from meshkit.postgres import Connection, Postgres
from meshkit.queries import load_queries
from spatial_index import geocentric
from spatial_index.entities import Entity, Filters, Neighbour

if TYPE_CHECKING:
    from asyncpg import Record

QUERIES = load_queries("spatial_index")

_SLACK_METERS = 0.001
"""More than what rounding moves a point by."""


class EntityRepository:
    """Keeps the newest position of each entity. A tenant sees its own entities and the public ones, and writes its own.

    It is the domain's `Store`.
    """

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def upsert(self, tenant: str, entities: Sequence[Entity]) -> int:
        """Stores entities of different ids unless they are older than what is stored; returns how many it stored."""
        stored: int = await self._database.fetchval(
            QUERIES["upsert_entities"], tenant, *_columns(entities), tenant=tenant
        )
        return stored

    async def get(self, tenant: str, entity_id: str) -> Entity | None:
        """Returns an entity of the tenant, or else a public one."""
        row = await self._database.fetchrow(QUERIES["find_entity"], _tenants(tenant), entity_id, tenant=tenant)
        return _entity(row) if row else None

    async def delete(self, tenant: str, entity_id: str) -> bool:
        """Deletes an entity of the tenant and returns whether there was one."""
        deleted = await self._database.fetchval(QUERIES["delete_entity"], tenant, entity_id, tenant=tenant)
        return deleted is not None

    async def nearest(
        self, tenant: str, lat: float, lng: float, *, count: int, radius_meters: float, filters: Filters
    ) -> list[Neighbour]:
        """Returns the `count` entities of the shortest chords, of those whose chord is about within the radius."""
        rows = await self._database.fetch(
            QUERIES["find_nearest"],
            _tenants(tenant),
            geocentric.point(lat, lng),
            lat,
            lng,
            count,
            radius_meters + _SLACK_METERS,
            *_filters(filters),
            tenant=tenant,
        )
        return [Neighbour(_entity(row), row["distance"], row["chord"]) for row in rows]

    async def in_boxes(
        self,
        tenant: str,
        boxes: Sequence[geocentric.Box],
        *,
        after: tuple[str, str],
        count: int,
        filters: Filters,
    ) -> list[Entity]:
        """Returns the first `count` entities within any of the boxes, of those whose id and tenant come after."""
        rows = await self._database.fetch(
            QUERIES["find_in_boxes"],
            _tenants(tenant),
            [f"{low},{high}" for low, high in boxes],
            *after,
            count,
            *_filters(filters),
            tenant=tenant,
        )
        return [_entity(row) for row in rows]


class LoadRepository:
    """Stores public entities from a file and keeps book of it, as the schema's owner."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(self, sha256: str) -> int | None:
        """Returns how many entities the file with this digest gave, or None when it is not loaded whole."""
        count: int | None = await self._connection.fetchval(QUERIES["find_load"], sha256)
        return count

    async def upsert(self, entities: Sequence[Entity]) -> None:
        """Stores entities of different ids in the public tenant."""
        await self._connection.execute(QUERIES["upsert_entities"], PUBLIC_TENANT, *_columns(entities))

    async def note(self, sha256: str, source: str, entity_count: int) -> None:
        """Records that a file is loaded whole."""
        await self._connection.execute(QUERIES["save_load"], sha256, source, entity_count)


def _tenants(tenant: str) -> list[str]:
    """Returns whose entities a tenant sees, each named once."""
    return [tenant] if tenant == PUBLIC_TENANT else [tenant, PUBLIC_TENANT]


def _filters(filters: Filters) -> tuple[Sequence[str], list[str], list[str], object]:
    names = [name for name, _ in filters.attributes]
    values = [value for _, value in filters.attributes]
    return filters.types, names, values, filters.not_before


def _columns(entities: Sequence[Entity]) -> list[list[Any]]:
    points = [geocentric.point(entity.lat, entity.lng) for entity in entities]
    return [
        [entity.entity_id for entity in entities],
        [entity.lat for entity in entities],
        [entity.lng for entity in entities],
        [x for x, _, _ in points],
        [y for _, y, _ in points],
        [z for _, _, z in points],
        [entity.time for entity in entities],
        [entity.altitude for entity in entities],
        [entity.accuracy for entity in entities],
        [entity.speed for entity in entities],
        [entity.bearing for entity in entities],
        [entity.type for entity in entities],
        [None if entity.attributes is None else json.dumps(dict(entity.attributes)) for entity in entities],
    ]


def _entity(row: "Record") -> Entity:
    attributes = row["attributes"]
    return Entity(
        entity_id=row["entity_id"],
        lat=row["lat"],
        lng=row["lng"],
        time=row["time"],
        altitude=row["altitude"],
        accuracy=row["accuracy"],
        speed=row["speed"],
        bearing=row["bearing"],
        type=row["type"],
        attributes=json.loads(attributes) if attributes else None,
        tenant=row["tenant_id"],
    )
