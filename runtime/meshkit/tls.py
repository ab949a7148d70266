"""Mutual TLS among the processes of the mesh: certificates that renew themselves, and who is at the other end.

A process is known by a DNS name in its certificate, ``<service>.geomesh.internal``, wherever it runs and at whatever
address it was reached. Certificate, key and authorities are files; whoever renews them replaces the files, and what
begins after that uses the new ones. Connections that are open stay open.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from prometheus_client import Gauge

from meshkit.settings import ServiceSettings

DOMAIN: Final = "geomesh.internal"
"""Under which the processes of a mesh have their names; `internal` is reserved for private use."""

EXPIRES: Final = Gauge(
    "geomesh_certificate_expires_timestamp_seconds",
    "When this process's own certificate expires, in seconds since 1970; 0 without TLS.",
)

_LOOK_SECONDS: Final = 1.0
_GRACE_SECONDS: Final = 30.0
_REMEMBERED_PEERS: Final = 256
_SAN_KEY: Final = "x509_subject_alternative_name"
_LOG: Final = structlog.get_logger("meshkit.tls")


def mesh_name(service: str) -> str:
    """Returns the name that a service's certificate must carry, e.g. ``spatial-index.geomesh.internal``."""
    return f"{service}.{DOMAIN}"


@dataclass(frozen=True, slots=True)
class Pems:
    """What one process proves itself with, and whom it believes; PEM."""

    certificate: bytes
    key: bytes
    authorities: bytes


class Certificates:
    """The certificate, key and authorities of a process, read again when their files change."""

    def __init__(self, certificate: Path, key: Path, authorities: Path) -> None:
        """Reads the files.

        Raises:
            ValueError: One of them cannot be read, or key and certificate are no pair.
        """
        self.paths: Final = (certificate, key, authorities)
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._pems = self._read()
        self._next_look = time.monotonic() + _LOOK_SECONDS

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self | None:
        """Returns what the settings name, or None when TLS is off; ends the program when it cannot be used."""
        if not (settings.tls_certificate_path and settings.tls_key_path and settings.tls_ca_path):
            return None
        try:
            return cls(settings.tls_certificate_path, settings.tls_key_path, settings.tls_ca_path)
        except ValueError as error:
            raise SystemExit(f"{settings.service} cannot start: TLS: {error}") from None

    def current(self) -> Pems:
        """Returns the newest usable files. What is half-way replaced, or broken, leaves the ones before in use."""
        with self._lock:
            if time.monotonic() >= self._next_look:
                self._next_look = time.monotonic() + _LOOK_SECONDS
                self._renew()
            return self._pems

    def _renew(self) -> None:
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._pems = self._read()
        except ValueError as error:
            # Looked at again in a second: a pair is replaced in two steps.
            _LOG.warning("certificates cannot be used; the ones before stay in use", error=str(error))
            return
        self._stamp = stamp
        _LOG.info("certificates renewed", certificate=str(self.paths[0]))

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        try:
            states = [os.stat(path) for path in self.paths]  # noqa: PTH116 -- a third of the cost, on a call's path
        except OSError as error:
            raise ValueError(str(error)) from None
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in states)

    def _read(self) -> Pems:
        try:
            pems = Pems(*(path.read_bytes() for path in self.paths))
        except OSError as error:
            raise ValueError(str(error)) from None
        chain = _parsed(self.paths[0], x509.load_pem_x509_certificates, pems.certificate)
        key = _parsed(self.paths[1], lambda pem: load_pem_private_key(pem, password=None), pems.key)
        _parsed(self.paths[2], x509.load_pem_x509_certificates, pems.authorities)
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if chain[0].public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
            raise ValueError(f"{self.paths[1]} is not the key of {self.paths[0]}")
        EXPIRES.set(chain[0].not_valid_after_utc.timestamp())
        return pems


def _parsed(path: Path, parse: Callable[[bytes], Any], pem: bytes) -> Any:
    try:
        return parse(pem)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Returns credentials that only take clients whose certificate one of the authorities signed."""
    handed_out = certificates.current()

    def newer() -> grpc.ServerCertificateConfiguration | None:
        nonlocal handed_out
        now = certificates.current()
        if now is handed_out:
            return None
        handed_out = now
        return _server_configuration(now)

    return grpc.dynamic_ssl_server_credentials(
        _server_configuration(handed_out),
        newer,  # type: ignore[arg-type]  # None is documented: it leaves the ones before
        require_client_authentication=True,
    )


def _server_configuration(pems: Pems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.authorities)


def server_context(certificates: Certificates) -> ssl.SSLContext:
    """Returns what `server_credentials` returns, for servers other than gRPC's that speak HTTP/2 through asyncio."""
    made_of, newest = certificates.current(), _server_context(certificates)

    def renew(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        nonlocal made_of, newest
        now = certificates.current()
        if now is not made_of:
            try:
                made_of, newest = now, _server_context(certificates)
            except (OSError, ssl.SSLError) as error:  # they are being replaced this very moment
                _LOG.warning("certificates cannot be used; the ones before stay in use", error=str(error))
        connection.context = newest

    first = _server_context(certificates)
    # Python calls it at each handshake, also where the client names no server.
    first.sni_callback = renew
    return first


def _server_context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    context.num_tickets = 0  # who comes back proves anew who they are
    certificate, key, authorities = certificates.paths
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authorities)
    return context


