"""The evaluation of alert rules in Postgres: one transaction an event, with the rules of every tenant in turn."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from airquality.alert_repository import rule_of
from airquality.alerting.definition import Rule, state_to_json
from airquality.alerting.evaluation import Match, Raised
from airquality.alerting.rules import State
from airquality.contributions import Report, Wanted
from airquality.events import StoredReading
from airquality.repository import QUERIES, AirQualityRepository
from meshkit.postgres import Connection, Postgres


class EvaluationRepository:
    """Takes events, one replica at a time."""

    def __init__(self, database: Postgres, stations: AirQualityRepository, *, max_gap_seconds: float) -> None:
        """Takes the database, the repository of stations, and the gap between readings that every rule has."""
        self._database = database
        self._stations = stations
        self._max_gap = timedelta(seconds=max_gap_seconds)

    async def evaluated(self) -> int:
        """Returns the id of the last event that was evaluated; 0 before the first."""
        event_id: int = await self._database.fetchval(QUERIES["get_alert_progress"])
        return event_id

    @asynccontextmanager
    async def evaluating(self, event_id: int) -> "AsyncIterator[_Evaluation | None]":
        """Takes an event, waiting for a replica that evaluates; gives None when it, or a later one, is done already."""
        if await self.evaluated() >= event_id:
            yield None
            return
        async with self._database.transaction() as connection:
            if await connection.fetchval(QUERIES["lock_alert_progress"]) >= event_id:
                yield None
                return
            yield _Evaluation(connection, event_id, self._max_gap)
            await connection.execute(QUERIES["set_alert_progress"], event_id)

    async def find_conditions(
        self,
        tenant: str,
        lat: float,
        lng: float,
        at: datetime,
        radius_meters: float,
        max_age_seconds: float,
        wanted: Wanted,
        *,
        include_excluded: bool = False,
    ) -> list[Report]:
        """Returns the newest reports around a place, by pollutant, then by distance."""
        return await self._stations.find_conditions(
            tenant, lat, lng, at, radius_meters, max_age_seconds, wanted, include_excluded=include_excluded
        )


class _Evaluation:
    """An event in work."""

    def __init__(self, connection: Connection, event_id: int, max_gap: timedelta) -> None:
        self._connection = connection
        self._event_id = event_id
        self._max_gap = max_gap

    async def matches(self, readings: Sequence[StoredReading]) -> list[Match]:
        """Returns which rules look at which readings."""
        rows = await self._connection.fetch(
            QUERIES["find_alert_matches"],
            [each.tenant for each in readings],
            [each.station_id for each in readings],
            [each.lat for each in readings],
            [each.lng for each in readings],
            [each.pollutant for each in readings],
        )
        return [Match(row["tenant_id"], str(row["rule_id"]), row["place"] - 1, row["distance_meters"]) for row in rows]

    async def rules(self, tenant: str, rule_ids: Sequence[str]) -> list[Rule]:
        """Returns rules of a tenant, which nobody changes until the end."""
        await self._connection.execute(QUERIES["act_as_tenant"], tenant)
        rows = await self._connection.fetch(QUERIES["find_rules_to_evaluate"], tenant, rule_ids)
        return [rule_of(row, self._max_gap) for row in rows]

    async def save(self, tenant: str, states: Mapping[str, State], raised: Sequence[Raised]) -> None:
        """Stores states by rule, and alerts with their deliveries."""
        connection = self._connection
        texts = [json.dumps(state_to_json(state)) for state in states.values()]
        await connection.execute(QUERIES["set_alert_states"], tenant, list(states), texts)
        if not raised:
            return
        await connection.execute(
            QUERIES["add_alerts"],
            tenant,
            self._event_id,
            [each.alert_id for each in raised],
            [each.rule_id for each in raised],
            [each.kind for each in raised],
            [each.severity for each in raised],
            [json.dumps(each.body) for each in raised],
        )
        due = [each for each in raised if each.deliver_at is not None]
        await connection.execute(
            QUERIES["add_alert_deliveries"],
            tenant,
            [each.alert_id for each in due],
            [each.rule_id for each in due],
            [each.deliver_at for each in due],
        )
