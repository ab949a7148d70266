"""Alert rules, alerts and deliveries in Postgres, as their owners see them."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from asyncpg import InternalServerError, Record

from airquality.alerting.definition import (
    AtStation,
    Circle,
    Definition,
    Rule,
    definition_from_json,
    definition_to_json,
    state_from_json,
)
from airquality.alerting.manage import Alert, Delivery
from airquality.alerting.places import geojson_of
from airquality.alerting.sender import Claimed
from airquality.repository import QUERIES
from meshkit.postgres import Postgres

_PENDING, _DELIVERED, _DEAD = 1, 2, 3


class AlertRepository:
    """Reads and writes the rules of one tenant at a time."""

    def __init__(self, database: Postgres, *, max_gap_seconds: float) -> None:
        """Takes the database, and the gap between readings that every rule has."""
        self._database = database
        self._max_gap = timedelta(seconds=max_gap_seconds)

    async def station_tenant(self, tenant: str, station_id: str) -> str | None:
        """Returns whose the station is that a tenant sees."""
        found: str | None = await self._database.fetchval(
            QUERIES["find_alert_station"], tenant, station_id, tenant=tenant
        )
        return found

    async def explain_area(self, definition: Definition) -> str | None:
        """Returns what is wrong with a polygon; None when nothing is."""
        assert not isinstance(definition.place, AtStation)  # noqa: S101 -- only polygons are asked about
        try:
            problem: str | None = await self._database.fetchval(QUERIES["explain_area"], geojson_of(definition.place))
        except InternalServerError:  # PostGIS's word for what is no geometry
            return "is no GeoJSON geometry"
        return problem

    async def add_rule(self, tenant: str, definition: Definition, sealed: bytes | None, most: int) -> Rule | None:
        """Stores a rule; returns None when the tenant has as many as it may."""
        async with self._database.transaction(tenant=tenant) as connection:
            await connection.execute(QUERIES["lock_alert_rules"], tenant)
            if await connection.fetchval(QUERIES["count_alert_rules"], tenant) >= most:
                return None
            row = await connection.fetchrow(QUERIES["add_alert_rule"], tenant, *_columns(definition), sealed)
        assert row is not None  # noqa: S101 -- the statement returns what it stored
        return self._rule(row)

    async def get_rule(self, tenant: str, rule_id: str) -> Rule | None:
        """Returns a rule."""
        row = await self._database.fetchrow(QUERIES["get_alert_rule"], tenant, rule_id, tenant=tenant)
        return None if row is None else self._rule(row)

    async def list_rules(self, tenant: str, after: tuple[datetime, str] | None, limit: int) -> list[Rule]:
        """Returns rules after a position."""
        rows = await self._database.fetch(
            QUERIES["list_alert_rules"], tenant, *(after or (None, None)), limit, tenant=tenant
        )
        return [self._rule(row) for row in rows]

    async def change_rule(
        self, tenant: str, rule_id: str, definition: Definition, sealed: bytes | None
    ) -> tuple[Rule, bool] | None:
        """Replaces a rule. Returns it, and whether `sealed` is the webhook's secret now, which it is if there was none."""
        async with self._database.transaction(tenant=tenant) as connection:
            row = await connection.fetchrow(QUERIES["get_alert_rule_to_change"], tenant, rule_id)
            if row is None:
                return None
            before, kept = self._rule(row), row["webhook_secret"]
            is_new = sealed is not None and kept is None
            same = before.definition.judges_as(self._known(definition))
            row = await connection.fetchrow(
                QUERIES["change_alert_rule"],
                tenant,
                rule_id,
                *_columns(definition),
                None if sealed is None else kept or sealed,
                same,
            )
        assert row is not None  # noqa: S101 -- it was locked
        return self._rule(row), is_new

    async def delete_rule(self, tenant: str, rule_id: str) -> bool:
        """Deletes a rule; tells whether there was one."""
        return await self._database.execute(QUERIES["delete_alert_rule"], tenant, rule_id, tenant=tenant) == "DELETE 1"

    async def set_secret(self, tenant: str, rule_id: str, sealed: bytes) -> Rule | None:
        """Replaces the secret of a rule."""
        row = await self._database.fetchrow(
            QUERIES["set_webhook_secret"], tenant, rule_id, sealed, tenant=tenant, retries=False
        )
        return None if row is None else self._rule(row)

    async def list_alerts(self, tenant: str, rule_id: str, kind: int, before: int | None, limit: int) -> list[Alert]:
        """Returns alerts before a number, the newest first."""
        rows = await self._database.fetch(
            QUERIES["list_alerts"], tenant, rule_id or None, kind, before, limit, tenant=tenant
        )
        return [_alert(row) for row in rows]

    async def alerts_after(self, tenant: str, number: int, rule_id: str, limit: int) -> Sequence[tuple[int, Any]]:
        """Returns alerts after a number, in order, each with its own."""
        rows = await self._database.fetch(
            QUERIES["find_alerts_after"], tenant, number, rule_id or None, limit, tenant=tenant
        )
        return [(row["number"], _alert(row)) for row in rows]

    async def newest_alert(self, tenant: str) -> int:
        """Returns the number of a tenant's newest alert; 0 when there is none."""
        number: int = await self._database.fetchval(QUERIES["get_newest_alert"], tenant, tenant=tenant)
        return number

    async def alert_number(self, tenant: str, alert_id: str) -> int | None:
        """Returns the number of an alert."""
        number: int | None = await self._database.fetchval(QUERIES["get_alert_number"], tenant, alert_id, tenant=tenant)
        return number

    async def list_deliveries(self, tenant: str, state: int, before: int | None, limit: int) -> list[Delivery]:
        """Returns deliveries of alerts before a number, the newest first."""
        rows = await self._database.fetch(QUERIES["list_alert_deliveries"], tenant, state, before, limit, tenant=tenant)
        return [_delivery(row) for row in rows]

    async def replay(self, tenant: str, alert_id: str) -> Delivery | None:
        """Has a delivery tried anew, and returns it."""
        for query in ("replay_alert_delivery", "get_alert_delivery"):
            row = await self._database.fetchrow(QUERIES[query], tenant, alert_id, tenant=tenant, retries=False)
            if row is not None:
                return _delivery(row)
        return None

    async def claim_deliveries(self, most: int, per_tenant: int, lease_seconds: float) -> list[Claimed]:
        """Takes deliveries that are due."""
        if most < 1:
            return []
        rows = await self._database.fetch(
            QUERIES["claim_alert_deliveries"], most, per_tenant, lease_seconds, retries=False
        )
        return [
            Claimed(
                row["tenant_id"],
                str(row["alert_id"]),
                str(row["claim"]),
                row["attempts"],
                row["url"],
                row["webhook_secret"],
                json.loads(row["body"]),
            )
            for row in rows
        ]

    async def note_delivery(
        self, claimed: Claimed, *, delivered: bool, retry_at: datetime | None, problem: str
    ) -> None:
        """Notes what became of one, unless its claim has lapsed; it is dead if neither delivered nor retried."""
        await self._database.execute(
            QUERIES["note_alert_delivery"],
            claimed.tenant,
            claimed.alert_id,
            claimed.claim,
            _DELIVERED if delivered else _PENDING if retry_at is not None else _DEAD,
            retry_at,
            problem,
            tenant=claimed.tenant,
        )

    def _known(self, definition: Definition) -> Definition:
        """Returns it as it will be read again."""
        return definition_from_json(json.loads(json.dumps(definition_to_json(definition))), self._max_gap)

    def _rule(self, row: Record) -> Rule:
        return rule_of(row, self._max_gap)


def rule_of(row: Record, max_gap: timedelta) -> Rule:
    """Returns the rule of a row."""
    return Rule(
        str(row["rule_id"]),
        definition_from_json(json.loads(row["definition"]), max_gap),
        state_from_json(json.loads(row["state"])),
        row["created_at"],
        row["updated_at"],
    )


def _columns(definition: Definition) -> tuple[Any, ...]:
    """Returns the definition and what a reading finds it by."""
    place = definition.place
    found: tuple[Any, ...] = (None, None, None, None, None, None)
    if isinstance(place, AtStation):
        found = (place.tenant, place.station_id, None, None, None, None)
    elif isinstance(place, Circle):
        found = (None, None, place.lng, place.lat, place.radius_meters, geojson_of(place))
    else:
        found = (None, None, None, None, None, geojson_of(place))
    return json.dumps(definition_to_json(definition)), definition.paused, definition.pollutant, *found


def _alert(row: Record) -> Alert:
    return Alert(row["number"], row["kind"], row["severity"], json.loads(row["body"]))


def _delivery(row: Record) -> Delivery:
    return Delivery(_alert(row), row["state"], row["attempts"], row["next_attempt_at"], row["problem"])
