"""Searches among entities, on a store that only counts."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from spatial_index import geocentric
from spatial_index.entities import Entities, Entity, Filters, Neighbour

AWAY_METERS = 1_000_000.0


class Crowd:
    """Any number of entities at one place, a thousand kilometres away."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    async def nearest(
        self, tenant: str, lat: float, lng: float, *, count: int, radius_meters: float, filters: Filters
    ) -> list[Neighbour]:
        self.counts.append(count)
        time = datetime(2024, 5, 1, tzinfo=UTC)
        chord_meters = 2 * 6_378_137.0 * math.sin(AWAY_METERS / 2 / 6_378_137.0)
        return [Neighbour(Entity(f"e{index:06}", lat, lng, time), AWAY_METERS, chord_meters) for index in range(count)]

    async def upsert(self, tenant: str, entities: Sequence[Entity]) -> int:
        raise AssertionError("a search for the nearest asks for nothing else")

    async def get(self, tenant: str, entity_id: str) -> Entity | None:
        raise AssertionError("a search for the nearest asks for nothing else")

    async def delete(self, tenant: str, entity_id: str) -> bool:
        raise AssertionError("a search for the nearest asks for nothing else")

    async def in_boxes(
        self,
        tenant: str,
        boxes: Sequence[geocentric.Box],
        *,
        after: tuple[str, str],
        count: int,
        filters: Filters,
    ) -> list[Entity]:
        raise AssertionError("a search for the nearest asks for nothing else")


async def test_a_crowd_far_away_is_not_fetched_whole() -> None:
    crowd = Crowd()
    found = await Entities(crowd).nearby("acme", 0.0, 0.0, limit=3, radius_meters=math.inf, filters=Filters())
    assert [each.entity.entity_id for each in found] == ["e000000", "e000001", "e000002"]
    assert max(crowd.counts) < 20_000
