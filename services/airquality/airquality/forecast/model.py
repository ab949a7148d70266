"""A trained model with all that is known of it: what it was made of, how good it was, and how sure its forecasts are."""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import lightgbm
import numpy as np

from airquality.forecast.boosting import HORIZONS, Boosted
from airquality.forecast.features import Matrix
from airquality.forecast.frame import Floats
from airquality.forecast.intervals import Intervals
from airquality.forecast.left_out import LONGEST_HOURS
from airquality.forecast.networks import Inputs, Network
from airquality.forecast.skill import HorizonSkill
from airquality.units import Pollutant

_FORMAT: Final = 2
EVERY_HOUR: Final = np.arange(1, LONGEST_HOURS + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained model.

    Attributes:
        boosted: The trees.
        intervals: Its intervals.
        stations: The stations that it learnt from, by what they are known by; of others it knows nothing.
        skill: How good it was, before it saw them, on the hours that were held back.
        trained_hours: The hours that it learnt from, [first, end), in hours since 1970.
        held_back_hours: The last of them, which were held back at first, to be judged by.
        spatial_deviation: Standard deviation of the logarithm by which interpolation between stations is wrong.
    """

    boosted: Boosted
    intervals: Intervals
    stations: frozenset[str]
    skill: tuple[HorizonSkill, ...]
    trained_hours: tuple[int, int]
    held_back_hours: tuple[int, int]
    spatial_deviation: float

    @property
    def target(self) -> Pollutant:
        """Returns what it forecasts."""
        return self.boosted.target

    def bounds(self, medians: Floats) -> Floats:
        """Returns the intervals around forecasts at HORIZONS, shape (4, …, len(HORIZONS))."""
        return self.intervals.around(medians)

    def encode(self) -> bytes:
        """Returns the model as bytes that `decode` reads; they hold numbers and text, nothing that could be run."""
        content = {
            "format": _FORMAT,
            "target": self.target.name,
            "scales": {each.name: value for each, value in self.boosted.scales.items()},
            "columns": self.boosted.columns,
            "boosters": [each.model_to_string() for each in self.boosted.boosters],
            "input_hour": self.boosted.inputs.hour,
            "inputs": [_written(each) for each in (self.boosted.inputs.centre, self.boosted.inputs.spread)],
            "networks": [
                {"weights": [*map(_written, each.weights)], "offsets": [*map(_written, each.offsets)]}
                for each in self.boosted.networks
            ],
            "interval_scale": self.intervals.scale,
            "interval_edges": self.intervals.edges.tolist(),
            "interval_quantiles": self.intervals.quantiles.tolist(),
            "stations": sorted(self.stations),
            "skill": [asdict(each) for each in self.skill],
            "trained_hours": self.trained_hours,
            "held_back_hours": self.held_back_hours,
            "spatial_deviation": self.spatial_deviation,
        }
        return zlib.compress(json.dumps(content).encode(), level=6)


def decode(artefact: bytes) -> Model:
    """Returns the model that `Model.encode` wrote.

    Raises:
        ValueError: The bytes are of another format or damaged.
    """
    try:
        content: dict[str, Any] = json.loads(zlib.decompress(artefact))
    except zlib.error:
        message = "the stored model is damaged"
        raise ValueError(message) from None
    if content["format"] != _FORMAT:
        message = f"the stored model has format {content['format']}, this version reads {_FORMAT}; train it anew"
        raise ValueError(message)
    scales: Mapping[Pollutant, float] = {Pollutant[name]: value for name, value in content["scales"].items()}
    return Model(
        Boosted(
            Pollutant[content["target"]],
            scales,
            tuple(content["columns"]),
            [lightgbm.Booster(model_str=each) for each in content["boosters"]],
            Inputs(content["input_hour"], *map(_read, content["inputs"])),
            [
                Network(*(tuple(map(_read, each[name])) for name in ("weights", "offsets")))
                for each in content["networks"]
            ],
        ),
        Intervals(
            content["interval_scale"], np.array(content["interval_edges"]), np.array(content["interval_quantiles"])
        ),
        frozenset(content["stations"]),
        tuple(HorizonSkill(**each) for each in content["skill"]),
        tuple(content["trained_hours"]),
        tuple(content["held_back_hours"]),
        content["spatial_deviation"],
    )


def _written(values: Matrix) -> dict[str, Any]:
    """Returns an array as its shape and its bytes, little-endian, as text."""
    return {"shape": values.shape, "float32": base64.b64encode(values.astype("<f4").tobytes()).decode()}


def _read(written: dict[str, Any]) -> Matrix:
    return np.frombuffer(base64.b64decode(written["float32"]), "<f4").astype(np.float32).reshape(written["shape"])


def every_hour(at_horizons: Floats) -> Floats:
    """Returns values at HORIZONS, the last axis, for each of the LONGEST_HOURS hours; those between on straight lines."""
    upper = np.clip(np.searchsorted(HORIZONS, EVERY_HOUR), 1, len(HORIZONS) - 1)
    share = (EVERY_HOUR - HORIZONS[upper - 1]) / (HORIZONS[upper] - HORIZONS[upper - 1])
    return np.asarray(at_horizons[..., upper - 1] * (1.0 - share) + at_horizons[..., upper] * share)
