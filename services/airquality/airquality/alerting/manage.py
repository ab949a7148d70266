"""Makes, changes and lists rules for their owners, and tells what became of their alerts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from airquality.alerting.definition import AtStation, Definition, Measure, Polygon, Rule
from airquality.alerting.places import check_polygon
from airquality.alerting.webhook import Poster, Secrets
from meshkit.errors import FailedPrecondition, InvalidInput, NotFound, Reason

ThingT = TypeVar("ThingT")

_DEFAULT_PAGE: Final = 50
_LARGEST_PAGE: Final = 200


class Alert(NamedTuple):
    """An alert: its number in the tenant's order, codes of kind and severity, and what is posted of it."""

    number: int
    kind: int
    severity: int
    body: dict[str, Any]


class Delivery(NamedTuple):
    """A post to a webhook: the alert, the code of its state, the tries so far, when the next is due, what went wrong."""

    alert: Alert
    state: int
    attempts: int
    next_attempt_at: datetime
    problem: str


class RuleStore(Protocol):
    """What AlertRules needs of a repository."""

    async def station_tenant(self, tenant: str, station_id: str) -> str | None:
        """Returns whose the station is that a tenant sees."""

    async def explain_area(self, definition: Definition) -> str | None:
        """Returns what is wrong with a polygon; None when nothing is."""

    async def add_rule(self, tenant: str, definition: Definition, sealed: bytes | None, most: int) -> Rule | None:
        """Stores a rule; returns None when the tenant has as many as it may."""

    async def get_rule(self, tenant: str, rule_id: str) -> Rule | None:
        """Returns a rule."""

    async def list_rules(self, tenant: str, after: tuple[datetime, str] | None, limit: int) -> list[Rule]:
        """Returns rules after a position."""

    async def change_rule(
        self, tenant: str, rule_id: str, definition: Definition, sealed: bytes | None
    ) -> tuple[Rule, bool] | None:
        """Replaces a rule. Returns it, and whether `sealed` is the webhook's secret now, which it is if there was none."""

    async def delete_rule(self, tenant: str, rule_id: str) -> bool:
        """Deletes a rule; tells whether there was one."""

    async def set_secret(self, tenant: str, rule_id: str, sealed: bytes) -> Rule | None:
        """Replaces the secret of a rule."""

    async def list_alerts(self, tenant: str, rule_id: str, kind: int, before: int | None, limit: int) -> list[Alert]:
        """Returns alerts before a number, the newest first."""

    async def alert_number(self, tenant: str, alert_id: str) -> int | None:
        """Returns the number of an alert."""

    async def list_deliveries(self, tenant: str, state: int, before: int | None, limit: int) -> list[Delivery]:
        """Returns deliveries of alerts before a number, the newest first."""

    async def replay(self, tenant: str, alert_id: str) -> Delivery | None:
        """Has a delivery tried anew, and returns it."""


