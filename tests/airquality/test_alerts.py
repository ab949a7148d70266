"""Alert rules from their making to their delivery, on a real database and a real HTTP server."""

import asyncio
import hashlib
import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from pydantic import SecretStr

from airquality.alert_wiring import wire_alerts
from airquality.alerting.addresses import CheckedBackend, Gate, Refused
from airquality.alerting.evaluation import Evaluator
from airquality.evaluation_repository import EvaluationRepository
from airquality.events import EventBatch, StoredReading
from airquality.quality import Flag
from airquality.repository import AirQualityRepository
from airquality.settings import Settings
from airquality.stations import Station
from geomesh.airquality.v1 import alerts_pb2 as pb
from geomesh.airquality.v1 import alerts_pb2_grpc
from meshkit.postgres import Postgres
from tests.airquality.alerting import KEY, AlertCaller, Endpoint, endpoint, hours_ago, rule, stored, until
from tests.airquality.conftest import Caller, reading
from tests.airquality.conftest import station as registered
from tests.calling import callers
from tests.meshkit.conftest import Issuer
from tests.refusals import refused, refused_saying

FIRED, RESOLVED = pb.ALERT_KIND_FIRED, pb.ALERT_KIND_RESOLVED
LOOPBACK = [IPv4Network("127.0.0.0/8")]


@dataclass
class Service:
    """The service under test, and the means to have readings arrive."""

    caller: Callable[..., AlertCaller]
    repository: AirQualityRepository
    evaluator: Evaluator
    _events: int = 0

    async def station(self, tenant: str, station_id: str = "here", lat: float = 40.0, lng: float = -100.0) -> None:
        """Registers a station."""
        await self.repository.upsert_stations(tenant, [Station(station_id, "tests", "", "", lat, lng)])

    async def arrive(self, *readings: StoredReading, now: datetime | None = None) -> int:
        """Has readings arrive as one event, and returns how many alerts that raised."""
        self._events += 1
        return await self.evaluator.take(EventBatch(str(self._events), readings), now)


Run = Callable[..., Any]


@pytest.fixture
async def run(issuer: tuple[Issuer, int], database: Postgres, database_url: Callable[[str], str]) -> AsyncIterator[Run]:
    """Starts the service, with settings of the test's own."""
    async with AsyncExitStack() as stack:

        async def started(**more: Any) -> Service:
            standard: dict[str, Any] = {
                "port": 0,
                "metrics_port": 0,
                "drain_notice_seconds": 0,
                "auth_address": f"127.0.0.1:{issuer[1]}",
                "postgres_dsn": SecretStr(database_url("airquality")),
                "key_encryption_key": SecretStr(KEY),
                "alert_webhook_networks": LOOPBACK,
                "alert_poll_seconds": 0.05,
                "alert_webhook_timeout_seconds": 1.0,
                "alert_webhook_first_retry_seconds": 0.05,
            }
            settings = Settings(**(standard | more))
            repository = AirQualityRepository(database)
            gap = settings.alert_max_gap_seconds
            store = EvaluationRepository(database, repository, max_gap_seconds=gap)
            alerts = wire_alerts(settings, database, repository, None)
            caller = await stack.enter_async_context(
                callers(
                    AlertCaller,
                    alerts_pb2_grpc.AlertServiceStub,
                    issuer[0],
                    settings,
                    alerts.servicer,
                    alerts.dependencies,
                )
            )
            return Service(caller, repository, Evaluator(store, None, max_age_seconds=settings.alert_max_age_seconds))

        yield started


@pytest.fixture
async def service(run: Run) -> Service:
    """The service with a station of the tenant acme."""
    service: Service = await run()
    await service.station("acme")
    return service


@pytest.fixture
async def hook() -> AsyncIterator[Endpoint]:
    """An HTTP server."""
    async with endpoint() as made:
        yield made


async def test_a_rule_is_made_read_changed_listed_and_deleted(service: Service) -> None:
    acme = service.caller("acme")
    made = (await acme.create(hysteresis=5, severity=pb.ALERT_SEVERITY_CRITICAL)).rule
    assert await acme.call("GetAlertRule", pb.GetAlertRuleRequest(rule_id=made.rule_id)) == made
    changed = rule(name="more smoke", hysteresis=5)
    reply = await acme.call("UpdateAlertRule", pb.UpdateAlertRuleRequest(rule_id=made.rule_id, rule=changed))
    assert (reply.rule.name, reply.rule.severity) == ("more smoke", pb.ALERT_SEVERITY_WARNING)
    others = [(await acme.create(name=f"rule {number}")).rule.rule_id for number in range(4)]
    found, token = [], ""
    while True:
        page = await acme.call("ListAlertRules", pb.ListAlertRulesRequest(page_size=2, page_token=token))
        found += [each.rule_id for each in page.rules]
        if not (token := page.next_page_token):
            break
    assert found == [made.rule_id, *others]
    await acme.call("DeleteAlertRule", pb.DeleteAlertRuleRequest(rule_id=made.rule_id))
    gone = acme.call("GetAlertRule", pb.GetAlertRuleRequest(rule_id=made.rule_id))
    assert (await refused(gone))[:2] == (grpc.StatusCode.NOT_FOUND, "ENTITY_NOT_FOUND")


