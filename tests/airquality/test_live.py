"""The parts of watching that need no store."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import h3  # type: ignore[import-untyped]  # ships no types
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airquality.events import EventExpired, StoredReading
from airquality.live.areas import Area, Cells, Circle, Named, Rectangle
from airquality.live.eventformat import LARGEST_EVENT, Event, StationFacts, decode, encode
from airquality.live.hub import Hub
from airquality.live.subscription import Subscription, Wanted
from airquality.live.subscriptions import Subscriptions
from airquality.readings import Readings

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATS, LNGS = st.floats(-90, 90), st.floats(-180, 180)
EVER = timedelta(days=36_500)


def stored(
    station_id: str = "s", lat: float = 10.0, lng: float = 20.0, tenant: str = "public", value: float = 1.0
) -> StoredReading:
    return StoredReading(tenant, station_id, lat, lng, 1, value, "µg/m³", NOW)


def wanted(area: Area, tenant: str = "public") -> Wanted:
    return Wanted(tenant, area, None, EVER)


def subscription(area: Area, tenant: str = "public") -> Subscription:
    return Subscription(wanted(area, tenant), 0, limit=4)


class Outbox:
    """Events kept in memory."""

    def __init__(self) -> None:
        self.kept: list[Event] = []

    async def last(self) -> int:
        return self.kept[-1].position if self.kept else 0

    async def events(self, position: int) -> AsyncIterator[Event]:
        for event in self.kept:
            if event.position > position:
                yield event

    async def after(self, position: int, limit: int) -> list[Event]:
        return [event for event in self.kept if event.position > position][:limit]

    def close(self) -> None:
        self.kept.clear()


def hub_of(outbox: Outbox) -> Hub:
    def render(readings: "list[StoredReading]") -> bytes:
        return b"".join(b"%d " % each.value for each in readings)

    return Hub(outbox, outbox, render, most=100, waiting_updates=4, heartbeat_seconds=30, stall_seconds=60)  # type: ignore[arg-type]  # a list is a sequence


def event(position: int, *readings: StoredReading) -> Event:
    return Event(position, NOW, readings or (stored(value=float(position)),))


@given(lat=LATS, lng=LNGS, radius=st.floats(1, 2_000_000), bearing=st.floats(0, 360), part=st.floats(0, 1))
def test_the_cells_of_a_circle_cover_it(lat: float, lng: float, radius: float, bearing: float, part: float) -> None:
    circle = Circle(lat, lng, radius)
    # On a sphere, which a degree at the poles is half a per cent longer than.
    there = _travelled(lat, lng, bearing, radius * part * 0.99)
    assert circle.holds("public", "s", *there)
    cells = circle.cells()
    assert h3.latlng_to_cell(*there, h3.get_resolution(cells[0])) in cells
    assert len(cells) <= 122
    west, east, south, north = circle.box()
    assert Rectangle((west, east, south, north)).holds("public", "s", *there)


@given(west=LNGS, east=LNGS, south=LATS, north=LATS, across=st.floats(0, 1), up=st.floats(0, 1))
def test_the_cells_of_a_box_cover_it(
    west: float, east: float, south: float, north: float, across: float, up: float
) -> None:
    south, north = sorted((south, north))
    box = Rectangle((west, east, south, north))
    width = east - west if west <= east else east - west + 360
    lng = (west + width * across + 180) % 360 - 180
    lat = south + (north - south) * up
    if not box.holds("public", "s", lat, lng):  # a rounding beyond the edge
        return
    cells = box.cells()
    assert h3.latlng_to_cell(lat, lng, h3.get_resolution(cells[0])) in cells


def _travelled(lat: float, lng: float, bearing: float, meters: float) -> tuple[float, float]:
    """Returns the point so far away on a sphere of the Earth's mean radius, by the formula of the great circle."""
    arc, course, phi = meters / 6_371_008.8, np.radians(bearing), np.radians(lat)
    there = np.arcsin(np.clip(np.sin(phi) * np.cos(arc) + np.cos(phi) * np.sin(arc) * np.cos(course), -1, 1))
    turn = np.arctan2(np.sin(course) * np.sin(arc) * np.cos(phi), np.cos(arc) - np.sin(phi) * np.sin(there))
    return float(np.degrees(there)), float((lng + np.degrees(turn) + 180) % 360 - 180)