class AlertRules:
    """What owners of rules do."""

    def __init__(self, store: RuleStore, poster: Poster, secrets: Secrets, *, most_rules: int, forecasts: bool) -> None:
        """Makes it.

        Args:
            store: Where rules are kept.
            poster: What knows which addresses may be posted to.
            secrets: What makes webhooks' secrets.
            most_rules: How many rules a tenant may have.
            forecasts: Whether there is something that forecasts.
        """
        self._store = store
        self._poster = poster
        self._secrets = secrets
        self._most_rules = most_rules
        self._forecasts = forecasts

    async def create(self, tenant: str, definition: Definition) -> tuple[Rule, str]:
        """Makes a rule, and returns it with the secret of its webhook, empty without one."""
        definition = await self._checked(tenant, definition)
        secret, sealed = self._secrets.make() if definition.webhook_url else ("", None)
        rule = await self._store.add_rule(tenant, definition, sealed, self._most_rules)
        if rule is None:
            raise FailedPrecondition(
                Reason.STATE_FORBIDS, f"the tenant has {self._most_rules} alert rules, which is as many as it may have"
            )
        return rule, secret

    async def get(self, tenant: str, rule_id: str) -> Rule:
        """Returns a rule."""
        return _found(await self._store.get_rule(tenant, rule_id), rule_id)

    async def page(
        self, tenant: str, after: tuple[datetime, str] | None, page_size: int
    ) -> tuple[list[Rule], tuple[datetime, str] | None]:
        """Returns a page of rules, and where the next one begins."""
        limit = min(page_size or _DEFAULT_PAGE, _LARGEST_PAGE)
        rules = await self._store.list_rules(tenant, after, limit + 1)
        more = len(rules) > limit
        return rules[:limit], (rules[limit - 1].created_at, rules[limit - 1].rule_id) if more else None

    async def update(self, tenant: str, rule_id: str, definition: Definition) -> tuple[Rule, str]:
        """Replaces a rule, and returns it with the secret of its webhook if it has got one now."""
        _found(await self._store.get_rule(tenant, rule_id), rule_id)
        definition = await self._checked(tenant, definition)
        secret, sealed = self._secrets.make() if definition.webhook_url else ("", None)
        rule, is_new = _found(await self._store.change_rule(tenant, rule_id, definition, sealed), rule_id)
        return rule, secret if is_new else ""

    async def delete(self, tenant: str, rule_id: str) -> None:
        """Deletes a rule."""
        if not await self._store.delete_rule(tenant, rule_id):
            raise _missing(rule_id)

    async def rotate(self, tenant: str, rule_id: str) -> tuple[Rule, str]:
        """Makes a new secret."""
        rule = _found(await self._store.get_rule(tenant, rule_id), rule_id)
        if not rule.definition.webhook_url:
            raise FailedPrecondition(Reason.STATE_FORBIDS, "the rule has no webhook")
        self._check_secrets()
        secret, sealed = self._secrets.make()
        return _found(await self._store.set_secret(tenant, rule_id, sealed), rule_id), secret

    async def alerts(
        self, tenant: str, rule_id: str, kind: int, before: int | None, page_size: int
    ) -> tuple[list[Alert], tuple[int] | None]:
        """Returns a page of alerts, and where the next one begins."""
        limit = min(page_size or _DEFAULT_PAGE, _LARGEST_PAGE)
        alerts = await self._store.list_alerts(tenant, rule_id, kind, before, limit + 1)
        return alerts[:limit], (alerts[limit - 1].number,) if len(alerts) > limit else None

    async def number(self, tenant: str, alert_id: str) -> int:
        """Returns the number of an alert."""
        number = await self._store.alert_number(tenant, alert_id)
        if number is None:
            raise InvalidInput("after_alert_id", "is the id of no alert")
        return number

    async def deliveries(
        self, tenant: str, state: int, before: int | None, page_size: int
    ) -> tuple[list[Delivery], tuple[int] | None]:
        """Returns a page of deliveries, and where the next one begins."""
        limit = min(page_size or _DEFAULT_PAGE, _LARGEST_PAGE)
        found: Sequence[Delivery] = await self._store.list_deliveries(tenant, state, before, limit + 1)
        return list(found[:limit]), (found[limit - 1].alert.number,) if len(found) > limit else None

    async def replay(self, tenant: str, alert_id: str) -> Delivery:
        """Has a delivery tried anew; one that waits already just waits."""
        delivery = await self._store.replay(tenant, alert_id)
        if delivery is None:
            raise NotFound(Reason.ENTITY_NOT_FOUND, f"no delivery has the id {alert_id}")
        return delivery

    async def _checked(self, tenant: str, definition: Definition) -> Definition:
        """Returns the definition with what is looked up for it."""
        if definition.measure is Measure.FORECAST and not self._forecasts:
            raise FailedPrecondition(Reason.STATE_FORBIDS, "nothing forecasts here, so that no rule can be about it")
        if isinstance(definition.place, AtStation):
            station_id = definition.place.station_id
            owner = await self._store.station_tenant(tenant, station_id)
            if owner is None:
                raise NotFound(Reason.STATION_NOT_FOUND, f"no station has the id {station_id!r}")
            definition = definition.at(AtStation(station_id, owner))
        if isinstance(definition.place, Polygon):
            check_polygon(definition.place, "rule.polygon.coordinates")
            if problem := await self._store.explain_area(definition):
                raise InvalidInput("rule.polygon.coordinates", problem, reason=Reason.INVALID_GEOMETRY)
        if definition.webhook_url:
            self._check_secrets()
            await self._poster.check(definition.webhook_url, "rule.webhook_url")
        return definition

    def _check_secrets(self) -> None:
        if not self._secrets.available:
            raise FailedPrecondition(
                Reason.STATE_FORBIDS,
                "the service has no key to seal webhooks' secrets with (GEOMESH_AIRQUALITY_KEY_ENCRYPTION_KEY)",
            )


def _found(thing: ThingT | None, rule_id: str) -> ThingT:
    if thing is None:
        raise _missing(rule_id)
    return thing


def _missing(rule_id: str) -> NotFound:
    return NotFound(Reason.ENTITY_NOT_FOUND, f"no alert rule has the id {rule_id}")
