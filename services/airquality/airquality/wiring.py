"""How the parts of the service fit together; `__main__` and the tests put them together alike."""

from typing import TYPE_CHECKING

from airquality.alert_wiring import Alerts, wire_alerts
from airquality.archive import Archive
from airquality.conditions import CurrentConditions
from airquality.events import EventSource
from airquality.forecast.forecasts import Forecasts
from airquality.forecast.foresight import StationForesight
from airquality.forecast.registry import Models
from airquality.forecast_repository import ForecastRepository
from airquality.hot import Replies, Warmth
from airquality.ingest import Ingest
from airquality.latest import LatestValues
from airquality.live import outbox
from airquality.live.wiring import Live
from airquality.mapping import Maps
from airquality.moments import Moments
from airquality.recorder import Recorder
from airquality.repository import AirQualityRepository
from airquality.servicer import AirQualityServicer
from airquality.settings import Settings
from airquality.stations import Stations
from meshkit.cache import Cache
from meshkit.health import Dependency
from meshkit.postgres import Postgres

if TYPE_CHECKING:  # only the stub file knows it
    from geomesh.geocoder.v1.geocoder_pb2_grpc import GeocoderServiceAsyncStub


def assemble(
    settings: Settings,
    database: Postgres,
    cache: Cache,
    geocoder: "GeocoderServiceAsyncStub",
    events: EventSource | None = None,
    models: Models | None = None,
) -> tuple[AirQualityServicer, Alerts, list[Dependency]]:
    """Returns the servicer, the alerts, and what the servicer depends on beside database, cache and geocoder."""
    repository, live = AirQualityRepository(database), Live(settings, database)
    stations, forecast_store = Stations(repository), ForecastRepository(database)
    models = models or Models(forecast_store, check_seconds=settings.forecast_check_seconds)
    forecasts = Forecasts(forecast_store, models, radius_meters=settings.current_radius_meters)
    max_age = settings.max_age_seconds
    latest = LatestValues(
        repository, events or live.events, max_age_seconds=max_age, reread_seconds=settings.latest_reread_seconds
    )
    replies = Replies(
        cache,
        Warmth(
            most=settings.hot_places,
            least_score=settings.hot_requests,
            half_life_seconds=settings.hot_half_life_seconds,
            every_seconds=settings.warming_seconds,
            lead_seconds=settings.warming_lead_seconds,
        ),
    )
    servicer = AirQualityServicer(
        settings,
        stations=stations,
        ingest=Ingest(Recorder(database, outbox.append), transaction_rows=settings.transaction_rows),
        conditions=CurrentConditions(
            repository, max_age_seconds=max_age, radius_meters=settings.current_radius_meters, latest=latest
        ),
        archive=Archive(repository, stations),
        cache=cache,
        replies=replies,
        maps=Maps(Moments(repository, latest, max_age_seconds=max_age), repository),
        geocoder=geocoder,
        watching=live.watching,
        forecasts=forecasts,
    )
    alerts = wire_alerts(settings, database, repository, live.events, StationForesight(forecasts))
    return servicer, alerts, [*live.dependencies, latest, replies, models]