async def test_two_tenants_rules_and_alerts_never_meet(service: Service) -> None:
    await service.station("public", "town")
    acme, other, public = (service.caller(name) for name in ("acme", "other", "public"))
    mine = (await acme.create(station_id="town")).rule
    theirs = (await other.create(station_id="town")).rule
    assert await service.arrive(stored(150, tenant="public", station="town")) == 2
    assert [each.rule_id for each in await acme.alerts()] == [mine.rule_id]
    assert [each.rule_id for each in await other.alerts()] == [theirs.rule_id]
    assert await public.alerts() == []
    for caller in (other, public):
        for method, request in (
            ("GetAlertRule", pb.GetAlertRuleRequest),
            ("DeleteAlertRule", pb.DeleteAlertRuleRequest),
            ("RotateWebhookSecret", pb.RotateWebhookSecretRequest),
        ):
            code, _, _ = await refused(caller.call(method, request(rule_id=mine.rule_id)))
            assert code is grpc.StatusCode.NOT_FOUND
    seen = await other.call("ListAlertRules", pb.ListAlertRulesRequest())
    assert [each.rule_id for each in seen.rules] == [theirs.rule_id]


async def test_row_level_security_alone_keeps_tenants_apart(
    service: Service, database_url: Callable[[str], str]
) -> None:
    await service.caller("acme").create()
    await service.arrive(stored(150))
    connection = await asyncpg.connect(database_url("airquality"))
    try:
        for tenant, count in (("acme", 1), ("other", 0), ("public", 0), ("", 0)):
            await connection.execute("SELECT set_config('geomesh.tenant', $1, false)", tenant)
            for table in ("alert_rules", "alerts"):
                assert await connection.fetchval(f"SELECT count(*) FROM airquality.{table}") == count  # noqa: S608
    finally:
        await connection.close()


async def test_another_tenants_station_raises_nothing(service: Service) -> None:
    await service.station("public", "here")
    acme = service.caller("acme")
    bbox = {"south": 39.0, "west": -101.0, "north": 41.0, "east": -99.0}
    await acme.create(bbox=bbox)
    assert await service.arrive(stored(150, tenant="other")) == 0
    assert await service.arrive(stored(150, tenant="public")) == 1


