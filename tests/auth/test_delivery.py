"""Messages reach a mail service, signed and once, and nobody waits for that."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from auth.delivery import Console, DeliveryError, Kind, Message, Webhook
from auth.outbox import Outbox
from auth.settings import Settings
from meshkit.errors import ResourceExhausted
from meshkit.health import State, overall

SECRET = "a-secret-of-the-webhook-0123456789"
MESSAGE = Message(Kind.PASSWORD_RESET, "someone@acme.example", "acme", "the-token", datetime(2026, 1, 1, tzinfo=UTC))

Received = list[tuple[dict[str, str], bytes]]


@asynccontextmanager
async def mail_service(*statuses: int) -> AsyncIterator[tuple[str, Received]]:
    """A real HTTP server that answers with each status in turn, and the last one from then on."""
    received: Received = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        received.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = statuses[min(len(received), len(statuses)) - 1]
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", received


async def delivered(url: str) -> None:
    webhook = Webhook(url, SECRET, pauses_seconds=(0.0, 0.0))
    try:
        await webhook.deliver(MESSAGE)
    finally:
        await webhook.close()


async def test_a_message_is_signed() -> None:
    async with mail_service(204) as (url, received):
        await delivered(url)
    ((headers, body),) = received
    assert json.loads(body) == {
        "kind": "password_reset",
        "email": "someone@acme.example",
        "tenant": "acme",
        "token": "the-token",
        "expire_time": "2026-01-01T00:00:00+00:00",
    }
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


async def test_is_repeated_under_the_same_id_until_it_is_taken() -> None:
    async with mail_service(503, 429, 200) as (url, received):
        await delivered(url)
    assert len(received) == 3
    assert len({headers["webhook-id"] for headers, _ in received}) == 1


async def test_is_not_repeated_when_it_is_refused() -> None:
    async with mail_service(400) as (url, received):
        with pytest.raises(DeliveryError, match="400"):
            await delivered(url)
    assert len(received) == 1


async def test_gives_up_at_last() -> None:
    async with mail_service(500) as (url, received):
        with pytest.raises(DeliveryError, match="500"):
            await delivered(url)
    assert len(received) == 3
    with pytest.raises(DeliveryError, match="Connect"):
        await delivered("http://127.0.0.1:9/hook")


async def test_a_redirect_does_not_take_the_token_elsewhere() -> None:
    async with mail_service(302) as (url, received):
        with pytest.raises(DeliveryError, match="302"):
            await delivered(url)
    assert len(received) == 1


async def test_the_console_writes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    await Console().deliver(MESSAGE)
    assert json.loads(capsys.readouterr().out)["message"]["token"] == "the-token"


async def test_a_failed_message_shows_in_health_and_holds_no_other_up() -> None:
    outbox = Outbox(Console())
    await outbox.start()
    done = asyncio.Event()

    async def fail() -> None:
        raise DeliveryError("refused")

    async def succeed() -> None:
        done.set()

    outbox.put(fail)
    await outbox.finished()
    assert overall([outbox]) is State.DEGRADED
    outbox.put(succeed)
    await outbox.finished()
    assert done.is_set()
    assert overall([outbox]) is State.OK
    await outbox.close()


async def test_what_waits_is_delivered_before_the_service_stops() -> None:
    outbox, done = Outbox(Console()), []
    await outbox.start()

    async def slow() -> None:
        await asyncio.sleep(0.05)
        done.append(1)

    for _ in range(20):
        outbox.put(slow)
    await outbox.close()
    assert len(done) == 20


async def test_more_than_can_wait_is_refused() -> None:
    outbox = Outbox(Console())

    async def nothing() -> None:
        """Is never reached."""

    for _ in range(1000):
        outbox.put(nothing)
    with pytest.raises(ResourceExhausted):
        outbox.put(nothing)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"delivery_webhook_url": "ftp://x", "delivery_webhook_secret": SECRET}, "delivery_webhook_url"),
        ({"delivery_webhook_url": "https://x", "delivery_webhook_secret": "short"}, "delivery_webhook_secret"),
    ],
)
def test_a_webhook_needs_an_address_and_a_secret(changes: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Settings(key_encryption_key="for-the-tests-0123456789-abcdefghij", delivery="webhook", **changes)  # type: ignore[arg-type]  # texts become secrets
