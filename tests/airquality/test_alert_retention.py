"""How long alerts, their deliveries and dead letters are kept."""

from collections.abc import Callable

import asyncpg
import pytest
from pydantic import SecretStr

from airquality.retention import drop
from airquality.settings import Settings
from geomesh.airquality.v1 import alerts_pb2 as pb
from tests.airquality.alert_service import Service, hook, run, service
from tests.airquality.alerting import Endpoint, stored, until

__all__ = ["hook", "run", "service"]  # fixtures


@pytest.fixture
def settings(database_url: Callable[[str], str], owner_url: Callable[[str], str]) -> Settings:
    """The settings of the job that drops what is old, which keeps everything by default."""
    return Settings(postgres_dsn=SecretStr(database_url("airquality")), owner_dsn=SecretStr(owner_url("airquality")))


async def test_old_alerts_and_dead_letters_go_and_what_is_still_tried_stays(
    service: Service, hook: Endpoint, settings: Settings, owner_url: Callable[[str], str]
) -> None:
    acme = service.caller("acme")
    hook.answers |= {"/refuses": 400, "/fails": 500}
    for path in ("/refuses", "/fails", "/taken"):
        await acme.create(name=path, webhook_url=hook.url(path))
    await acme.create(name="nobody is told")
    assert await service.arrive(stored(150, 2)) == 4
    dead, waiting, taken = (
        {"state": state}
        for state in (
            pb.ALERT_DELIVERY_STATE_DEAD,
            pb.ALERT_DELIVERY_STATE_PENDING,
            pb.ALERT_DELIVERY_STATE_DELIVERED,
        )
    )

    async def all_tried() -> bool:
        return [len(await acme.deliveries(**each)) for each in (dead, waiting, taken)] == [1, 1, 1] and bool(
            hook.ids("/fails")
        )

    await until(all_tried)
    connection = await asyncpg.connect(owner_url("airquality"))
    try:
        await connection.execute("UPDATE airquality.alerts SET created_at = created_at - interval '31 days'")
    finally:
        await connection.close()
    await acme.create(name="new")
    assert await service.arrive(stored(160, 1)) == 1
    assert await drop(settings) == []
    assert await drop(settings.model_copy(update={"alerts_retention_days": 32})) == []
    assert await drop(settings.model_copy(update={"alerts_retention_days": 30})) == ["3 alerts"]
    assert sorted(each.rule_name for each in await acme.alerts()) == ["/fails", "new"]
    assert [each.alert.rule_name for each in await acme.deliveries()] == ["/fails"]
    assert await drop(settings.model_copy(update={"alerts_retention_days": 30})) == []


async def test_alerts_of_every_tenant_are_dropped(
    service: Service, settings: Settings, owner_url: Callable[[str], str]
) -> None:
    for tenant in ("acme", "other"):
        if tenant != "acme":
            await service.station(tenant)
        await service.caller(tenant).create()
        assert await service.arrive(stored(150, tenant=tenant)) == 1
    connection = await asyncpg.connect(owner_url("airquality"))
    try:
        await connection.execute("UPDATE airquality.alerts SET created_at = created_at - interval '2 days'")
    finally:
        await connection.close()
    assert await drop(settings.model_copy(update={"alerts_retention_days": 1})) == ["2 alerts"]
    for tenant in ("acme", "other"):
        assert await service.caller(tenant).alerts() == []
