"""Heavy geometry, which must hold nobody up."""

import asyncio
import math
import time
from contextlib import suppress

import psutil
import pytest
from google.protobuf.json_format import ParseDict

from geomesh.spatial_index.v1 import spatial_index_pb2 as pb
from meshkit.errors import InvalidInput, Reason
from spatial_index import convert, geojson
from spatial_index.aside import Aside
from spatial_index.cover import cover

CORNERS = 9_000


def coast(resolution: int = 6, *, crossed: bool = False) -> pb.CoverAreaRequest:
    """Asks to cover an island of half a continent's size with a ragged coast."""
    turns = [2 * math.pi * corner / CORNERS for corner in range(CORNERS)]
    reach = [6 + 0.06 * math.sin(17 * corner) for corner in range(CORNERS)]
    ring = [
        [far * math.cos(turn) - 100, 0.8 * far * math.sin(turn) + 40] for far, turn in zip(reach, turns, strict=True)
    ]
    if crossed:
        ring[10], ring[4000] = ring[4000], ring[10]
    geometry = ParseDict({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, pb.Geometry())
    return pb.CoverAreaRequest(area=geometry, resolution=resolution, containment=pb.CONTAINMENT_CENTER)


async def test_a_large_area_is_covered_by_the_same_cells_while_the_loop_goes_on() -> None:
    request, aside = coast(), Aside(50_000)
    await aside.cover(coast(2))  # the process starts, which takes a while and holds nobody up either
    covering = asyncio.create_task(aside.cover(request))
    longest = 0.0
    while not covering.done():
        before = time.monotonic()
        await asyncio.sleep(0.001)
        longest = max(longest, time.monotonic() - before)
    area = geojson.area(request.area, "area")
    before = time.monotonic()
    expected = cover(area, 6, convert.CONTAINMENTS[pb.CONTAINMENT_CENTER], compact=False, max_cells=50_000)
    assert longest < (time.monotonic() - before) / 2  # as long as it would have been here
    assert set(covering.result().cells) == set(expected.cells)
    assert covering.result().cell_count == expected.cell_count > 20_000


async def test_what_is_wrong_with_a_large_area_is_told_as_with_a_small_one() -> None:
    aside = Aside(50_000)
    with pytest.raises(InvalidInput) as refusal:
        await aside.cover(coast(crossed=True))
    (violation,) = refusal.value.violations
    assert (refusal.value.reason, violation.field) == (Reason.INVALID_GEOMETRY, "area.coordinates[0]")
    assert violation.description.startswith("crosses or touches itself at [")
    with pytest.raises(InvalidInput) as refusal:
        await aside.cover(coast(15))
    assert refusal.value.reason is Reason.RESULT_TOO_LARGE


async def test_one_whose_caller_goes_away_makes_room_for_the_next() -> None:
    aside = Aside(50_000)
    await aside.cover(coast(2))
    gone = asyncio.create_task(aside.cover(coast()))
    await asyncio.sleep(0.1)
    gone.cancel()
    with suppress(asyncio.CancelledError):
        await gone
    assert gone.cancelled()
    async with asyncio.timeout(20):
        assert (await aside.cover(coast(4))).cell_count > 300


async def test_a_process_that_was_killed_is_replaced() -> None:
    aside = Aside(50_000)
    before = {each.pid for each in psutil.Process().children()}
    assert (await aside.cover(coast(4))).cell_count > 300
    (process,) = [each for each in psutil.Process().children() if each.pid not in before]
    process.kill()
    assert (await aside.cover(coast(4))).cell_count > 300
