"""Puts the alerts together, for `__main__` and for the tests."""

from dataclasses import dataclass

from airquality.alert_repository import AlertRepository
from airquality.alert_servicer import AlertServicer
from airquality.alerting.addresses import Gate
from airquality.alerting.evaluation import Evaluator
from airquality.alerting.feed import Feed
from airquality.alerting.following import Follower
from airquality.alerting.manage import AlertRules
from airquality.alerting.measuring import Foresight
from airquality.alerting.sender import Sender
from airquality.alerting.webhook import Poster, Secrets
from airquality.evaluation_repository import EvaluationRepository
from airquality.events import EventSource
from airquality.repository import AirQualityRepository
from airquality.settings import Settings
from meshkit.health import Dependency
from meshkit.postgres import Postgres


@dataclass(frozen=True, slots=True)
class Alerts:
    """What `meshkit.serve` takes of the alerts."""

    servicer: AlertServicer
    dependencies: list[Dependency]


def wire_alerts(
    settings: Settings,
    database: Postgres,
    repository: AirQualityRepository,
    source: EventSource | None,
    foresight: Foresight | None = None,
) -> Alerts:
    """Returns the alerts, started nowhere yet.

    Args:
        settings: The settings.
        database: Where rules are.
        repository: Where stations and readings are.
        source: Where events come from; None evaluates nothing in this process.
        foresight: What forecasts; None refuses rules about forecasts.
    """
    gap, seconds = settings.alert_max_gap_seconds, settings.alert_webhook_timeout_seconds
    store = AlertRepository(database, max_gap_seconds=gap)
    evaluation = EvaluationRepository(database, repository, max_gap_seconds=gap)
    poster = Poster(Gate(settings.alert_webhook_networks), timeout_seconds=seconds)
    secrets = Secrets(settings.derive_keys("webhook secrets"))
    feed = Feed(store, poll_seconds=settings.alert_poll_seconds)
    sender = Sender(
        store,
        poster,
        secrets,
        most=settings.alert_webhooks_at_once,
        per_tenant=settings.alert_webhooks_per_tenant,
        timeout_seconds=seconds,
        poll_seconds=settings.alert_poll_seconds,
        attempts=settings.alert_webhook_attempts,
        first_retry_seconds=settings.alert_webhook_first_retry_seconds,
        longest_retry_seconds=settings.alert_webhook_longest_retry_seconds,
    )
    rules = AlertRules(
        store, poster, secrets, most_rules=settings.alert_rules_per_tenant, forecasts=foresight is not None
    )
    dependencies: list[Dependency] = [feed, sender]
    if source is not None:
        evaluator = Evaluator(evaluation, foresight, max_age_seconds=settings.alert_max_age_seconds)
        dependencies.append(Follower(source, evaluator, evaluation, feed.poke))
    return Alerts(AlertServicer(rules, feed, max_gap_seconds=gap), dependencies)
