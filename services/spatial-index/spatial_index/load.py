"""Loads the vessels that come with geomesh: `python -m spatial_index.load`.

Run again it skips at once what is loaded; an interrupted run is simply repeated, since each vessel is stored once.
"""

import asyncio
import hashlib
import sys
import time
from pathlib import Path
from typing import Final

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from spatial_index.ais import read_vessels
from spatial_index.repository import LoadRepository
from spatial_index.settings import Settings

FILE: Final = "ais_noaa_20220103_100k.csv.gz"
SOURCE: Final = (
    "AIS vessel positions of 2022-01-03 around the US (NOAA and US Coast Guard, MarineCadastre), public domain"
)

_CHUNK: Final = 2_000

_CONSOLE = Console(highlight=False, soft_wrap=True)


async def load(settings: Settings) -> None:
    """Loads the last position of each vessel of the file into the public tenant, as the schema's owner."""
    path = settings.data_dir / FILE
    if not path.exists():
        sys.exit(f"spatial_index.load: {path} is missing; GEOMESH_SPATIAL_INDEX_DATA_DIR says where to look")
    dsn = settings.owner_dsn.get_secret_value()
    if not dsn:  # asyncpg would look for a database of its own choice
        sys.exit("spatial_index.load: GEOMESH_SPATIAL_INDEX_OWNER_DSN must be set")
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC"})
    try:
        await _load(LoadRepository(connection), path)
    finally:
        await connection.close()


async def _load(repository: LoadRepository, path: Path) -> None:
    sha256 = _digest(path)
    loaded = await repository.find(sha256)
    if loaded is not None:
        _CONSOLE.print(f"spatial-index: {loaded:,} vessels are loaded: {SOURCE}")
        return
    started = time.monotonic()
    vessels = read_vessels(path)
    bar = (TextColumn("spatial-index: vessels"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bar, console=_CONSOLE) as progress:
        task = progress.add_task("", total=len(vessels))
        for start in range(0, len(vessels), _CHUNK):
            chunk = vessels[start : start + _CHUNK]
            await repository.upsert(chunk)
            progress.advance(task, len(chunk))
    await repository.note(sha256, path.name, len(vessels))
    _CONSOLE.print(f"spatial-index: {len(vessels):,} vessels loaded in {time.monotonic() - started:.1f} s: {SOURCE}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    asyncio.run(load(Settings.load()))
