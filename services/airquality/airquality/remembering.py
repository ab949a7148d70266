"""Makes the memory of readings that are stored: `python -m airquality.remembering`.

It is needed once after an upgrade from a version that kept none, and changes nothing where all is remembered.
"""

import asyncio
import sys

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from airquality.readings import Readings
from airquality.recorder import Recorder
from airquality.repository import QUERIES
from airquality.settings import Settings
from meshkit.postgres import Postgres


async def remember(database: Postgres, console: Console) -> int:
    """Takes every stored reading into the days of its series, and returns how many readings there were."""
    recorder, count = Recorder(database), 0
    bars = (TextColumn("series"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bars, console=console) as progress:
        for station, pollutant, period in progress.track(await database.fetch(QUERIES["find_all_series"])):
            row = await database.fetchrow(QUERIES["find_raw"], station, pollutant, period)
            if row is None or row["times"] is None:
                continue
            times = np.array(row["times"], dtype=np.int64)
            same = (np.full(len(times), each, dtype=np.int64) for each in (station, pollutant, period))
            stations, pollutants, periods = same
            units = np.array(row["units"], dtype=np.int64)
            readings = Readings(stations, pollutants, periods, units, times, np.array(row["values"]))
            await recorder.remember(readings, np.array(row["flags"], dtype=np.int64))
            count += len(times)
    return count


async def _run(settings: Settings) -> None:
    database = Postgres(settings.model_copy(update={"postgres_dsn": settings.owner_dsn}))
    await database.start()
    console = Console(soft_wrap=True)
    try:
        console.print(f"{await remember(database, console)} readings are remembered", highlight=False)
    finally:
        await database.close()


def main() -> None:
    """Remembers, or ends with one clear line."""
    settings = Settings.load()
    if not settings.owner_dsn.get_secret_value():
        sys.exit("airquality.remembering: GEOMESH_AIRQUALITY_OWNER_DSN must be set")
    asyncio.run(_run(settings))


if __name__ == "__main__":
    main()
