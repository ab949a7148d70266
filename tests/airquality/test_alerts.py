"""Alerts as they are raised, ended, listed and watched, on a real database."""

import asyncio
import json
from typing import Any

import grpc
import pytest

from airquality.events import EventBatch
from airquality.quality import Flag
from geomesh.airquality.v1 import alerts_pb2 as pb
from tests.airquality.alert_service import Service, hook, run, service
from tests.airquality.alerting import hours_ago, rule, stored
from tests.airquality.conftest import Caller, reading
from tests.airquality.conftest import station as registered

__all__ = ["hook", "run", "service"]  # fixtures
FIRED, RESOLVED = pb.ALERT_KIND_FIRED, pb.ALERT_KIND_RESOLVED


async def test_an_alert_is_raised_and_ended_as_readings_arrive(service: Service) -> None:
    acme = service.caller("acme")
    made = (await acme.create(hysteresis=20)).rule
    assert [await service.arrive(stored(value, 5 - hour)) for hour, value in enumerate((90, 120, 85, 70))] == [
        0,
        1,
        0,
        1,
    ]
    fired, resolved = await acme.alerts()
    assert (fired.kind, fired.value, fired.threshold, list(fired.station_ids)) == (FIRED, 120, 100, ["here"])
    assert fired.time.ToDatetime(hours_ago(0).tzinfo) == hours_ago(4)
    assert (resolved.kind, resolved.since_time) == (RESOLVED, fired.time)
    state = (await acme.call("GetAlertRule", pb.GetAlertRuleRequest(rule_id=made.rule_id))).state
    assert (state.status, state.value) == (pb.ALERT_STATUS_CLEAR, 70)


async def test_an_event_that_comes_again_raises_nothing(service: Service) -> None:
    await service.caller("acme").create()
    event = EventBatch("7", [stored(150)])
    taken = await asyncio.gather(*(service.evaluator.take(event) for _ in range(8)))
    assert sorted(taken) == [0] * 7 + [1]
    assert await service.evaluator.take(EventBatch("6", [stored(10, 0.5)])) == 0


async def test_late_excluded_old_and_senseless_readings_raise_nothing(service: Service) -> None:
    acme = service.caller("acme")
    await acme.create()
    assert await service.arrive(stored(150, 7)) == 0  # older than alert_max_age_seconds
    assert await service.arrive(stored(150, flags=Flag.SPIKE | Flag.EXCLUDED)) == 0
    assert await service.arrive(stored(float("nan"))) == 0
    assert await service.arrive(stored(50, 1)) == 0
    assert await service.arrive(stored(150, 2)) == 0  # an hour before the newest
    assert await acme.alerts() == []


async def test_readings_with_flags_raise_alerts_unless_they_are_excluded_and_those_where_that_is_wanted(
    service: Service,
) -> None:
    acme = service.caller("acme")
    await acme.create()
    everything = (await acme.create(include_flagged=True)).rule
    assert await service.arrive(stored(150, 3, flags=Flag.RANGE | Flag.EXCLUDED)) == 1
    assert [each.rule_id for each in await acme.alerts()] == [everything.rule_id]
    assert await service.arrive(stored(160, 2, flags=Flag.SPIKE | Flag.NEIGHBOURS)) == 1


async def test_a_unit_is_converted_before_it_is_compared(service: Service) -> None:
    await service.caller("acme").create()
    assert await service.arrive(stored(0.09, 2, unit="mg/m³")) == 0
    assert await service.arrive(stored(0.11, 1, unit="mg/m³")) == 1


async def test_around_a_point_the_value_there_is_compared(service: Service) -> None:
    acme = service.caller("acme")
    circle = {"center": {"lat": 40.0, "lng": -100.0}, "radius_meters": 30_000.0}
    await acme.create(circle=circle)
    near: dict[str, Any] = {"station": "near", "lat": 40.05}
    far: dict[str, Any] = {"station": "far", "lat": 40.2}
    assert await service.arrive(stored(10, **near), stored(500, **far)) == 0
    assert await service.arrive(stored(500, station="farther", lat=40.5)) == 0
    assert await service.arrive(stored(150, 0, **near)) == 1
    assert (await acme.alerts())[0].station_ids == ["far", "near"]


@pytest.mark.parametrize("kind", ["bbox", "polygon"])
async def test_in_an_area_the_worst_station_is_compared(service: Service, kind: str) -> None:
    area: dict[str, Any] = {"bbox": {"south": -19.0, "west": 177.0, "north": -16.0, "east": -178.0}}
    if kind == "polygon":
        polygon = pb.AlertPolygon(type="MultiPolygon")
        rings: Any
        for west, east in ((177.0, 180.0), (-180.0, -178.0)):
            rings = [[[west, -19.0], [east, -19.0], [east, -16.0], [west, -16.0], [west, -19.0]]]
            polygon.coordinates.extend([rings])
        area = {"polygon": polygon}
    acme = service.caller("acme")
    made = await acme.create(**area)
    assert made.rule.WhichOneof("place") == kind
    assert await service.arrive(stored(150, station="out", lat=-18.0, lng=0.0)) == 0
    assert await service.arrive(stored(50, station="west", lat=-18.0, lng=178.0)) == 0
    assert await service.arrive(stored(150, station="east", lat=-18.0, lng=-179.0)) == 1
    assert await service.arrive(stored(50, station="east", lat=-18.0, lng=-179.0)) == 1


