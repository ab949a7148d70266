"""Whose alert rules are, how many there may be, and which are refused, on a real database."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg
import grpc
import pytest

from geomesh.airquality.v1 import alerts_pb2 as pb
from tests.airquality.alert_service import Run, Service, hook, run, service
from tests.airquality.alerting import rule, stored
from tests.refusals import refused

__all__ = ["hook", "run", "service"]  # fixtures


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