@pytest.mark.parametrize(
    "area",
    [
        Circle(10.0, 20.0, 5_000.0),
        Rectangle((19.0, 21.0, 9.0, 11.0)),
        Cells(frozenset({h3.latlng_to_cell(10.0, 20.0, 5), h3.latlng_to_cell(50.0, 20.0, 2)})),
        Named(frozenset({("public", "s")})),
    ],
)
def test_a_reading_finds_those_who_want_it_and_no_others(area: Area) -> None:
    index = Subscriptions()
    here, elsewhere = subscription(area), subscription(Circle(-40.0, 20.0, 5_000.0))
    index.add(here)
    index.add(elsewhere)
    assert list(index.near(stored())) == [here]
    index.remove(here)
    index.remove(here)
    assert list(index.near(stored())) == []
    assert list(index.near(stored(lat=-40.0))) == [elsewhere]


def test_a_reading_of_a_tenant_is_looked_up_among_its_own_subscriptions_alone() -> None:
    index = Subscriptions()
    acme, rival, anyone = (subscription(Circle(10.0, 20.0, 100.0), each) for each in ("acme", "rival", "public"))
    for each in (acme, rival, anyone):
        index.add(each)
    assert list(index.near(stored(tenant="acme"))) == [acme]
    assert list(index.near(stored())) == [acme, rival, anyone]


def test_an_event_is_read_as_it_was_written() -> None:
    count = LARGEST_EVENT + 1
    readings = Readings(
        station=np.arange(count) % 3 + 7,
        pollutant=np.full(count, 3),
        averaging_period=np.full(count, 4),
        unit=np.full(count, 3),
        time=np.arange(count) * 3_600_000_000 + 1,
        value=np.arange(count) / 7,
    )
    facts = {number: StationFacts("acme", f"s{number}", "tests", 1.5, -2.5) for number in (7, 8, 9)}
    written = encode(readings, facts, NOW, np.arange(count) % 64)
    first, second = (decode(position, each) for position, each in enumerate(written, 41))
    assert (first.position, second.position, len(first.readings), len(second.readings)) == (41, 42, LARGEST_EVENT, 1)
    assert first.stored_at == NOW
    assert first.readings[1] == StoredReading(
        "acme", "s8", 1.5, -2.5, 3, 1 / 7, "ppb", datetime(1970, 1, 1, 1, 0, 0, 1, tzinfo=UTC), 1, 4, "tests"
    )


async def test_what_was_missed_comes_from_memory_or_from_the_outbox() -> None:
    outbox = Outbox()
    hub = hub_of(outbox)
    for position in range(1, 101):
        outbox.kept.append(event(position))
        if position > 50:
            hub.dispatch(outbox.kept[-1])
    for after in (10, 49, 50, 60, 99, 100):
        late = hub.admit(wanted(Circle(10.0, 20.0, 100.0)))
        missed = await hub.missed(late, after)
        assert [each.position for each in missed] == list(range(after + 1, 101))
    del outbox.kept[:20]
    with pytest.raises(EventExpired):
        await hub.missed(hub.admit(wanted(Circle(10.0, 20.0, 100.0))), 10)
    with pytest.raises(EventExpired):
        await hub.missed(hub.admit(wanted(Circle(10.0, 20.0, 100.0))), 101)


async def test_one_who_saw_more_on_another_process_is_not_told_again() -> None:
    outbox = Outbox()
    hub = hub_of(outbox)
    outbox.kept = [event(position) for position in range(1, 6)]
    for each in outbox.kept[:3]:
        hub.dispatch(each)
    ahead = hub.admit(wanted(Circle(10.0, 20.0, 100.0)))
    assert await hub.missed(ahead, 4) == []
    for each in outbox.kept[3:]:
        hub.dispatch(each)
    assert [each.position for each in ahead.take()[0]] == [5]


async def test_what_waits_is_bounded_and_given_up_whole() -> None:
    hub = hub_of(Outbox())
    slow = hub.admit(wanted(Circle(10.0, 20.0, 100.0)))
    for position in range(1, 11):
        hub.dispatch(event(position))
    async with asyncio.timeout(1):
        await slow.ready()
    assert slow.skipped == 10
    assert slow.take()[0] == []
    assert slow.restart(9) == 10
    hub.dispatch(event(11))
    assert [each.position for each in slow.take()[0]] == [11]


def test_readings_that_are_too_old_when_they_are_stored_are_not_told() -> None:
    short = Wanted("public", Circle(10.0, 20.0, 100.0), None, timedelta(hours=1))
    assert short.takes([stored()], NOW + timedelta(minutes=59))
    assert not short.takes([stored()], NOW + timedelta(minutes=61))
