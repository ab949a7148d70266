"""Runs the spatial-index service: `python -m spatial_index`."""

from meshkit.postgres import Postgres
from meshkit.serve import run, serve
from spatial_index.entities import Entities
from spatial_index.repository import EntityRepository
from spatial_index.servicer import SpatialIndexServicer
from spatial_index.settings import Settings


async def main() -> None:
    """Wires the service together."""
    settings = Settings.load()
    database = Postgres(settings)
    servicer = SpatialIndexServicer(settings, Entities(EntityRepository(database)))
    await serve(settings, servicers=[servicer], dependencies=[database])


if __name__ == "__main__":
    run(main)
