"""Drops what is older than the settings keep: `python -m airquality.retention`, once a day by whatever runs such things."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Final

from airquality.repository import QUERIES
from airquality.settings import Settings
from meshkit.postgres import Postgres

_NEVER: Final = datetime(1900, 1, 1, tzinfo=UTC)
_ALERTS_AT_ONCE: Final = 10_000  # so that no transaction is long


def moments(settings: Settings, now: datetime) -> tuple[datetime, datetime, datetime]:
    """Returns before which moments readings, the hours that history is made of, and alerts are not kept."""
    days = (settings.readings_retention_days, settings.history_retention_days, settings.alerts_retention_days)
    readings, history, alerts = (now - timedelta(days=each) if each else _NEVER for each in days)
    return readings, history, alerts


async def drop(settings: Settings) -> list[str]:
    """Drops the partitions that nothing is kept of any more, and old alerts; returns what that was."""
    database = Postgres(settings.model_copy(update={"postgres_dsn": settings.owner_dsn}))
    await database.start()
    readings, history, alerts = moments(settings, datetime.now(UTC))
    try:
        dropped: list[str] = await database.fetchval(QUERIES["drop_partitions"], readings, history, retries=False)
        deleted = await _delete_alerts(database, alerts)
    finally:
        await database.close()
    return [*dropped, f"{deleted} alert{'s' if deleted > 1 else ''}"] if deleted else dropped


async def _delete_alerts(database: Postgres, before: datetime) -> int:
    """Deletes the alerts of all tenants from before a moment that nobody is still to be told of; returns how many."""
    total = 0
    while deleted := int(await database.fetchval(QUERIES["delete_old_alerts"], before, _ALERTS_AT_ONCE, retries=False)):
        total += deleted
    return total


def main() -> None:
    """Drops and tells what, or ends with one clear line."""
    settings = Settings.load()
    if not settings.owner_dsn.get_secret_value():
        sys.exit("airquality.retention: GEOMESH_AIRQUALITY_OWNER_DSN must be set")
    dropped = asyncio.run(drop(settings))
    sys.stdout.write(f"dropped: {', '.join(dropped) if dropped else 'nothing'}\n")


if __name__ == "__main__":
    main()
