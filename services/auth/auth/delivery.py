"""Brings messages to the owners of email addresses. geomesh sends no mail itself: it hands over to what does.

A `Delivery` takes one message. There are two: the console, for trying things out, and a webhook, for a mail service.
"""

import asyncio
import hashlib
import hmac
import json
import sys
import time
import uuid
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

import httpx

_TIMEOUT_SECONDS: Final = 5.0
_PAUSES_SECONDS: Final = (0.5, 2.0, 8.0)
_RETRIED_STATUSES: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500


class Kind(StrEnum):
    """What a message is about, by which its receiver chooses a text."""

    SIGN_UP = "sign_up"
    INVITATION = "invitation"
    ACCOUNT_EXISTS = "account_exists"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a kind
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of a kind


@dataclass(frozen=True, slots=True)
class Message:
    """A message.

    Attributes:
        kind: What it is about.
        email: Whom it is for.
        tenant: The tenant that it concerns; empty where there is none yet.
        token: The one-time token; empty for a mere note.
        expires_at: Until when the token is good.
    """

    kind: Kind
    email: str
    tenant: str = ""
    token: str = ""
    expires_at: datetime | None = None

    def as_json(self) -> bytes:
        """Returns it as the webhook sends it."""
        body = {"kind": self.kind.value, "email": self.email, "tenant": self.tenant, "token": self.token}
        if self.expires_at is not None:
            body["expire_time"] = self.expires_at.isoformat()
        return json.dumps(body).encode()


class DeliveryError(Exception):
    """A message was not taken."""


class Delivery(Protocol):
    """Takes messages."""

    async def deliver(self, message: Message) -> None:
        """Hands a message over.

        Raises:
            DeliveryError: It was not taken, and will not be.
        """
        ...

    async def close(self) -> None:
        """Gives everything back."""
        ...


class Console:
    """Writes messages, with their tokens, to standard output. Whoever reads that can use them: not for the internet."""

    async def deliver(self, message: Message) -> None:
        """Writes one line of JSON."""
        sys.stdout.write(f'{{"logger": "auth.delivery", "message": {message.as_json().decode()}}}\n')
        sys.stdout.flush()

    async def close(self) -> None:
        """Has nothing to give back."""


class Webhook:
    """Posts messages to a URL as JSON, signed by the scheme of Standard Webhooks 1.0, and repeats what may yet succeed.

    `webhook-signature` is `v1,` and the base64 of the HMAC-SHA256 of `<webhook-id>.<webhook-timestamp>.<body>`. A message
    that is repeated keeps its id.
    """

    def __init__(self, url: str, secret: str, *, pauses_seconds: tuple[float, ...] = _PAUSES_SECONDS) -> None:
        """Connects nowhere yet.

        Args:
            url: Where to.
            secret: What the signature is made with.
            pauses_seconds: The pauses before each further try.
        """
        self._url = url
        self._secret = secret.encode()
        self._pauses_seconds = pauses_seconds
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False)

    async def deliver(self, message: Message) -> None:
        """Posts a message until it is taken."""
        body, name = message.as_json(), f"msg_{uuid.uuid4().hex}"
        problem = ""
        for pause in (0.0, *self._pauses_seconds):
            await asyncio.sleep(pause)
            try:
                response = await self._client.post(self._url, content=body, headers=self._headers(name, body))
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if response.is_success:
                return
            problem = f"status {response.status_code}"
            if response.status_code < _SERVER_ERROR and response.status_code not in _RETRIED_STATUSES:
                break
        raise DeliveryError(problem)

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.aclose()

    def _headers(self, name: str, body: bytes) -> dict[str, str]:
        seconds = str(int(time.time()))
        signed = hmac.digest(self._secret, b".".join((name.encode(), seconds.encode(), body)), hashlib.sha256)
        return {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": seconds,
            "webhook-signature": f"v1,{b64encode(signed).decode()}",
        }
