"""Entities: things with a position, what is near, and what lies within a region."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from meshkit.errors import NotFound, Reason
from spatial_index import geocentric
from spatial_index.region import Region

Attributes: TypeAlias = Mapping[str, str | float | bool]
"""What else is known of an entity, by name."""

_BEGINNING = datetime.min.replace(tzinfo=UTC)

_MARGIN = 2
"""Entities fetched beyond a limit, so that the first fetch mostly proves that none nearer is left out."""

_MOST_COMPARED = 10_000
"""Entities fetched for one search, about: a crowd far away is about equally far, and may be all that there is."""

_CHUNK = 10_000
"""Entities that are tried at a time, at most, when a region is filled from its boxes."""


class Entity(NamedTuple):
    """A thing with a position.

    Attributes:
        entity_id: Its id within the tenant.
        lat: Degrees north.
        lng: Degrees east.
        time: When it was there, in UTC.
        altitude: Metres, or None.
        accuracy: Metres, or None.
        speed: Metres per second, or None.
        bearing: Degrees clockwise from north, or None.
        type: What kind of thing it is; empty when unknown.
        attributes: What else is known of it; None when nothing was ever said.
        tenant: Whose it is; empty before it is stored.
    """

    entity_id: str
    lat: float
    lng: float
    time: datetime
    altitude: float | None = None
    accuracy: float | None = None
    speed: float | None = None
    bearing: float | None = None
    type: str = ""
    attributes: Attributes | None = None
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entities a search is for.

    Attributes:
        types: One of these types; of every type when empty.
        attributes: All of these names and values, numbers and booleans as JSON prints them.
        not_before: Where the position is at least as new as this.
    """

    types: Sequence[str] = ()
    attributes: Sequence[tuple[str, str]] = ()
    not_before: datetime = field(default=_BEGINNING)


class Neighbour(NamedTuple):
    """An entity and how far it is.

    Attributes:
        entity: The entity.
        distance_meters: The length of the geodesic.
        chord_meters: The straight distance through the Earth.
    """

    entity: Entity
    distance_meters: float
    chord_meters: float


class Page(NamedTuple):
    """Some of the entities that were found, and whether there are more."""

    entities: list[Entity]
    more: bool


class Store(Protocol):
    """Where entities are kept. A tenant reads its own and the public ones and writes its own."""

    async def upsert(self, tenant: str, entities: Sequence[Entity]) -> int:
        """Stores entities of different ids unless they are older than what is stored; returns how many it stored."""
        ...

    async def get(self, tenant: str, entity_id: str) -> Entity | None:
        """Returns an entity of the tenant, or else a public one."""
        ...

    async def delete(self, tenant: str, entity_id: str) -> bool:
        """Deletes an entity of the tenant and returns whether there was one."""
        ...

    async def nearest(
        self, tenant: str, lat: float, lng: float, *, count: int, radius_meters: float, filters: Filters
    ) -> list[Neighbour]:
        """Returns the `count` entities of the shortest chords, of those whose chord is within the radius."""
        ...

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
        ...


class Entities:
    """What is where."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def upsert(self, tenant: str, entities: Iterable[Entity]) -> int:
        """Stores entities, of several with one id the newest, of those the last.

        Returns:
            How many were stored; the others are older than what was stored before or came with them.
        """
        newest: dict[str, Entity] = {}
        for entity in entities:
            known = newest.get(entity.entity_id)
            if known is None or entity.time >= known.time:
                newest[entity.entity_id] = entity
        return await self._store.upsert(tenant, list(newest.values())) if newest else 0

    async def get(self, tenant: str, entity_id: str) -> Entity:
        """Returns an entity of the tenant, or else a public one.

        Raises:
            NotFound: There is neither.
        """
        entity = await self._store.get(tenant, entity_id)
        if entity is None:
            raise _not_found(entity_id)
        return entity

    async def delete(self, tenant: str, entity_id: str) -> None:
        """Deletes an entity of the tenant.

        Raises:
            NotFound: The tenant has none of this id.
        """
        if not await self._store.delete(tenant, entity_id):
            raise _not_found(entity_id)

    async def nearby(
        self, tenant: str, lat: float, lng: float, *, limit: int, radius_meters: float, filters: Filters
    ) -> list[Neighbour]:
        """Returns the entities nearest to a place (degrees) within a radius, at most `limit`, nearest first.

        The store goes by chords, which order entities a little differently from geodesics. When the last chord fetched
        allows for a geodesic shorter than the last one returned, more are fetched, until those that remain could be
        nearer by a few parts in a hundred thousand only and have 10,000 competitors.
        """
        count = limit + _MARGIN
        while True:
            found = await self._store.nearest(
                tenant, lat, lng, count=count, radius_meters=radius_meters, filters=filters
            )
            exhausted = len(found) < count
            reach = radius_meters if exhausted else geocentric.shortest_geodesic(found[-1].chord_meters)
            found.sort(key=_by_distance)
            within = [neighbour for neighbour in found[:limit] if neighbour.distance_meters <= radius_meters]
            settled = exhausted or reach > radius_meters or found[limit - 1].distance_meters <= reach
            if settled or count >= _MOST_COMPARED:
                return within
            count *= 2

    async def within(
        self, tenant: str, region: Region, *, after: tuple[str, str], page_size: int, filters: Filters
    ) -> Page:
        """Returns the entities within a region in the order of their ids.

        Args:
            tenant: Who asks.
            region: The region, borders included.
            after: Id and tenant of the last entity of the page before; empty strings for the first page.
            page_size: At most this many.
            filters: Which of them.
        """
        boxes = region.boxes()
        found: list[Entity] = []
        count = page_size + _MARGIN
        while len(found) <= page_size:
            chunk = await self._store.in_boxes(tenant, boxes, after=after, count=count, filters=filters)
            held = region.contains(
                np.array([entity.lat for entity in chunk]), np.array([entity.lng for entity in chunk])
            )
            found += [entity for entity, is_held in zip(chunk, held.tolist(), strict=True) if is_held]
            if len(chunk) < count:
                break
            after = (chunk[-1].entity_id, chunk[-1].tenant)
            # The boxes hold much that the region does not: look further at a time.
            count = min(4 * count, _CHUNK)
        return Page(found[:page_size], len(found) > page_size)


def _by_distance(each: Neighbour) -> tuple[float, str, str]:
    return each.distance_meters, each.entity.entity_id, each.entity.tenant


def _not_found(entity_id: str) -> NotFound:
    return NotFound(Reason.ENTITY_NOT_FOUND, f"no entity has id {entity_id}")
