"""Forecasts: how long they take to make for many stations, and models to train."""

import time
from collections.abc import Iterator

import numpy as np

from airquality.forecast.boosting import Parameters
from airquality.forecast.features import LOOKBACK_HOURS
from airquality.forecast.frame import Frame
from airquality.forecast.model import every_hour
from airquality.forecast.training import train
from airquality.units import Pollutant
from bench.held_back import airnow, beijing
from bench.report import Row, ceiling

STATIONS = 1000
ROUNDS = 5


def rows() -> Iterator[Row]:
    """1,000 stations of AirNow for 96 hours with intervals, all at once; and training on the readings of Beijing."""
    city = beijing()
    if city is None:
        print("  training is left out: the readings of Beijing are not here", flush=True)
        pattern = airnow()
        model = train(pattern, Pollutant.PM25, Parameters(), lambda _words: None)
    else:
        pattern = city
        started = time.perf_counter()
        model = train(city, Pollutant.PM25, Parameters(), lambda _words: None)
        seconds = time.perf_counter() - started
        yield ceiling("Training a model on three years of twelve stations, judged", seconds, "s", 300.0)
    frame = _many(pattern)
    model.boosted.forecast(frame)
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        medians = model.boosted.forecast(frame)[:, 0]
        bounds = every_hour(model.bounds(medians))
        times.append(time.perf_counter() - started)
        assert bounds.shape == (4, STATIONS, 96)
    yield ceiling("Forecasts of 96 hours with intervals for 1,000 stations", float(np.median(times)), "s", 1.0)


def _many(pattern: Frame) -> Frame:
    """Returns a week of 1,000 stations over a country, with the readings and the weather of those there are."""
    random = np.random.default_rng(1)
    week = pattern.between(pattern.end_hour - LOOKBACK_HOURS, pattern.end_hour)
    places = np.arange(STATIONS) % len(week.stations)
    # Each station by a factor of its own, so that no two are alike.
    factors = np.exp(random.normal(0, 0.3, (STATIONS, 1)))
    return Frame(
        tuple(map(str, range(STATIONS))),
        random.uniform(30.0, 42.0, STATIONS),
        random.uniform(105.0, 120.0, STATIONS),
        week.first_hour,
        {
            quantity: each[places] * (factors if quantity == Pollutant.PM25 else 1.0)
            for quantity, each in week.values.items()
        },
    )
