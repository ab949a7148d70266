"""Posts alerts, signed by the scheme of Standard Webhooks 1.0."""

import asyncio
import hashlib
import hmac
import json
import random
import secrets
import ssl
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpcore
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from airquality.alerting.addresses import CheckedBackend, Gate, Refused
from meshkit.errors import InvalidInput

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
_RETRIED_STATUSES: Final = frozenset({408, 425, 429})
_SUCCESS: Final = range(200, 300)
_SERVER_ERROR: Final = 500
_PORTS: Final = {"https": 443, "http": 80}


class Secrets:
    """Makes webhook secrets and keeps them sealed: who reads the database has none."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Takes keys of 32 bytes; the first one seals, all of them open."""
        self._cipher = MultiFernet([Fernet(urlsafe_b64encode(key)) for key in keys]) if keys else None

    @property
    def available(self) -> bool:
        """Whether there is a key."""
        return self._cipher is not None

    def make(self) -> tuple[str, bytes]:
        """Returns a new secret, and it sealed."""
        assert self._cipher is not None  # noqa: S101 -- who calls has asked whether there is a key
        secret = _PREFIX + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        return secret, self._cipher.encrypt(secret.encode())

    def open(self, sealed: bytes) -> str | None:
        """Returns a secret; None when no key opens it."""
        try:
            return None if self._cipher is None else self._cipher.decrypt(sealed).decode()
        except InvalidToken:
            return None


def signed(secret: str, message_id: str, body: bytes, seconds: int) -> dict[str, str]:
    """Returns the headers of a post.

    `webhook-signature` is `v1,` and the base64 of the HMAC-SHA256 of `<webhook-id>.<webhook-timestamp>.<body>`, with the
    bytes that the secret holds in base64 behind `whsec_`.
    """
    key = b64decode(secret.removeprefix(_PREFIX))
    digest = hmac.digest(key, b".".join((message_id.encode(), str(seconds).encode(), body)), hashlib.sha256)
    return {
        "content-type": "application/json",
        "user-agent": "geomesh-alerts",
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }


class Outcome(NamedTuple):
    """What became of a try: whether it was taken, whether a further one may help, and the problem if not taken."""

    taken: bool
    may_pass: bool = False
    problem: str = ""


class Poster:
    """Posts. It follows no redirect, asks no proxy, reads no reply beyond its status, and waits no longer than it is told."""

    def __init__(self, gate: Gate, *, timeout_seconds: float) -> None:
        self._gate = gate
        self._timeout_seconds = timeout_seconds
        # No connection is kept: every one is to an address that was just checked.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            network_backend=CheckedBackend(gate),
            max_keepalive_connections=0,
        )

    async def check(self, url: str, field: str) -> None:
        """Returns when alerts may be posted to `url`.

        Raises:
            InvalidInput: They may not.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            raise InvalidInput(field, "is no URL") from None
        if parts.scheme not in _PORTS or not parts.hostname or not url.isascii():
            raise InvalidInput(field, "must be an https URL")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise InvalidInput(field, "must have neither a user nor a fragment")
        if any(each <= " " or each == "\x7f" for each in url):
            raise InvalidInput(field, "must have no white space")
        try:
            addresses = await self._gate.resolve(parts.hostname, port)
        except Refused as error:
            raise InvalidInput(field, str(error)) from None
        if parts.scheme != "https" and not all(map(self._gate.lists, addresses)):
            raise InvalidInput(field, "must be an https URL")

    async def post(self, url: str, secret: str, message_id: str, body: bytes) -> Outcome:
        """Tries once."""
        named = {"host": urlsplit(url).netloc} | signed(secret, message_id, body, int(time.time()))
        headers = list(named.items())
        try:
            async with asyncio.timeout(self._timeout_seconds):
                async with self._pool.stream("POST", url, headers=headers, content=body) as response:
                    return _outcome(response.status)
        except TimeoutError:
            return Outcome(taken=False, may_pass=True, problem=f"no answer within {self._timeout_seconds:g} s")
        except Refused as error:
            return Outcome(taken=False, may_pass=True, problem=str(error))
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            return Outcome(taken=False, may_pass=True, problem=f"{type(error).__name__}: {error}"[:200])

    async def close(self) -> None:
        """Closes what is open."""
        await self._pool.aclose()


def pause_seconds(attempts: int, *, first: float, most: float, chance: Callable[[], float] = random.random) -> float:
    """Returns how long to wait after so many tries: twice as long each time, less a random part of up to a half."""
    full = min(most, first * 2.0 ** min(attempts - 1, 40))
    return full * (1.0 - 0.5 * chance())


def body_of(alert: Mapping[str, Any]) -> bytes:
    """Returns what is posted of an alert, the same bytes at every try."""
    return json.dumps(alert, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _outcome(status: int) -> Outcome:
    if status in _SUCCESS:
        return Outcome(taken=True)
    return Outcome(
        taken=False, may_pass=status >= _SERVER_ERROR or status in _RETRIED_STATUSES, problem=f"status {status}"
    )
