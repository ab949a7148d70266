"""What can be set of the edge and of the gateway process."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from meshkit.settings import ServiceSettings
from meshkit.trusted_issuers import TrustedIssuers

LIMITS = "limits"
"""The name of the rate-limit service, which has no part in the API."""
COUNTING = "limits-counting"
"""The port of the same where Envoy asks."""


class Settings(ServiceSettings, service="gateway"):
    """The gateway process: ``GEOMESH_GATEWAY_…``. Where the services are, `addresses` tells."""

    status_timeout_seconds: float = Field(
        1.0, gt=0, le=10, description="Time in seconds that a service gets to say how it fares."
    )


class EdgeSettings(BaseSettings):
    """Envoy: ``GEOMESH_EDGE_…``, read when its configuration is rendered."""

    model_config = SettingsConfigDict(env_prefix="GEOMESH_EDGE_", frozen=True)

    host: str = Field("127.0.0.1", description="Address of the public listener.")
    port: int = Field(8080, ge=1, le=65535, description="Port of the public listener.")
    admin_port: int = Field(9901, ge=1, le=65535, description="Port of Envoy's admin listener, always on loopback.")
    workers: int = Field(1, ge=1, le=256, description="Envoy's worker threads; read by whoever starts it.")
    request_timeout_seconds: float = Field(
        30.0, gt=0, le=3600, description="Time in seconds that a call that is no stream may take, retries included."
    )
    stream_idle_seconds: float = Field(
        300.0,
        gt=0,
        description="Time in seconds without a byte after which a stream is ended; heartbeats come each 30.",
    )
    body_seconds: float = Field(
        60.0, gt=0, description="Time in seconds in which the body of a REST request must arrive."
    )
    max_body_bytes: int = Field(10 * 1024 * 1024, ge=1024, description="Largest body of a REST request in bytes.")
    max_reply_bytes: int = Field(
        32 * 1024 * 1024,
        ge=1024,
        description="Largest REST reply in bytes; JSON takes about thrice what protobuf does.",
    )
    max_connections: int = Field(10_000, ge=1, description="Client connections open at one time.")
    max_requests: int = Field(
        1_000, ge=1, description="Calls that are no stream, open to one service at one time; more are refused with 429."
    )
    max_streams: int = Field(10_000, ge=1, description="Streams open to one service at one time.")
    max_heap_bytes: int = Field(
        1024**3, ge=64 * 1024**2, description="Memory in bytes near which Envoy refuses new requests."
    )
    tls_certificate_path: Path | None = Field(
        None,
        description="File with the certificate (PEM, chain included) of the public listener; together with the next it"
        " turns TLS on there. Read again when it is replaced by another that is moved to its place.",
    )
    tls_key_path: Path | None = Field(None, description="File with the key of that certificate (PEM).")
    mesh_tls_certificate_path: Path | None = Field(
        None,
        description="File with the certificate (PEM) that Envoy shows to the services; together with the next two it"
        " turns mutual TLS on towards them. Read again as above.",
    )
    mesh_tls_key_path: Path | None = Field(None, description="File with the key of that certificate (PEM).")
    mesh_tls_ca_path: Path | None = Field(
        None, description="File with the authorities (PEM) that must have signed the certificate of every service."
    )
    trusted_hops: int = Field(
        0, ge=0, le=10, description="Proxies of ours before Envoy, whose X-Forwarded-For is to be believed."
    )
    cors_origins: list[str] = Field(
        [],
        description=(
            'Origins whose pages may call, as JSON, e.g. ["https://example.org"]; ["*"] for all. Only origins that are '
            "named one by one may send the session's cookie."
        ),
    )
    strict_transport_seconds: int = Field(
        0,
        ge=0,
        description="Time in seconds for which browsers may speak to this host over TLS alone; 0 says nothing. Only with"
        " TLS, here or at a proxy of ours before Envoy.",
    )
    limits: bool = Field(True, description="Whether calls are counted and refused when there are too many.")
    address_calls_per_second: int = Field(
        100, ge=1, description="Calls a second of one address (IPv6: of one /64), counted in each Envoy."
    )
    subject_calls_per_second: int = Field(
        100, ge=1, description="Calls a second of one account, counted in each Envoy."
    )
    burst_seconds: int = Field(
        3, ge=1, le=60, description="How many seconds' worth of calls may come at once after a silence."
    )
    counted_callers: int = Field(
        20_000, ge=1, description="Addresses, and as many accounts, whose calls a second are remembered."
    )
    limits_timeout_seconds: float = Field(
        1.0, gt=0, le=5, description="Time in seconds after which a call passes that the limits service did not judge."
    )
    token_issuer: str = Field("https://geomesh.local", description="`iss` of the tokens whose callers are told apart.")
    token_audience: str = Field("geomesh", description="`aud` of these tokens.")
    trusted_issuers: TrustedIssuers = Field(
        [],
        description=(
            "Other OpenID providers, the same JSON list as each service has, so that their callers are told apart too; "
            "see [auth.md](auth.md#other-issuers)."
        ),
    )
    issuers_ca_path: Path = Field(
        Path("/etc/ssl/certs/ca-certificates.crt"),
        description="File with the authorities (PEM) that may have signed the certificates of these providers.",
    )
    otlp_endpoint: str = Field("", description="gRPC address of an OpenTelemetry collector; empty turns tracing off.")
    trace_sample_ratio: float = Field(
        0.01, ge=0, le=1, description="Share of requests traced among those that come without a trace of their own."
    )

    @property
    def public_tls(self) -> bool:
        """Whether the public listener speaks TLS, and nothing else."""
        return self.tls_certificate_path is not None

    @property
    def mesh_tls(self) -> bool:
        """Whether Envoy and the services prove to each other who they are."""
        return self.mesh_tls_certificate_path is not None

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        for names in (
            ("tls_certificate_path", "tls_key_path"),
            ("mesh_tls_certificate_path", "mesh_tls_key_path", "mesh_tls_ca_path"),
        ):
            given = [name for name in names if getattr(self, name) is not None]
            if given and len(given) < len(names):
                variables = " and ".join(f"GEOMESH_EDGE_{name}".upper() for name in names)
                raise ValueError(f"{variables} are set together or not at all")
        return self

    @model_validator(mode="after")
    def _tls_is_demanded_where_it_is_spoken(self) -> Self:
        if self.strict_transport_seconds and not (self.public_tls or self.trusted_hops):
            raise ValueError(
                "GEOMESH_EDGE_STRICT_TRANSPORT_SECONDS needs GEOMESH_EDGE_TLS_CERTIFICATE_PATH, or with"
                " GEOMESH_EDGE_TRUSTED_HOPS a proxy that speaks TLS"
            )
        return self


def addresses(services: Iterable[str]) -> dict[str, list[tuple[str, int]]]:
    """Returns the replicas, each as host and port, of every service in `services`.

    They are read from ``GEOMESH_GATEWAY_<SERVICE>_ADDRESS``, a gRPC target such as ``geocoder:50051`` or
    ``ipv4:127.0.0.1:18100,127.0.0.1:18101``, and for the gateway itself from ``GEOMESH_GATEWAY_ADDRESS``. The default
    is the service's name as a host name, port 50051. They are no fields of `Settings`, because the protos say which
    services there are.

    Raises:
        ValueError: An address has no host or no port.
    """
    return {service: _replicas(service) for service in services}


def _replicas(service: str) -> list[tuple[str, int]]:
    whose = "" if service == Settings.service else f"{service.replace('-', '_').upper()}_"
    variable = f"GEOMESH_GATEWAY_{whose}ADDRESS"
    target = os.environ.get(variable) or f"{service}:50051"
    for scheme in ("ipv4:", "ipv6:", "dns:///", "dns:"):
        target = target.removeprefix(scheme)
    return [host_and_port(variable, each) for each in target.split(",")]


def host_and_port(variable: str, text: str) -> tuple[str, int]:
    """Returns the two parts of an address.

    Raises:
        ValueError: It has no host or no port; `variable` is where it was given.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{variable}: {error}") from None
    if not host or not port:
        raise ValueError(f"{variable}: {text!r} is not host:port")
    return host, port
