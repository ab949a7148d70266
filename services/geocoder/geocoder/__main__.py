"""Wires and runs the geocoder."""

from geocoder.repository import GazetteerRepository
from geocoder.servicer import GeocoderServicer
from geocoder.settings import Settings
from meshkit.cache import Cache
from meshkit.postgres import Postgres
from meshkit.serve import run, serve


async def main() -> None:
    """Serves until told to stop."""
    settings = Settings.load()
    database = Postgres(settings, generic_plans=True)
    cache = Cache(settings)
    gazetteer = GazetteerRepository(database, watch_seconds=settings.gazetteer_watch_seconds)
    servicer = GeocoderServicer(settings, gazetteer, cache)
    await serve(settings, servicers=[servicer], dependencies=[database, cache, gazetteer])


if __name__ == "__main__":
    run(main)
