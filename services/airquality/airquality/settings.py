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
        50_000.0,
        gt=0,
        le=100_000,
        description="Distance in metres that the nearest station may be off for a place to be answered.",
    )
    current_ttl_seconds: int = Field(300, ge=0, description="Time in seconds that current conditions are cached.")
    allowed_skew_seconds: float = Field(
        300.0, ge=0, le=3600, description="How far in seconds the clock of who sends readings may be ahead."
    )
    transaction_rows: int = Field(
        20_000, ge=1, le=1_000_000, description="Readings of one stream that are stored in one transaction at most."
    )
    tile_ttl_seconds: int = Field(300, ge=0, description="Time in seconds that tiles of now are cached.")
    history_ttl_seconds: int = Field(7200, ge=0, description="Time in seconds that tiles of the past are cached.")
    latest_reread_seconds: float = Field(
        60.0, gt=0, description="Time in seconds between two readings of all stations' newest values from the store."
    )
    hot_places: int = Field(500, ge=0, description="Questions whose replies are renewed before they expire, at most.")
    hot_requests: float = Field(
        5.0,
        gt=0,
        description="How often a question must have been asked lately to be kept warm, each time halved by age.",
    )
    hot_half_life_seconds: float = Field(
        900.0, gt=0, description="Time in seconds after which a request counts half towards that."
    )
    warming_seconds: float = Field(10.0, gt=0, description="Time in seconds between two looks for replies to renew.")
    warming_lead_seconds: float = Field(
        30.0, ge=0, description="How many seconds before it expires a hot reply is renewed."
    )
