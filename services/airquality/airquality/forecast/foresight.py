"""What alerts ask of forecasts."""

from collections.abc import Sequence
from datetime import datetime

from airquality.forecast.forecasts import Forecasts
from airquality.units import Pollutant
from meshkit.errors import NotFound


class StationForesight:
    """Forecasts of stations as plain concentrations; an airquality.alerting.measuring.Foresight."""

    def __init__(self, forecasts: Forecasts) -> None:
        self._forecasts = forecasts

    async def concentrations(
        self, tenant: str, station_id: str, pollutant: Pollutant, after: datetime, hours: int
    ) -> Sequence[float]:
        """Returns the medians of the hours from a moment on, in the usual unit; none where nothing can be forecast."""
        try:
            found = await self._forecasts.of_station(tenant, station_id, pollutant, after, hours)
        except NotFound:
            return ()
        return [float(each) for each in found.medians]
