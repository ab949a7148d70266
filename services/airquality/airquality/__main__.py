"""Wires and runs the air-quality service."""

from airquality.alert_wiring import wire_alerts
from airquality.archive import Archive
from airquality.conditions import CurrentConditions
from airquality.ingest import Ingest
from airquality.repository import AirQualityRepository
from airquality.servicer import AirQualityServicer
from airquality.settings import Settings
from airquality.stations import Stations
from geomesh.geocoder.v1.geocoder_pb2_grpc import GeocoderServiceStub
from meshkit.cache import Cache
from meshkit.channels import Upstream
from meshkit.postgres import Postgres
from meshkit.serve import run, serve
from meshkit.tls import Certificates


async def main() -> None:
    """Serves until told to stop."""
    settings = Settings.load()
    # Conditions at a point cost about as much as asking Redis for them, and most points are asked for once.
    database, cache = Postgres(settings), Cache(settings, share_once_asked=False)
    geocoder = Upstream(settings.geocoder_address, "geocoder", certificates=Certificates.of(settings))
    repository = AirQualityRepository(database)
    stations = Stations(repository)
    servicer = AirQualityServicer(
        settings,
        stations=stations,
        ingest=Ingest(repository, transaction_rows=settings.transaction_rows),
        conditions=CurrentConditions(
            repository, max_age_seconds=settings.max_age_seconds, radius_meters=settings.current_radius_meters
        ),
        archive=Archive(repository, stations),
        cache=cache,
        geocoder=GeocoderServiceStub(geocoder.channel),
    )
    alerts = wire_alerts(settings, database, repository, None)
    await serve(
        settings, servicers=[servicer, alerts.servicer], dependencies=[database, cache, geocoder, *alerts.dependencies]
    )


run(main)
