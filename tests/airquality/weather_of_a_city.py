"""A made city for tests of forecasts: its air follows its wind, so that there is something to learn."""

import numpy as np

from airquality.forecast.frame import Frame
from airquality.units import Pollutant

FIRST_HOUR = 24 * 365 * 43


def city(stations: int = 4, hours: int = 24 * 90, seed: int = 3) -> Frame:
    """Returns hourly PM2.5, PM10 and wind of a few stations ten kilometres apart."""
    random = np.random.default_rng(seed)
    wind = np.abs(3 + np.convolve(random.normal(0, 1.5, hours + 47), np.ones(48) / 7, "valid"))
    regional = np.zeros(hours)
    for hour in range(1, hours):
        regional[hour] = (
            regional[hour - 1] + 0.1 * (4.0 - 0.4 * wind[hour] - regional[hour - 1]) + random.normal(0, 0.05)
        )
    course = 0.3 * np.sin(2 * np.pi * np.arange(hours) / 24)
    own = random.normal(0, 0.08, (stations, hours)) + np.linspace(-0.1, 0.1, stations)[:, None]
    pm25 = 10 * np.exp(regional + course + own)
    places = np.arange(stations)
    return Frame(
        tuple(str(place) for place in places),
        np.asarray(40.0 + 0.1 * (places % 2), dtype=np.float64),
        np.asarray(116.0 + 0.1 * (places // 2), dtype=np.float64),
        FIRST_HOUR,
        {
            Pollutant.PM25: pm25,
            Pollutant.PM10: pm25 * 1.4,
            Pollutant.WIND_SPEED: np.tile(wind, (stations, 1)),
            Pollutant.WIND_DIRECTION: np.full((stations, hours), 350.0),
        },
    )