async def test_nowcast_and_index_come_from_the_stored_hours(service: Service, acme: Caller) -> None:
    caller = service.caller("acme")
    nowcast = (await caller.create(measure=pb.ALERT_MEASURE_NOWCAST, threshold=28.4)).rule
    above = (await caller.create(measure=pb.ALERT_MEASURE_NOWCAST, threshold=28.5)).rule
    index = (await caller.create(measure=pb.ALERT_MEASURE_INDEX, pollutant=0, threshold=87.0)).rule
    higher = (await caller.create(measure=pb.ALERT_MEASURE_INDEX, pollutant=0, threshold=88.0)).rule
    # The worked example of the US EPA, the oldest first.
    example = (34.9, 43, 50, 64.9, 69.2, 66.2, 53.7, 48.6, 49.2, 35, None, 21)
    for place, value in enumerate(example):
        if value is not None:
            message = reading(value=value)
            message.time.FromDatetime(hours_ago(12 - place))
            await acme.ingest(message)
    await service.arrive(stored(21, 1))
    raised = {each.rule_id: each.value for each in await caller.alerts()}
    assert raised.keys() >= {nowcast.rule_id, index.rule_id}
    assert raised.keys().isdisjoint({above.rule_id, higher.rule_id})
    assert (raised[nowcast.rule_id], raised[index.rule_id]) == (28.4, 87)


async def test_a_nowcast_is_made_without_excluded_hours_unless_they_are_wanted(service: Service, acme: Caller) -> None:
    caller = service.caller("acme")
    await acme.register(registered())
    fields: dict[str, Any] = {"measure": pb.ALERT_MEASURE_NOWCAST, "threshold": 50.0}
    await caller.create(**fields)
    everything = (await caller.create(**fields, include_flagged=True)).rule
    for hours in range(12, 0, -1):
        message = reading(value=900.0 if hours == 2 else 10.0)
        message.time.FromDatetime(hours_ago(hours))
        await acme.ingest(message)
    await service.arrive(stored(10, 1))
    assert [each.rule_id for each in await caller.alerts()] == [everything.rule_id]


async def test_a_change_of_the_threshold_begins_anew_and_one_of_the_name_does_not(service: Service) -> None:
    acme = service.caller("acme")
    made = (await acme.create()).rule
    await service.arrive(stored(150, 3))
    await acme.call("UpdateAlertRule", pb.UpdateAlertRuleRequest(rule_id=made.rule_id, rule=rule(name="other")))
    assert await service.arrive(stored(150, 2)) == 0
    await acme.call("UpdateAlertRule", pb.UpdateAlertRuleRequest(rule_id=made.rule_id, rule=rule(threshold=140.0)))
    assert await service.arrive(stored(150, 1)) == 1


async def test_a_paused_rule_rests(service: Service) -> None:
    await service.caller("acme").create(paused=True)
    assert await service.arrive(stored(150)) == 0


async def test_alerts_are_listed_page_by_page_the_newest_first(service: Service) -> None:
    acme = service.caller("acme")
    await acme.create()
    for number in range(5):
        await service.arrive(stored(150 if number % 2 == 0 else 50, 5 - number))
    found, token = [], ""
    while True:
        page = await acme.call("ListAlerts", pb.ListAlertsRequest(page_size=2, page_token=token))
        found += [each.kind for each in page.alerts]
        if not (token := page.next_page_token):
            break
    assert found == [FIRED, RESOLVED, FIRED, RESOLVED, FIRED]
    assert len(await acme.alerts(kind=RESOLVED)) == 2


async def test_a_watcher_gets_each_alert_once_and_resumes_after_the_last(service: Service) -> None:
    acme = service.caller("acme")
    await acme.create()

    async def watch(request: pb.WatchAlertsRequest, count: int, ready: asyncio.Event) -> list[pb.Alert]:
        seen: list[pb.Alert] = []
        async for message in acme.stub.WatchAlerts(request, metadata=acme.metadata, timeout=30):
            ready.set()
            if message.WhichOneof("event") == "alert":
                seen.append(message.alert)
            if len(seen) == count:
                break
        return seen

    ready = asyncio.Event()
    watching = asyncio.create_task(watch(pb.WatchAlertsRequest(), 2, ready))
    await asyncio.wait_for(ready.wait(), 30)
    await service.arrive(stored(150, 4))
    await service.arrive(stored(50, 3))
    first = await watching
    assert [each.kind for each in first] == [FIRED, RESOLVED]
    await service.arrive(stored(150, 2))
    await service.arrive(stored(50, 1))
    rest = await watch(pb.WatchAlertsRequest(after_alert_id=first[0].alert_id), 3, asyncio.Event())
    assert rest[0] == first[1]
    assert [each.alert_id for each in [first[0], *rest]] == [each.alert_id for each in await acme.alerts()]


async def test_server_sent_events_carry_the_same_alerts_and_resume_by_their_header(service: Service) -> None:
    acme = service.caller("acme")
    await acme.create()
    await service.arrive(stored(150, 4))
    await service.arrive(stored(50, 3))
    fired, resolved = await acme.alerts()
    metadata = (*acme.metadata, ("last-event-id", fired.alert_id))
    call = acme.stub.WatchAlertsEvents(pb.WatchAlertsRequest(), metadata=metadata, timeout=30)
    async for message in call:
        assert message.content_type == "text/event-stream"
        lines = message.data.decode().splitlines()
        if "event: alert" in lines:
            break
    call.cancel()
    assert lines[:2] == [f"id: {resolved.alert_id}", "event: alert"]
    assert json.loads(lines[2].removeprefix("data: "))["alert"]["alertId"] == resolved.alert_id
    metadata = (*acme.metadata, ("last-event-id", "yesterday"))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await acme.stub.WatchAlertsEvents(pb.WatchAlertsRequest(), metadata=metadata, timeout=30).read()
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