def channel(
    address: str,
    service: str,
    certificates: Certificates | None,
    *,
    options: Sequence[tuple[str, Any]],
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
) -> grpc.aio.Channel:
    """Returns a channel to a service of the mesh.

    Args:
        address: A gRPC target.
        service: The service's name; with TLS, whoever answers must prove to be it.
        certificates: What this process proves itself with; None for plaintext.
        options: As of `grpc.aio.insecure_channel`.
        interceptors: Likewise.
    """
    if certificates is None:
        return grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)
    named = [*options, ("grpc.ssl_target_name_override", mesh_name(service))]

    def connect(pems: Pems) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(pems.authorities, pems.key, pems.certificate)
        return grpc.aio.secure_channel(address, credentials, options=named, interceptors=interceptors)

    return _RenewingChannel(connect, certificates)


class _RenewingChannel(grpc.aio.Channel):
    """A channel that is replaced by another when the certificates are; gRPC's own keeps those it was made with."""

    def __init__(self, connect: Callable[[Pems], grpc.aio.Channel], certificates: Certificates) -> None:
        self._connect = connect
        self._certificates = certificates
        self._pems = certificates.current()
        self._channel = connect(self._pems)
        self._closing: set[asyncio.Task[None]] = set()

    def now(self) -> grpc.aio.Channel:
        """Returns the channel with the newest certificates; calls on the one before get a while to end."""
        pems = self._certificates.current()
        if pems is not self._pems:
            closing = asyncio.ensure_future(self._channel.close(_GRACE_SECONDS))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._pems, self._channel = pems, self._connect(pems)
        return self._channel

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        return _Callable(self, "unary_unary", arguments, options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        return _Callable(self, "unary_stream", arguments, options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        return _Callable(self, "stream_unary", arguments, options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        return _Callable(self, "stream_stream", arguments, options)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 -- gRPC's signature
        return self.now().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self.now().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.now().channel_ready()

    async def close(self, grace: float | None = None) -> None:
        await asyncio.gather(self._channel.close(grace), *self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Callable:
    """One RPC on whatever channel is the newest."""

    def __init__(
        self, owner: _RenewingChannel, arity: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        self._owner = owner
        self._make: Callable[[grpc.aio.Channel], Any] = lambda channel: getattr(channel, arity)(*arguments, **options)
        self._channel = owner.now()
        self._call = self._make(self._channel)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        newest = self._owner.now()
        if newest is not self._channel:
            self._channel, self._call = newest, self._make(newest)
        return self._call(*arguments, **options)


def allowed_peers(settings: ServiceSettings) -> frozenset[str] | None:
    """Returns the names of the processes that may call, as their certificates have them; None where every peer may."""
    if not (settings.tls_peers and settings.tls_certificate_path):
        return None
    return frozenset(mesh_name(peer) for peer in settings.tls_peers)


def names_of_peer(transport: asyncio.BaseTransport) -> tuple[str, ...]:
    """Returns the DNS names in the certificate of whoever is at the other end; none without one."""
    certificate = transport.get_extra_info("peercert") or {}
    return tuple(name for kind, name in certificate.get("subjectAltName", ()) if kind == "DNS")


def peer_check(settings: ServiceSettings) -> Callable[[grpc.aio.ServicerContext[Any, Any]], str | None] | None:
    """Returns what tells who calls and may not, by the names in its certificate; None where every peer may."""
    allowed = allowed_peers(settings)
    if allowed is None:
        return None

    @lru_cache(maxsize=_REMEMBERED_PEERS)
    def names_of(names: tuple[bytes, ...]) -> str | None:
        said = [each.decode("ascii", "replace") for each in names]
        return None if allowed.intersection(said) else ", ".join(said)

    def refused(context: grpc.aio.ServicerContext[Any, Any]) -> str | None:
        return names_of(tuple(context.auth_context().get(_SAN_KEY, ())))

    return refused
