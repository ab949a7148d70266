"""What can be set from outside, the same for every service.

A variable is the service's prefix and the field's name: ``GEOMESH_SPATIAL_INDEX_PORT``. A secret may also be given as
the path of a file that holds it: ``GEOMESH_SPATIAL_INDEX_POSTGRES_DSN_FILE``.
"""

import os
import sys
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from meshkit.trusted_issuers import TrustedIssuers

CHECKOUT = Path(__file__).resolve().parents[2]


class _FileSource(EnvSettingsSource):
    """Reads ``<NAME>_FILE``, for secrets that an orchestrator mounts as files."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 -- the base class names it
        variable = f"{self.env_prefix}{field_name}_file".upper()
        path = os.environ.get(variable)
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text().strip(), field_name, False
        except OSError as error:
            raise ValueError(f"{variable}: {error}") from error


class ServiceSettings(BaseSettings):
    """The settings that every service has. A service's own class names the service and adds its fields."""

    service: ClassVar[str]
    """The service's name as people write it, e.g. ``spatial-index``."""

    host: str = Field("127.0.0.1", description="Address that the gRPC port listens on.")
    port: int = Field(50051, ge=0, le=65535, description="gRPC port; 0 takes any free one.")
    metrics_port: int = Field(9464, ge=0, le=65535, description="Prometheus port; 0 takes any free one.")
    metrics_host: str = Field(
        "127.0.0.1", description="Address that the Prometheus port listens on; what it says is for operators alone."
    )
    tls_certificate_path: Path | None = Field(
        None,
        description="File with this process's certificate (PEM, chain included), as server and as client; together"
        " with the next two it turns mutual TLS on. Read again when it changes.",
    )
    tls_key_path: Path | None = Field(None, description="File with the key of that certificate (PEM).")
    tls_ca_path: Path | None = Field(
        None, description="File with the authorities (PEM) that must have signed the certificate of every peer."
    )
    tls_peers: list[str] = Field(
        [],
        description='Names of those who may call, as JSON, e.g. `["edge", "gateway"]`; empty lets every peer that an'
        " authority signed. Only with TLS.",
    )
    postgres_dsn: SecretStr = Field(
        SecretStr(""), description="Address of the primary Postgres as this service's role."
    )
    owner_dsn: SecretStr = Field(
        SecretStr(""), description="Address of Postgres as the schema's owner; only loaders and set-up use it."
    )
    pool_size: int = Field(8, ge=1, le=200, description="Postgres connections that a process holds at most.")
    redis_url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="Address of Redis.")
    auth_address: str = Field(
        "127.0.0.1:50055", description="gRPC address of the auth service, which publishes the keys."
    )
    token_issuer: str = Field("https://geomesh.local", description="`iss` that an access token must carry.")
    token_audience: str = Field("geomesh", description="`aud` that an access token must carry.")
    token_leeway_seconds: float = Field(
        5.0,
        ge=0,
        le=300,
        description="How far in seconds the clocks of whoever issues and verifies a token may differ.",
    )
    token_cache_size: int = Field(8192, ge=1, description="Verified access tokens that a process remembers at most.")
    token_cache_seconds: float = Field(
        60.0, ge=0, le=3600, description="Time in seconds after which a remembered token is verified again."
    )
    jwks_refresh_seconds: float = Field(
        60.0, gt=0, description="Time in seconds after which the keys of the auth service are fetched again."
    )
    jwks_refetch_seconds: float = Field(
        5.0, ge=0, description="Least time in seconds between two fetches of keys that unknown key ids cause."
    )
    revocation_poll_seconds: float = Field(
        1.0, gt=0, le=60, description="Time in seconds after which Redis is asked again which tokens were revoked."
    )
    refusal_audit_seconds: float = Field(
        60.0,
        ge=0,
        le=3600,
        description=(
            "Time in seconds in which refusals of one caller by one RPC become one entry of the audit log, after the first,"
            " which becomes one at once."
        ),
    )
    trusted_issuers: TrustedIssuers = Field(
        [],
        description=(
            "Other OpenID providers whose access tokens are accepted, as a JSON list of objects; see "
            "[auth.md](auth.md#other-issuers)."
        ),
    )
    request_timeout_seconds: float = Field(
        30.0, gt=0, le=3600, description="Time in seconds that a call gets when its caller names none."
    )
    max_concurrent_requests: int = Field(
        1000, ge=1, description="Calls in work at one time; more are refused with RESOURCE_EXHAUSTED."
    )
    max_pending_calls: int = Field(
        12_000,
        ge=1,
        description="Calls that have come and are not begun at one time; gRPC ends more as CANCELLED, without details.",
    )
    max_message_bytes: int = Field(10 * 1024 * 1024, ge=1024, description="Largest request and reply in bytes.")
    drain_seconds: float = Field(10.0, ge=0, description="Time in seconds that calls in work get to finish at a stop.")
    drain_notice_seconds: float = Field(
        1.5, ge=0, description="Time in seconds between leaving the rotation and refusing new calls."
    )
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least severe log level written."
    )
    otlp_endpoint: str = Field("", description="gRPC address of an OpenTelemetry collector; empty turns tracing off.")
    trace_sample_ratio: float = Field(
        0.01, ge=0, le=1, description="Share of calls traced among those that come without a trace of their own."
    )
    data_dir: Path = Field(CHECKOUT / "data", description="Folder of the data that loaders read.")

    @model_validator(mode="after")
    def _own_tokens_are_told_apart(self) -> Self:
        if any(each.issuer == self.token_issuer for each in self.trusted_issuers):
            raise ValueError(f"trusted_issuers: issuer: {self.token_issuer} is that of our own tokens")
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        prefix = f"{self.model_config.get('env_prefix', '')}TLS_"
        paths = (self.tls_certificate_path, self.tls_key_path, self.tls_ca_path)
        if any(paths) and not all(paths):
            raise ValueError(
                f"{prefix}CERTIFICATE_PATH, {prefix}KEY_PATH and {prefix}CA_PATH are set together or not at all"
            )
        if self.tls_peers and not all(paths):
            raise ValueError(f"{prefix}PEERS needs {prefix}CERTIFICATE_PATH, {prefix}KEY_PATH and {prefix}CA_PATH")
        return self

    def __init_subclass__(cls, *, service: str = "", **kwargs: Any) -> None:
        """Derives the prefix of the variables from the service's name."""
        super().__init_subclass__(**kwargs)
        if service:
            cls.service = service

    @classmethod
    def __pydantic_init_subclass__(cls, *, service: str = "", **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if service:
            cls.model_config = SettingsConfigDict(
                env_prefix=f"GEOMESH_{service.replace('-', '_').upper()}_",
                frozen=True,
                extra="forbid",
                allow_inf_nan=False,
            )
            cls.model_rebuild(force=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- the environment is the one source
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- _FILE variables name their files
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Takes arguments first, then the environment, then files that the environment names."""
        return init_settings, env_settings, _FileSource(settings_cls)

    @classmethod
    def load(cls) -> Self:
        """Reads the environment, or ends the program with one line a mistake."""
        try:
            return cls()
        except (ValidationError, ValueError) as error:
            prefix = str(cls.model_config.get("env_prefix", ""))
            problems = (
                # A rule about several settings has no place of its own, and names them.
                [": ".join([*_variables(prefix, e["loc"]), e["msg"]]) for e in error.errors()]
                if isinstance(error, ValidationError)
                else [str(error.__cause__ or error)]
            )
            sys.exit(f"{cls.service} cannot start: " + "; ".join(problems))


def _variables(prefix: str, place: tuple[int | str, ...]) -> list[str]:
    return [f"{prefix}{'_'.join(map(str, place))}".upper()] if place else []
