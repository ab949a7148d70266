"""What can be set of the rate-limit service."""

from pydantic import Field

from meshkit.settings import ServiceSettings


class Settings(ServiceSettings, service="limits"):
    """The rate-limit service: ``GEOMESH_LIMITS_…``. A tenant's own limits, kept with the tenant, go before these."""

    counting_port: int = Field(
        50052,
        ge=0,
        le=65535,
        description="Port on which Envoy asks; the gRPC port is for the health. 0 takes any free one.",
    )
    redis_patience_seconds: float = Field(
        0.5,
        gt=0,
        le=10,
        description="How long Redis may take to count, in seconds; what takes longer passes uncounted.",
    )
    public_requests_per_hour: int = Field(
        100, ge=0, description="Calls an hour of a caller without a token, counted by address."
    )
    user_requests_per_hour: int = Field(1_000, ge=0, description="Calls an hour of an account with the plan user.")
    premium_requests_per_hour: int = Field(
        10_000, ge=0, description="Calls an hour of an account with the plan premium."
    )
    enterprise_requests_per_hour: int = Field(
        100_000, ge=0, description="Calls an hour of an account with the plan enterprise."
    )
    streams_per_minute: int = Field(10, ge=0, description="Streams that a caller may open a minute.")
    batch_calls_per_hour: int = Field(50, ge=0, description="Batch calls an hour of a caller.")
    sign_ins_per_hour: int = Field(
        1_000, ge=0, description="Calls an hour of one address that need no account, such as Login and RefreshToken."
    )
