"""What the tests of alerts share: events in Redis, an HTTP server that notes what it is sent, and rules to make."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import asyncio as driver

from airquality.events import EventBatch, StoredReading
from geomesh.airquality.v1 import alerts_pb2 as pb
from geomesh.airquality.v1.airquality_pb2 import POLLUTANT_PM25
from tests.calling import BaseCaller

KEY = "for-the-tests-0123456789-abcdefghij"
_STREAM = "tests:readings"


def hours_ago(hours: float) -> datetime:
    """Returns a whole hour so long ago."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)


def minute(number: int) -> datetime:
    """Returns a minute of the last two hours, the later the greater the number."""
    return hours_ago(2) + timedelta(minutes=number)


def stored(
    value: float, hours: float = 1, *, tenant: str = "acme", station: str = "here", **more: Any
) -> StoredReading:
    """Returns a reading of PM2.5 that was stored."""
    fields: dict[str, Any] = {"lat": 40.0, "lng": -100.0, "pollutant": 1, "unit": "µg/m³"} | more
    fields.setdefault("time", hours_ago(hours))
    return StoredReading(tenant=tenant, station_id=station, value=value, **fields)


def rule(**fields: Any) -> pb.AlertRule:
    """Returns a rule about the raw PM2.5 of the station `here`."""
    standard: dict[str, Any] = {
        "name": "smoke",
        "measure": pb.ALERT_MEASURE_RAW,
        "pollutant": POLLUTANT_PM25,
        "threshold": 100.0,
    }
    if not {"circle", "bbox", "polygon"} & fields.keys():
        standard["station_id"] = "here"
    return pb.AlertRule(**(standard | fields))


@dataclass(frozen=True)
class AlertCaller(BaseCaller):
    """Calls the alert service with one token."""

    async def create(self, **fields: Any) -> pb.AlertRuleWithSecret:
        """Makes a rule."""
        reply: pb.AlertRuleWithSecret = await self.call(
            "CreateAlertRule", pb.CreateAlertRuleRequest(rule=rule(**fields))
        )
        return reply

    async def alerts(self, **fields: Any) -> list[pb.Alert]:
        """Lists alerts, the oldest first."""
        reply = await self.call("ListAlerts", pb.ListAlertsRequest(**fields))
        return list(reversed(reply.alerts))

    async def deliveries(self, **fields: Any) -> list[pb.AlertDelivery]:
        """Lists deliveries, the newest first."""
        reply = await self.call("ListAlertDeliveries", pb.ListAlertDeliveriesRequest(**fields))
        return list(reply.deliveries)


class RedisEvents:
    """Events in a stream of a real Redis."""

    def __init__(self, url: str) -> None:
        self._client: Any = driver.Redis.from_url(url)

    async def put(self, event_id: int, *readings: StoredReading) -> None:
        """Adds an event."""
        rows = [{name: getattr(each, name) for name in each.__slots__} for each in readings]
        await self._client.xadd(_STREAM, {"rows": json.dumps(rows, default=datetime.isoformat)}, id=f"{event_id}-0")

    async def follow(self, after: str) -> AsyncIterator[EventBatch]:
        """Yields events."""
        last: Any = f"{after}-0" if after else "0-0"
        while True:
            for _, entries in await self._client.xread({_STREAM: last}, block=200):
                for last, fields in entries:
                    rows = [
                        each | {"time": datetime.fromisoformat(each["time"])} for each in json.loads(fields[b"rows"])
                    ]
                    yield EventBatch(last.decode().partition("-")[0], [StoredReading(**each) for each in rows])

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.aclose()


@dataclass
class Endpoint:
    """An HTTP server on loopback.

    Attributes:
        port: Where.
        posts: Path, headers and body of each post.
        answers: What it answers to a path: a status, or None to hang.
    """

    port: int = 0
    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: dict[str, int | None] = field(default_factory=dict)

    def url(self, path: str = "/taken") -> str:
        """Returns the address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def ids(self, path: str = "/taken") -> list[str]:
        """Returns the ids posted to a path."""
        return [headers["webhook-id"] for at, headers, _ in self.posts if at == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes one post."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            path = head[0].split()[1]
            self.posts.append((path, headers, await reader.readexactly(int(headers["content-length"]))))
            status = self.answers.get(path, 204)
            if status is None:
                await reader.read()  # until the other side gives up
            else:
                location = f"location: {self.url('/elsewhere')}\r\n"
                writer.write(
                    f"HTTP/1.1 {status} x\r\n{location}content-length: 0\r\nconnection: close\r\n\r\n".encode()
                )
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    """Runs an HTTP server."""
    made = Endpoint()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


async def until(is_so: Callable[[], Any], seconds: float = 30.0) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(seconds):
        while True:
            found = is_so()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)
