"""The index of a million readings in one call."""

import time
from collections.abc import Iterator

import numpy as np

from airquality.index import NONE, index_of_readings
from airquality.standards import Standard, all_standards, standard_of
from bench.report import Row, ceiling, median

_READINGS = 1_000_000
_AT_MOST_SECONDS = 0.5


def rows() -> Iterator[Row]:
    """Readings of all pollutants of an index in all their units, under the US EPA's and under the slowest index."""
    yield ceiling("index of 1,000,000 readings, us_epa", _seconds(standard_of("us_epa")), "s", _AT_MOST_SECONDS)
    slowest = max(((_seconds(standard), name) for name, standard in all_standards().items()), key=lambda pair: pair[0])
    yield ceiling(f"index of 1,000,000 readings, the slowest of ten ({slowest[1]})", slowest[0], "s", _AT_MOST_SECONDS)


def _seconds(standard: Standard) -> float:
    generator = np.random.default_rng(0)
    version = len(standard.versions) - 1
    tables = standard.versions[version].tables
    chosen = generator.integers(0, len(tables), _READINGS)
    pollutant = np.array([table.pollutant for table in tables])[chosen]
    period = np.array([table.averaging_period for table in tables])[chosen]
    unit = np.where(generator.integers(0, 2, _READINGS) == 0, np.array([table.unit for table in tables])[chosen], 0)
    value = generator.gamma(2.0, 30.0, _READINGS)

    def once() -> float:
        started = time.perf_counter()
        found = index_of_readings(standard, version, pollutant, period, unit, value)
        elapsed = time.perf_counter() - started
        assert (found != NONE).any()
        return elapsed

    once()  # builds what is kept of the tables
    return median(once, rounds=5)
