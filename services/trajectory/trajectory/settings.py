"""What can be set from outside."""

from pydantic import Field

from meshkit.settings import ServiceSettings


class Settings(ServiceSettings, service="trajectory"):
    """The settings of the trajectory service, read from ``GEOMESH_TRAJECTORY_…``."""

    clock_skew_seconds: float = Field(
        60.0, ge=0, description="How far in seconds the time of a position may lie in the future."
    )
    max_track_positions: int = Field(
        100_000, ge=2, description="Positions that a summary, stays or a simplified track may be made of."
    )
