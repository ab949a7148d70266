"""What is stored of an area at one moment."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from asyncpg import Record

from airquality.live.areas import Named
from airquality.live.subscription import Wanted
from airquality.live.watching import Snapshot, Watched
from airquality.stations import Latest, Station
from meshkit.postgres import Postgres, load_queries

QUERIES: Final = load_queries("airquality")

_EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)


class Snapshots:
    """Reads snapshots for one tenant at a time, whose own rows come beside the public ones."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def snapshot(self, wanted: Wanted, limit: int) -> Snapshot:
        """Returns at most so many stations that are, or may be, in the area."""
        named = isinstance(wanted.area, Named)
        west, east, south, north = (0.0, 0.0, 0.0, 0.0) if isinstance(wanted.area, Named) else wanted.area.box()
        ids = sorted({each for _, each in wanted.area.stations}) if isinstance(wanted.area, Named) else None
        now = datetime.now(UTC)
        since = now - wanted.max_age if wanted.max_age < now - _EARLIEST else _EARLIEST
        rows = await self._database.fetch(
            QUERIES["snapshot_watched"],
            wanted.tenant,
            west,
            east,
            south,
            north,
            ids,
            since,
            None if wanted.pollutants is None else sorted(wanted.pollutants),
            2 * limit if named else limit,
            tenant=wanted.tenant,
        )
        return Snapshot(rows[0]["position"], _stations(rows))

    async def find_named(self, tenant: str, station_ids: Sequence[str]) -> dict[str, str]:
        """Returns the tenants of stations by their ids: of two with one id the caller's own."""
        rows = await self._database.fetch(QUERIES["find_watched"], tenant, list(station_ids), tenant=tenant)
        return {row["station_id"]: row["tenant_id"] for row in rows}


def _stations(rows: Sequence[Record]) -> list[Watched]:
    found: dict[int, tuple[Watched, list[Latest]]] = {}
    for row in rows:
        if row["id"] is None:
            continue
        if row["id"] not in found:
            latest: list[Latest] = []
            station = Station(
                row["station_id"],
                row["provider"],
                row["name"],
                row["agency"],
                row["lat"],
                row["lng"],
                row["id"],
            )
            found[row["id"]] = (Watched(row["tenant_id"], station, latest), latest)
        if row["pollutant"] is not None:
            found[row["id"]][1].append(
                Latest(row["pollutant"], row["averaging_period"], row["time"], row["value"], row["unit"], row["flags"])
            )
    return [watched for watched, _ in found.values()]
