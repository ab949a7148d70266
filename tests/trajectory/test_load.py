import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from meshkit.postgres import Postgres
from trajectory import load as loader
from trajectory.ais import read_ais
from trajectory.load import load
from trajectory.repository import LoadRepository, PositionRepository
from trajectory.settings import Settings
from trajectory.track import to_datetime

COLUMNS = ["MMSI", "BaseDateTime", "LAT", "LON", "SOG", "COG", "Heading", "Status"]


def write(folder: Path, rows: list[tuple[object, ...]]) -> Path:
    path = folder / loader.FILE
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return path


def row(
    minute: int, sog: str = "10.0", cog: str = "90.0", heading: str = "91", status: str = "0"
) -> tuple[object, ...]:
    return (366899260, f"2022-01-03T00:{minute:02}:00", 34.5, -119.5, sog, cog, heading, status)


@pytest.fixture
def settings(owner_url: Callable[[str], str], tmp_path: Path) -> Settings:
    return Settings(owner_dsn=owner_url("trajectory"), data_dir=tmp_path)


def test_what_a_transponder_does_not_know_is_absent(tmp_path: Path) -> None:
    path = write(tmp_path, [row(0), row(1, sog="102.3", cog="360.0", heading="511", status=""), row(2, "", "", "", "")])
    known, unknown, empty = read_ais(path)
    assert known.entity_id == "mmsi-366899260"
    assert known.speed == pytest.approx(5.1444, abs=1e-4)
    assert (known.bearing, known.attributes) == (90.0, '{"heading": 91.0, "navigation_status": 0}')
    assert (unknown.speed, unknown.bearing, unknown.attributes) == (None, None, None)
    assert (empty.speed, empty.bearing, empty.attributes) == (None, None, None)


async def test_loads_public_tracks_once(
    settings: Settings, tmp_path: Path, repository: PositionRepository, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, [row(minute) for minute in range(30)])
    await load(settings)
    assert "30 positions loaded, 30 of them new" in capsys.readouterr().out
    await load(settings)
    printed = capsys.readouterr().out
    assert "30 positions are loaded" in printed
    assert "public domain" in printed
    key = await repository.find_entity("anyone", "mmsi-366899260")
    assert key is not None
    track = await repository.read("anyone", key, None, None, limit=100)
    assert [to_datetime(time).minute for time in track.times.tolist()] == list(range(30))


async def test_goes_on_where_it_was_interrupted(
    settings: Settings,
    tmp_path: Path,
    database: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path, [row(minute) for minute in range(30)])
    monkeypatch.setattr(loader, "_CHUNK", 10)
    add, calls = LoadRepository.add, []

    async def add_twice(self: LoadRepository, *arguments: object, **named: object) -> int:
        calls.append(named)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return await add(self, *arguments, **named)  # type: ignore[arg-type]  # passes on what it was given

    monkeypatch.setattr(LoadRepository, "add", add_twice)
    with pytest.raises(KeyboardInterrupt):
        await load(settings)
    assert await database.fetchval("SELECT count(*) FROM trajectory.positions") == 20
    capsys.readouterr()
    await load(settings)
    assert "30 positions loaded, 10 of them new" in capsys.readouterr().out


async def test_says_which_file_is_missing(settings: Settings) -> None:
    with pytest.raises(SystemExit, match=loader.FILE):
        await load(settings)


async def test_says_that_it_was_not_told_which_database(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path, [row(0)])
    with pytest.raises(SystemExit, match="GEOMESH_TRAJECTORY_OWNER_DSN"):
        await load(settings.model_copy(update={"owner_dsn": Settings.model_fields["owner_dsn"].default}))
