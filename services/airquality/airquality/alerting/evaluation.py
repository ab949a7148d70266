"""Evaluates rules as readings arrive: every event once, whichever replica comes first."""

import math
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

import structlog
from prometheus_client import Counter

from airquality.alerting.definition import Definition, Rule
from airquality.alerting.measuring import Foresight, Meter, ReportStore
from airquality.alerting.places import merged
from airquality.alerting.rules import Kind, Sample, State, Transition, step
from airquality.events import EventBatch, StoredReading
from meshkit.errors import MeshError

_RAISED = Counter("geomesh_alerts_raised", "Alerts raised, by kind.", ["kind"])
_FAILED = Counter("geomesh_alert_rules_failed", "Evaluations of a rule that a defect kept from their end.")
_LOG = structlog.get_logger(__name__)
_NAMES: Final = uuid.UUID("5b1d9f0e-5d0c-4d8e-9d5a-6f1a0c7d2e61")
_MOST_STATIONS: Final = 10


class Match(NamedTuple):
    """A reading that a rule looks at: whose rule, which reading of those given, and the distance from a point."""

    tenant: str
    rule_id: str
    place: int
    distance_meters: float


class Raised(NamedTuple):
    """An alert to store; `deliver_at` is when its webhook is due, None without one."""

    alert_id: str
    rule_id: str
    kind: int
    severity: int
    body: dict[str, Any]
    deliver_at: datetime | None


class Evaluation(Protocol):
    """An event in work, which no other replica has: what is changed by it is stored at once or not at all."""

    async def matches(self, readings: Sequence[StoredReading]) -> list[Match]:
        """Returns which rules look at which readings."""

    async def rules(self, tenant: str, rule_ids: Sequence[str]) -> list[Rule]:
        """Returns rules of a tenant, which nobody changes until the end."""

    async def save(self, tenant: str, states: Mapping[str, State], raised: Sequence[Raised]) -> None:
        """Stores states by rule, and alerts with their deliveries."""


class EvaluationStore(ReportStore, Protocol):
    """What an Evaluator needs of a repository."""

    def evaluating(self, event_id: int) -> AbstractAsyncContextManager[Evaluation | None]:
        """Takes an event, waiting for a replica that evaluates; gives None when it, or a later one, is done already."""


class Evaluator:
    """Evaluates events."""

    def __init__(self, store: EvaluationStore, foresight: Foresight | None, *, max_age_seconds: float) -> None:
        """Makes it.

        Args:
            store: Where rules are.
            foresight: What forecasts; None where nothing does.
            max_age_seconds: Age of a reading, from the start of its period, from which on it raises no alert.
        """
        self._store = store
        self._foresight = foresight
        self._max_age = timedelta(seconds=max_age_seconds)

    async def take(self, event: EventBatch, now: datetime | None = None) -> int:
        """Evaluates an event, and returns how many alerts it raised.

        Raises:
            MeshError: The database does not answer. Nothing was done, and the event may be taken again.
        """
        now = now or datetime.now(UTC)
        async with self._store.evaluating(int(event.event_id)) as evaluation:
            if evaluation is None:
                return 0
            readings = [each for each in event.readings if now - each.time <= self._max_age]
            readings.sort(key=lambda each: each.time)
            if not readings:
                return 0
            meter = Meter(self._store, self._foresight, max_age_seconds=self._max_age.total_seconds())
            by_tenant: dict[str, dict[str, list[Match]]] = defaultdict(lambda: defaultdict(list))
            for match in await evaluation.matches(readings):
                by_tenant[match.tenant][match.rule_id].append(match)
            count = 0
            for tenant, matches in by_tenant.items():
                count += await self._of_tenant(evaluation, meter, tenant, matches, readings, event.event_id, now)
            return count

    async def _of_tenant(
        self,
        evaluation: Evaluation,
        meter: Meter,
        tenant: str,
        matches: Mapping[str, list[Match]],
        readings: Sequence[StoredReading],
        event_id: str,
        now: datetime,
    ) -> int:
        states: dict[str, State] = {}
        raised: list[Raised] = []
        for rule in await evaluation.rules(tenant, sorted(matches)):
            try:
                measured = await _measured(meter, tenant, rule.definition, matches[rule.rule_id], readings)
                states[rule.rule_id], transitions = judge(rule.definition, rule.state, measured, now)
            except MeshError:
                raise
            except Exception as error:  # noqa: BLE001 -- a defect that one rule meets must not keep all others waiting
                _FAILED.inc()
                _LOG.error("alert_rule_failed", rule_id=rule.rule_id, exc_info=error)
                continue
            raised += [_raise(rule, state, transition, event_id, now) for state, transition in transitions]
        await evaluation.save(tenant, states, raised)
        for each in raised:
            _RAISED.labels(Kind(each.kind).name.lower()).inc()
        return len(raised)


Measured = Iterable[tuple[datetime, Mapping[str, tuple[datetime, float, float]]]]


def judge(
    definition: Definition, state: State, measured: Measured, now: datetime
) -> tuple[State, list[tuple[State, Transition]]]:
    """Returns the state after what was measured, in the order of time, and each transition with the state it made."""
    transitions = []
    for _, values in measured:
        state, time, value = merged(definition, state, values)
        state, transition = step(definition.condition, state, Sample(time, value, now))
        if transition is not None:
            transitions.append((state, transition))
    return state, transitions


async def _measured(
    meter: Meter, tenant: str, definition: Definition, matches: Sequence[Match], readings: Sequence[StoredReading]
) -> Measured:
    """Returns by the start of their periods what stations say to a rule; what is no finite number is left out."""
    found: dict[datetime, dict[str, tuple[datetime, float, float]]] = defaultdict(dict)
    for match in sorted(matches, key=lambda each: each.place):
        reading = readings[match.place]
        if not (reading.counts or definition.include_flagged):
            continue
        value = await meter.measure(tenant, definition, reading)
        if value is not None and math.isfinite(value):
            station = f"{reading.tenant}/{reading.station_id}"
            found[reading.time][station] = (reading.time, value, match.distance_meters)
    return sorted(found.items())


def _raise(rule: Rule, state: State, transition: Transition, event_id: str, now: datetime) -> Raised:
    """Returns an alert. Its id is made of what raised it, so that the same one made twice is known as a repeat."""
    kind, since, sample = transition
    definition = rule.definition
    alert_id = str(uuid.uuid5(_NAMES, f"{rule.rule_id}/{event_id}/{int(kind)}/{sample.time.isoformat()}"))
    quiet = definition.condition.quiet
    body = {
        "type": f"alert.{kind.name.lower()}",
        "alert_id": alert_id,
        "rule_id": rule.rule_id,
        "rule_name": definition.name,
        "severity": definition.severity.name.lower(),
        "time": sample.time.isoformat(),
        "since_time": since.isoformat(),
        "value": sample.value,
        "threshold": definition.condition.threshold,
        "station_ids": sorted(name.partition("/")[2] for name in state.places)[:_MOST_STATIONS],
        "create_time": now.isoformat(),
    }
    due = None
    if definition.webhook_url:
        due = now if quiet is None else quiet.over(now)
    return Raised(alert_id, rule.rule_id, int(kind), int(definition.severity), body, due)
