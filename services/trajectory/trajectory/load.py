"""Loads the vessel positions that come with geomesh: `python -m trajectory.load`.

Run again it skips at once what is loaded, and goes on where an interrupted run stopped.
"""

import asyncio
import hashlib
import itertools
import sys
import time
from pathlib import Path
from typing import Final

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trajectory.ais import read_ais
from trajectory.positions import Positions
from trajectory.repository import LoadRepository
from trajectory.settings import Settings

FILE: Final = "ais_noaa_20220103_100k.csv.gz"
SOURCE: Final = (
    "AIS vessel positions of 2022-01-03 around the US (NOAA and US Coast Guard, MarineCadastre), public domain"
)

_CHUNK: Final = 5_000
_ROWS: Final = 99_999
"""Rows of the file, for the progress bar."""

_CONSOLE: Final = Console(highlight=False, soft_wrap=True)


async def load(settings: Settings) -> None:
    """Loads the file into the public tenant as the schema's owner, chunk by committed chunk."""
    path = settings.data_dir / FILE
    if not path.exists():
        sys.exit(f"trajectory.load: {path} is missing; GEOMESH_TRAJECTORY_DATA_DIR says where to look")
    if not settings.owner_dsn.get_secret_value():
        sys.exit("trajectory.load: GEOMESH_TRAJECTORY_OWNER_DSN must be set")
    connection = await asyncpg.connect(settings.owner_dsn.get_secret_value(), server_settings={"timezone": "UTC"})
    try:
        await _load(LoadRepository(connection), path)
    finally:
        await connection.close()


async def _load(repository: LoadRepository, path: Path) -> None:
    sha256 = _digest(path)
    state = await repository.find(sha256)
    if state.finished:
        _CONSOLE.print(f"trajectory: {state.rows_done:,} positions are loaded: {SOURCE}")
        return
    started = time.monotonic()
    done, added = state.rows_done, 0
    rows = itertools.islice(read_ais(path), done, None)
    bar = (TextColumn("trajectory: positions"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bar, console=_CONSOLE) as progress:
        task = progress.add_task("", total=_ROWS, completed=done)
        finished = False
        while not finished:
            chunk = Positions.of(itertools.islice(rows, _CHUNK))
            done, finished = done + len(chunk), len(chunk) < _CHUNK
            added += await repository.add(sha256, path.name, chunk, rows_done=done, finished=finished)
            progress.update(task, completed=done)
    seconds = time.monotonic() - started
    _CONSOLE.print(f"trajectory: {done:,} positions loaded, {added:,} of them new, in {seconds:.1f} s: {SOURCE}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    asyncio.run(load(Settings.load()))
