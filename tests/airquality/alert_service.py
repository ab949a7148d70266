"""The service of alerts as tests run it, with what makes readings arrive."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network
from typing import Any

import pytest
from pydantic import SecretStr

from airquality.alert_wiring import wire_alerts
from airquality.alerting.evaluation import Evaluator
from airquality.evaluation_repository import EvaluationRepository
from airquality.events import EventBatch, StoredReading
from airquality.repository import AirQualityRepository
from airquality.settings import Settings
from airquality.stations import Station
from geomesh.airquality.v1 import alerts_pb2_grpc
from meshkit.postgres import Postgres
from tests.airquality.alerting import KEY, AlertCaller, Endpoint, endpoint
from tests.calling import callers
from tests.meshkit.conftest import Issuer

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
