"""Drops what is older than the settings keep: `python -m airquality.retention`, once a day by whatever runs such things."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Final

from airquality.repository import QUERIES
from airquality.settings import Settings
from meshkit.postgres import Postgres

_NEVER: Final = datetime(1900, 1, 1, tzinfo=UTC)


def moments(settings: Settings, now: datetime) -> tuple[datetime, datetime]:
    """Returns before which moments readings, and the hours that history is made of, are not kept."""
    days = (settings.readings_retention_days, settings.history_retention_days)
    readings, history = (now - timedelta(days=each) if each else _NEVER for each in days)
    return readings, history


async def drop(settings: Settings) -> list[str]:
    """Drops the partitions that nothing is kept of any more, and returns their names."""
    database = Postgres(settings.model_copy(update={"postgres_dsn": settings.owner_dsn}))
    await database.start()
    try:
        dropped: list[str] = await database.fetchval(
            QUERIES["drop_partitions"], *moments(settings, datetime.now(UTC)), retries=False
        )
        return dropped
    finally:
        await database.close()


def main() -> None:
    """Drops and tells what, or ends with one clear line."""
    settings = Settings.load()
    if not settings.owner_dsn.get_secret_value():
        sys.exit("airquality.retention: GEOMESH_AIRQUALITY_OWNER_DSN must be set")
    dropped = asyncio.run(drop(settings))
    sys.stdout.write(f"dropped: {', '.join(dropped) if dropped else 'nothing'}\n")


if __name__ == "__main__":
    main()
