"""Wires and runs the air-quality service."""

from airquality.settings import Settings
from airquality.wiring import assemble
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
    servicer, alerts, parts = assemble(settings, database, cache, GeocoderServiceStub(geocoder.channel))
    await serve(
        settings,
        servicers=[servicer, alerts.servicer],
        dependencies=[database, cache, geocoder, *parts, *alerts.dependencies],
    )


run(main)
