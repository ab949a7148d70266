"""What can be set from outside."""

from pydantic import Field

from meshkit.settings import ServiceSettings


class Settings(ServiceSettings, service="spatial-index"):
    """The settings of the spatial-index service, read from ``GEOMESH_SPATIAL_INDEX_…``."""

    max_cover_cells: int = Field(
        50_000, ge=1, le=500_000, description="Cells before compaction that CoverArea works for at most."
    )
    max_clock_skew_seconds: float = Field(
        300.0, ge=0, le=86_400, description="Time in seconds that a position may be ahead of this server's clock."
    )
