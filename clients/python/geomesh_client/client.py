"""The client."""

import ipaddress
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import grpc

from geomesh_client.calls import Around, interceptors, rpcs_of
from geomesh_client.credentials import Credentials
from geomesh_client.services import SERVICES, Services
from geomesh_client.session import Session
from geomesh_client.tls import Tls

_PORTS: Final = {"http": 80, "https": 443}
_MAX_REPLY_BYTES: Final = 32 * 1024 * 1024


class Client(Services):
    """Everything that a mesh offers, one attribute a service; see :class:`geomesh_client.services.Services`.

    Methods of the services are the RPCs of the protos. A call takes a request and, optionally, ``timeout`` in seconds;
    it raises an error of :mod:`geomesh_client.errors`. What the protos mark as repeatable is tried again while the mesh
    does not answer, and everything that a limit refused when the mesh says it may be, both within the call's time.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        timeout_seconds: float = 10.0,
        attempts: int = 4,
        tls: Tls | None = None,
        allow_plaintext: bool = False,
    ) -> None:
        """Prepares without connecting; needs a running event loop.

        Args:
            url: Where the mesh's edge is, e.g. ``https://geomesh.example``; ``http`` for a connection without TLS.
            credentials: Who calls; None for the public's part of the API.
            timeout_seconds: What a call that is no stream may take where it names no time, all tries included.
            attempts: How often it is tried at most.
            tls: Certificates other than the system's, for ``https``.
            allow_plaintext: Whether credentials may go over a network that is not this machine's without TLS.

        Raises:
            ValueError: An argument makes no sense, or credentials would travel where anyone may read them.
        """
        if timeout_seconds <= 0 or attempts < 1:
            raise ValueError("timeout_seconds must be more than 0, and attempts at least 1")
        scheme, host, port = _parts(url)
        if scheme == "http" and tls is not None:
            raise ValueError("tls is for an https URL")
        if scheme == "http" and credentials is not None and not (allow_plaintext or _is_this_machine(host)):
            raise ValueError(
                f"credentials would be sent to {host} in the clear; use https, or say allow_plaintext=True"
            )
        around = Around(rpcs_of(SERVICES), timeout_seconds, attempts)
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", _MAX_REPLY_BYTES),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.enable_retries", 0),  # retries are made here, where the time and the mesh's word are known
        ]
        if scheme == "https":
            credentials_of_channel = (tls or Tls()).credentials()
            self._channel = grpc.aio.secure_channel(target, credentials_of_channel, options, None, interceptors(around))
        else:
            self._channel = grpc.aio.insecure_channel(target, options, None, interceptors(around))
        self._offer(self._channel)
        self._session = None if credentials is None else Session(credentials, self.auth)
        around.session = self._session

    async def close(self) -> None:
        """Ends the connections."""
        if self._session is not None:
            await self._session.close()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _parts(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"url: {error}") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
        raise ValueError(f"url: {url!r} is not like https://host or http://host:port")
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
