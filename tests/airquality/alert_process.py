"""The alert service in a process of its own, on events that the tests put into Redis: `python -m tests.airquality.alert_process`."""

from airquality.alert_wiring import wire_alerts
from airquality.repository import AirQualityRepository
from airquality.settings import Settings
from meshkit.postgres import Postgres
from meshkit.serve import run, serve
from tests.airquality.alerting import RedisEvents


async def main() -> None:
    """Serves until told to stop."""
    settings = Settings.load()
    database = Postgres(settings)
    source = RedisEvents(settings.redis_url.get_secret_value())
    alerts = wire_alerts(settings, database, AirQualityRepository(database), source)
    await serve(settings, servicers=[alerts.servicer], dependencies=[database, *alerts.dependencies])


if __name__ == "__main__":
    run(main)