async def test_anonymous_callers_are_refused(service: Service) -> None:
    code, _, _ = await refused(service.caller(None).call("ListAlertRules", pb.ListAlertRulesRequest()))
    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_tenant_has_as_many_rules_as_the_setting_says(run: Run) -> None:
    service = await run(alert_rules_per_tenant=2)
    await service.station("public")
    acme = service.caller("acme")
    made = await asyncio.gather(*(acme.create() for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(each, pb.AlertRuleWithSecret) for each in made) == 2
    assert (await refused(acme.create()))[0] is grpc.StatusCode.FAILED_PRECONDITION
    await service.caller("other").create()


@pytest.mark.parametrize(
    ("fields", "reason", "names"),
    [
        ({"threshold": None}, "INVALID_FIELD", ["rule.threshold"]),
        ({"threshold": float("nan")}, "INVALID_FIELD", ["rule.threshold"]),
        ({"hysteresis": -1.0}, "INVALID_FIELD", ["rule.hysteresis"]),
        ({"min_duration": timedelta(seconds=-1)}, "INVALID_FIELD", ["rule.min_duration"]),
        ({"measure": pb.ALERT_MEASURE_INDEX, "pollutant": 0, "index": "none"}, "INVALID_FIELD", ["rule.index"]),
        (
            {"quiet_hours": pb.QuietHours(start="25:00", end="07:00", time_zone="UTC")},
            "INVALID_FIELD",
            ["rule.quiet_hours.start"],
        ),
        (
            {"quiet_hours": pb.QuietHours(start="22:00", end="07:00", time_zone="Mars")},
            "INVALID_FIELD",
            ["rule.quiet_hours.time_zone"],
        ),
        ({"station_id": "nowhere"}, "STATION_NOT_FOUND", []),
        ({"webhook_url": "https://127.0.0.1.nip.invalid/"}, "INVALID_FIELD", ["rule.webhook_url"]),
        ({"webhook_url": "ftp://example.org/"}, "INVALID_FIELD", ["rule.webhook_url"]),
        ({"webhook_url": "https://user:word@example.org/"}, "INVALID_FIELD", ["rule.webhook_url"]),
        ({"measure": pb.ALERT_MEASURE_FORECAST, "horizon_hours": 6}, "STATE_FORBIDS", []),
    ],
)
async def test_a_wrong_rule_is_refused_with_field_and_reason(
    service: Service, fields: dict[str, Any], reason: str, names: list[str]
) -> None:
    assert (await refused(service.caller("acme").create(**fields)))[1:] == (reason, names)


@pytest.mark.parametrize(
    "coordinates",
    [
        [[]],
        [[[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]],
        [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]],
        [[[0.0, 0.0], [181.0, 0.0], [1.0, 1.0], [0.0, 0.0]]],
        [[[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]],
        [[["a", 0.0], [1.0, 0.0], [1.0, 1.0], ["a", 0.0]]],
    ],
)
async def test_a_polygon_that_is_none_is_refused(service: Service, coordinates: list[Any]) -> None:
    polygon = pb.AlertPolygon(type="Polygon")
    polygon.coordinates.extend(coordinates)
    _, reason, names = await refused(service.caller("acme").create(polygon=polygon))
    assert (reason, names) == ("INVALID_GEOMETRY", ["rule.polygon.coordinates"])


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


async def test_a_webhook_gets_a_signed_post(service: Service, hook: Endpoint) -> None:
    acme = service.caller("acme")
    made = await acme.create(webhook_url=hook.url("/taken?key=1"))
    await service.arrive(stored(150))
    await until(lambda: hook.posts)
    _, headers, body = hook.posts[0]
    text = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    key = b64decode(made.webhook_secret.removeprefix("whsec_"))
    assert headers["webhook-signature"] == "v1," + b64encode(hmac.digest(key, text, hashlib.sha256)).decode()
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
    alert = (await acme.alerts())[0]
    told = json.loads(body)
    assert (told["type"], told["alert_id"], told["value"]) == ("alert.fired", alert.alert_id, 150)
    assert headers["webhook-id"] == alert.alert_id
    assert headers["host"] == f"127.0.0.1:{hook.port}"


async def test_the_documented_snippet_verifies_what_is_posted(service: Service, hook: Endpoint) -> None:
    page = (Path(__file__).parents[2] / "docs" / "air-quality" / "alerts.md").read_text()
    snippet = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102 -- what users are told to run is run
    secret = (await service.caller("acme").create(webhook_url=hook.url())).webhook_secret
    await service.arrive(stored(150))
    await until(lambda: hook.posts)
    _, headers, body = hook.posts[0]
    assert names["verify"](secret, headers, body)["alert_id"] == headers["webhook-id"]
    old = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 3600)}
    for wrong_headers, wrong_body in ((headers, body + b" "), (old, body)):
        with pytest.raises(ValueError, match="webhook"):
            names["verify"](secret, wrong_headers, wrong_body)


async def test_a_secret_is_told_once_kept_sealed_and_replaced(
    service: Service, hook: Endpoint, owner_url: Callable[[str], str]
) -> None:
    acme = service.caller("acme")
    made = await acme.create(webhook_url=hook.url())
    connection = await asyncpg.connect(owner_url("airquality"))
    try:
        sealed = await connection.fetchval("SELECT webhook_secret FROM airquality.alert_rules")
    finally:
        await connection.close()
    assert made.webhook_secret.startswith("whsec_")
    assert made.webhook_secret.encode() not in sealed
    same = rule(webhook_url=hook.url("/other"))
    changed = await acme.call("UpdateAlertRule", pb.UpdateAlertRuleRequest(rule_id=made.rule.rule_id, rule=same))
    assert changed.webhook_secret == ""
    new = await acme.call("RotateWebhookSecret", pb.RotateWebhookSecretRequest(rule_id=made.rule.rule_id))
    assert new.webhook_secret not in ("", made.webhook_secret)


