"""How good the interpolation is: `python -m airquality.evaluate_interpolation`, also `make evaluate-interpolation`.

Leaves out each station of the committed AirNow sample in turn, every twelfth hour, and estimates its PM2.5 (the NowCast)
from the others by the code that serves. Nothing of the method was fitted on these hours.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

from airquality.interpolation import MOST_STATIONS, estimate_many, positions, scale_of
from airquality.settings import Settings
from airquality.units import Pollutant

Floats = NDArray[np.float64]

_EVERY: Final = 12
_MISSING: Final = -999.0
_NEAREST_METERS: Final = 50_000.0
_INVERSE_STATIONS: Final = 16
"""With how many stations inverse distance squared did best among 5, 8, 10, 16 and all."""


class Score(NamedTuple):
    """Errors over all stations and hours left out, in µg/m³; `coverage` is the share within the 80 % intervals."""

    estimates: int
    nearest_rmse: float
    inverse_rmse: float
    kriging_rmse: float
    kriging_mae: float
    bias: float
    coverage: float

    @property
    def gain_on_nearest(self) -> float:
        """By what share the error is smaller than the nearest station's."""
        return 1 - self.kriging_rmse / self.nearest_rmse

    @property
    def gain_on_inverse(self) -> float:
        """By what share it is smaller than that of inverse distance squared."""
        return 1 - self.kriging_rmse / self.inverse_rmse


def evaluate(data_dir: Path, *, offset: int = 0) -> tuple[Score, Score]:
    """Returns the score over all stations, and over those with another within 50 km, whom the service would answer.

    Args:
        data_dir: Where the sample lies.
        offset: Which of twelve hours to begin with; 0 is what the figures in the documentation are of.
    """
    hours = _hours(data_dir)
    columns = [
        np.concatenate(each)
        for each in zip(*(_leave_one_out(hours[key]) for key in sorted(hours)[offset::_EVERY]), strict=True)
    ]
    near = columns[0] <= _NEAREST_METERS
    return _score(columns), _score([each[near] for each in columns])


def _hours(data_dir: Path) -> dict[str, list[tuple[float, float, float]]]:
    with gzip.open(data_dir / "airnow2020_sites.csv.gz", "rt", encoding="utf-8", newline="") as file:
        sites = {row["fullaqsid"]: (float(row["lat"]), float(row["lon"])) for row in csv.DictReader(file)}
    hours: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    with gzip.open(data_dir / "airnow2020_PM25_aug.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            value = float(row["nowcast_or_value"])
            if value != _MISSING:
                hours[row["utc"]].append((*sites[row["fullaqsid"]], value))
    return hours


def _leave_one_out(rows: Sequence[tuple[float, float, float]]) -> tuple[Floats, ...]:
    """Returns distance of the nearest, truth, nearest, inverse distance, kriging, low and high of each station."""
    lat, lng, truth = np.array(rows).T
    places = positions(lat, lng)
    distances, found = map(np.asarray, cKDTree(places).query(places, k=_INVERSE_STATIONS + 2))
    # Each station finds itself, and with it those that share its very place, of which some are left in: one is left out.
    own = found == np.arange(len(truth))[:, None]
    own[~own.any(axis=1), -1] = True
    distances, found = (each[~own].reshape(len(truth), -1)[:, :_INVERSE_STATIONS] for each in (distances, found))
    inverse = 1 / np.maximum(distances, 100.0) ** 2
    used = found[:, :MOST_STATIONS]
    kriging = estimate_many(distances[:, :MOST_STATIONS], used, places, truth, scale_of(Pollutant.PM25))
    by_inverse = (inverse * truth[found]).sum(axis=1) / inverse.sum(axis=1)
    return distances[:, 0], truth, truth[found[:, 0]], by_inverse, kriging.values, kriging.lows, kriging.highs


def _score(columns: Sequence[Floats]) -> Score:
    _, truth, nearest, inverse, kriging, low, high = columns
    # The least that is known of a value below zero is that it is clean air.
    at_least_clean = np.maximum(truth, 0.0)
    nearest_rmse, inverse_rmse, kriging_rmse = (
        float(np.sqrt(np.mean((each - truth) ** 2))) for each in (nearest, inverse, kriging)
    )
    return Score(
        estimates=len(truth),
        nearest_rmse=nearest_rmse,
        inverse_rmse=inverse_rmse,
        kriging_rmse=kriging_rmse,
        kriging_mae=float(np.mean(np.abs(kriging - truth))),
        bias=float(np.mean(kriging - truth)),
        coverage=float(np.mean((at_least_clean >= low) & (at_least_clean <= high))),
    )


def main() -> None:
    """Prints the scores."""
    everywhere, near = evaluate(Settings.load().data_dir)
    table = Table("", "all stations", "another within 50 km", title="PM2.5, each station left out, µg/m³")
    for name, field in (
        ("estimates", "estimates"),
        ("RMSE nearest station", "nearest_rmse"),
        ("RMSE inverse distance squared", "inverse_rmse"),
        ("RMSE kriging", "kriging_rmse"),
        ("MAE kriging", "kriging_mae"),
        ("bias kriging", "bias"),
        ("better than the nearest by", "gain_on_nearest"),
        ("better than inverse distance by", "gain_on_inverse"),
        ("within the 80 % interval", "coverage"),
    ):
        table.add_row(name, *(f"{getattr(each, field):,.3f}".removesuffix(".000") for each in (everywhere, near)))
    Console().print(table)


if __name__ == "__main__":
    main()
