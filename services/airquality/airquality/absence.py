"""Why nothing can be said of the air at a place."""

from datetime import datetime
from typing import Final, NamedTuple

from airquality.stations import Station

_HOUR_SECONDS: Final = 3600


class NearestReporter(NamedTuple):
    """The nearest station of all, with its first reading ever and its last one up to the moment asked."""

    station: Station
    first: datetime | None
    last: datetime | None


def explain_absence(nearest: NearestReporter | None, at: datetime, radius_meters: float, max_age_seconds: float) -> str:
    """Returns why nothing can be said of the air at a place, and where or when something could."""
    if nearest is None:
        return "no station is registered at all"
    station = nearest.station
    name = f"{station.station_id} ({station.name})" if station.name else station.station_id
    distance = station.distance_meters or 0.0
    words = f"the nearest station is {name}, {distance / 1000:.1f} km away at {station.lat:g}, {station.lng:g}"
    if nearest.last is not None:
        words += f"; before the moment asked about it last reported at {nearest.last:%Y-%m-%dT%H:%M:%SZ}"
    elif nearest.first is not None:
        words += f"; its first report is of {nearest.first:%Y-%m-%dT%H:%M:%SZ}"
    else:
        words += "; it has never reported"
    if distance > radius_meters:
        return f"no station is within {radius_meters / 1000:g} km: {words}"
    hint = "" if nearest.last is None else f"; ask with at={nearest.last:%Y-%m-%dT%H:%M:%SZ} for the air then"
    return (
        f"no station within {radius_meters / 1000:g} km has reported in the {max_age_seconds / _HOUR_SECONDS:g} hours"
        f" before {at:%Y-%m-%dT%H:%M:%SZ}: {words}{hint}"
    )