async def test_what_an_endpoint_does_not_take_is_retried_dies_and_is_replayed(run: Run, hook: Endpoint) -> None:
    service = await run(alert_webhook_attempts=3)
    await service.station("acme")
    acme = service.caller("acme")
    hook.answers["/broken"] = 503
    await acme.create(webhook_url=hook.url("/broken"))
    await service.arrive(stored(150))
    dead = {"state": pb.ALERT_DELIVERY_STATE_DEAD}
    await until(lambda: acme.deliveries(**dead))
    letter = (await acme.deliveries(**dead))[0]
    assert (letter.attempt_count, letter.problem) == (3, "status 503")
    assert hook.ids("/broken") == [letter.alert.alert_id] * 3
    assert await service.caller("other").deliveries() == []
    replay = pb.ReplayAlertDeliveryRequest(alert_id=letter.alert.alert_id)
    assert (await refused(service.caller("other").call("ReplayAlertDelivery", replay)))[0] is grpc.StatusCode.NOT_FOUND
    hook.answers["/broken"] = 204
    await acme.call("ReplayAlertDelivery", replay)
    await until(lambda: acme.deliveries(state=pb.ALERT_DELIVERY_STATE_DELIVERED))
    assert hook.ids("/broken") == [letter.alert.alert_id] * 4


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 410])
async def test_redirects_and_refusals_are_neither_followed_nor_retried(
    service: Service, hook: Endpoint, status: int
) -> None:
    acme = service.caller("acme")
    hook.answers["/no"] = status
    await acme.create(webhook_url=hook.url("/no"))
    await service.arrive(stored(150))
    await until(lambda: acme.deliveries(state=pb.ALERT_DELIVERY_STATE_DEAD))
    assert [path for path, _, _ in hook.posts] == ["/no"]


async def test_an_endpoint_that_hangs_keeps_nobody_elses_alerts_waiting(run: Run, hook: Endpoint) -> None:
    service = await run(alert_webhooks_at_once=12, alert_webhooks_per_tenant=4, alert_webhook_timeout_seconds=30.0)
    await service.station("public")
    hook.answers["/hangs"] = None
    hanging = service.caller("hanging")
    for _ in range(20):
        await hanging.create(webhook_url=hook.url("/hangs"))
    await service.caller("acme").create(webhook_url=hook.url())
    started = time.monotonic()
    assert await service.arrive(stored(150, tenant="public")) == 21
    await until(hook.ids)
    assert time.monotonic() - started < 20
    await until(lambda: len(hook.ids("/hangs")) == 4)
    await asyncio.sleep(0.5)
    assert len(hook.ids("/hangs")) == 4


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104 -- to be refused
        "localhost",
        "[::1]", "[::ffff:127.0.0.1]", "[fe80::1]", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1",
        "2130706433", "0x7f.1", "255.255.255.255",
    ],
)  # fmt: skip
async def test_an_address_that_is_not_public_is_refused_at_creation(run: Run, host: str) -> None:
    service = await run(alert_webhook_networks=[])
    await service.station("acme")
    call = service.caller("acme").create(webhook_url=f"https://{host}/hook")
    code, _, names, message = await refused_saying(call)
    assert (code, names) == (grpc.StatusCode.INVALID_ARGUMENT, ["rule.webhook_url"])
    assert "not public" in message or "no address" in message


async def test_an_address_that_is_not_public_is_refused_when_it_is_connected_to(hook: Endpoint) -> None:
    """A name that was public when the rule was made, and leads elsewhere now, as `localhost` does."""
    with pytest.raises(Refused):
        await CheckedBackend(Gate()).connect_tcp("localhost", hook.port)
    assert hook.posts == []


async def test_an_alert_whose_host_has_turned_private_is_not_posted(run: Run, hook: Endpoint) -> None:
    lenient = await run(alert_webhooks_at_once=1, alert_poll_seconds=60.0)
    await lenient.station("acme")
    await lenient.caller("acme").create(webhook_url=hook.url())
    await lenient.arrive(stored(150))
    strict = await run(alert_webhook_networks=[], alert_webhook_attempts=1)
    acme = strict.caller("acme")
    await until(lambda: acme.deliveries(state=pb.ALERT_DELIVERY_STATE_DEAD))
    assert "not public" in (await acme.deliveries())[0].problem
    assert hook.posts == []


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "1.1.1.1"])
def test_public_addresses_are_let_through(address: str) -> None:
    assert Gate().lets(ip_address(address))


async def test_without_a_key_no_rule_may_have_a_webhook(run: Run, hook: Endpoint) -> None:
    service = await run(key_encryption_key=SecretStr(""))
    await service.station("acme")
    code, _, _, message = await refused_saying(service.caller("acme").create(webhook_url=hook.url()))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "KEY_ENCRYPTION_KEY" in message
