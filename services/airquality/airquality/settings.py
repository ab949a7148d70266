"""The settings of the air-quality service."""

from pydantic import Field

from meshkit.settings import ServiceSettings


class Settings(ServiceSettings, service="airquality"):
    """What can be set from outside, beside what every service has."""

    geocoder_address: str = Field("127.0.0.1:50051", description="gRPC address of the geocoder, which resolves `q`.")
    max_age_seconds: float = Field(
        10_800.0, gt=0, le=86_400, description="Time in seconds after its end for which a reading stands for the air."
    )
    current_radius_meters: float = Field(
        50_000.0, gt=0, le=100_000, description="Distance in metres up to which a station speaks for a place."
    )
    current_ttl_seconds: int = Field(300, ge=0, description="Time in seconds that current conditions are cached.")
    allowed_skew_seconds: float = Field(
        300.0, ge=0, le=3600, description="How far in seconds the clock of who sends readings may be ahead."
    )
    transaction_rows: int = Field(
        20_000, ge=1, le=1_000_000, description="Readings of one stream that are stored in one transaction at most."
    )
    forecast_ttl_seconds: int = Field(
        600, ge=0, description="Time in seconds that a forecast is cached, at most to the end of the hour."
    )
    forecast_check_seconds: float = Field(
        30.0, ge=1, le=3600, description="How often in seconds the service looks whether another forecast model serves."
    )
