"""The vessels that come with geomesh."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import asyncpg
import pytest

from meshkit.settings import CHECKOUT
from spatial_index.ais import read_vessels
from spatial_index.load import FILE


@pytest.fixture
def load(owner_url: Callable[[str], str]) -> Callable[[], str]:
    """Runs the loader as `make up` does and returns what it printed."""

    def run() -> str:
        environment = os.environ | {"GEOMESH_SPATIAL_INDEX_OWNER_DSN": owner_url("spatial-index")}
        done = subprocess.run(
            [sys.executable, "-m", "spatial_index.load"], env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    return run


def test_keeps_the_last_position_of_each_vessel() -> None:
    vessels = {vessel.entity_id: vessel for vessel in read_vessels(CHECKOUT / "data" / FILE)}
    assert len(vessels) == 10_631
    found = vessels["mmsi-368027230"]
    assert found.type == "vessel"
    assert found.time.date() == datetime(2022, 1, 3, tzinfo=UTC).date()
    assert min(vessel.time for vessel in vessels.values()) >= datetime(2022, 1, 3, tzinfo=UTC)


def test_what_a_transponder_does_not_know_is_absent() -> None:
    vessels = read_vessels(CHECKOUT / "data" / FILE)
    assert all(vessel.speed is None or vessel.speed < 102.3 * 1852 / 3600 for vessel in vessels)
    assert all(vessel.bearing is None or 0 <= vessel.bearing < 360 for vessel in vessels)
    named = Counter(name for vessel in vessels for name in vessel.attributes or {})
    assert set(named) == {
        *("name", "call_sign", "imo", "transceiver_class", "vessel_type", "navigation_status", "cargo"),
        *("length_meters", "width_meters", "draft_meters", "heading"),
    }
    assert all(0 < count <= len(vessels) for count in named.values())
    assert all(
        value not in {"", 511, "IMO0000000"} for vessel in vessels for value in (vessel.attributes or {}).values()
    )
    assert any(vessel.speed is None for vessel in vessels)
    assert any(vessel.bearing is None for vessel in vessels)


async def test_loads_once_and_skips_then(load: Callable[[], str], owner_url: Callable[[str], str]) -> None:
    first = load()
    assert "10,631 vessels loaded in" in first
    assert "NOAA" in first
    assert "public domain" in first
    connection = await asyncpg.connect(owner_url("spatial-index"))
    await connection.execute("DELETE FROM spatial_index.entity WHERE entity_id = 'mmsi-368027230'")
    assert "10,631 vessels are loaded" in load()
    # What is deleted since then stays so.
    assert await connection.fetchval("SELECT count(*) FROM spatial_index.entity WHERE tenant_id = 'public'") == 10_630
    await connection.close()


async def test_an_interrupted_load_is_finished_by_the_next(
    load: Callable[[], str], owner_url: Callable[[str], str]
) -> None:
    load()
    connection = await asyncpg.connect(owner_url("spatial-index"))
    await connection.execute("DELETE FROM spatial_index.load")
    await connection.execute("DELETE FROM spatial_index.entity WHERE entity_id > 'mmsi-367'")
    assert "10,631 vessels loaded in" in load()
    assert await connection.fetchval("SELECT count(*) FROM spatial_index.entity") == 10_631
    await connection.close()


def test_says_where_it_looked_for_a_missing_file(owner_url: Callable[[str], str]) -> None:
    environment = os.environ | {
        "GEOMESH_SPATIAL_INDEX_OWNER_DSN": owner_url("spatial-index"),
        "GEOMESH_SPATIAL_INDEX_DATA_DIR": "/nowhere",
    }
    done = subprocess.run(
        [sys.executable, "-m", "spatial_index.load"], env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"spatial_index.load: /nowhere/{FILE} is missing; GEOMESH_SPATIAL_INDEX_DATA_DIR says where to look"
    )


def test_says_which_setting_is_missing() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "GEOMESH_SPATIAL_INDEX_OWNER_DSN"}
    done = subprocess.run(
        [sys.executable, "-m", "spatial_index.load"], env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "spatial_index.load: GEOMESH_SPATIAL_INDEX_OWNER_DSN must be set"
