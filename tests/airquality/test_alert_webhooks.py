"""Alerts as a real HTTP server gets them, signed, retried, and at public addresses alone."""

import asyncio
import hashlib
import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from pydantic import SecretStr

from airquality.alerting.addresses import CheckedBackend, Gate, Refused
from geomesh.airquality.v1 import alerts_pb2 as pb
from tests.airquality.alert_service import Run, Service, hook, run, service
from tests.airquality.alerting import Endpoint, rule, stored, until
from tests.refusals import refused, refused_saying

__all__ = ["hook", "run", "service"]  # fixtures


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
