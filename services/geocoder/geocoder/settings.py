"""What can be set from outside."""

from pydantic import Field

from meshkit.settings import ServiceSettings


class Settings(ServiceSettings, service="geocoder"):
    """The settings of the geocoder."""

    cache_seconds: float = Field(86_400.0, gt=0, description="Time in seconds that a Geocode reply is kept in Redis.")
    gazetteer_watch_seconds: float = Field(
        10.0, gt=0, description="Time in seconds between two looks whether another gazetteer was loaded."
    )
    batch_concurrency: int = Field(
        4, ge=1, le=64, description="Requests of one batch that are searched for similar names at one time."
    )
