"""A picture of a forecast with its intervals, and of what happened."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import matplotlib as mpl
import numpy as np

from airquality.forecast.baselines import truth
from airquality.forecast.features import LOOKBACK_HOURS
from airquality.forecast.frame import Frame
from airquality.forecast.model import EVERY_HOUR, Model, every_hour
from airquality.units import Pollutant
from bench.held_back import hour_of

MOMENTS = ((2015, 11, 28, 4), (2015, 12, 23, 4), (2015, 6, 10, 4))
STATION = "Dongsi"


def draw(frame: Frame, target: Pollutant, model: Model, path: Path) -> None:
    """Draws forecasts of three moments of the held-back year, one above the other; they were not chosen by how they fell."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 -- after the choice of what to draw with

    figure, axes = plt.subplots(len(MOMENTS), 1, figsize=(9, 9), layout="constrained")
    place = frame.stations.index(STATION)
    for axis, moment in zip(axes, MOMENTS, strict=True):
        end = hour_of(*moment)
        medians = model.boosted.forecast(frame.between(end - LOOKBACK_HOURS, end))[:, 0]
        bounds = every_hour(model.bounds(medians))[:, place]
        times = [datetime.fromtimestamp(0, UTC) + timedelta(hours=end - 1 + int(hour)) for hour in EVERY_HOUR]
        axis.fill_between(times, bounds[0], bounds[3], color="#c6dbef", label="95 %")
        axis.fill_between(times, bounds[1], bounds[2], color="#6baed6", label="80 %")
        axis.plot(times, every_hour(medians)[place], color="#08519c", label="forecast")
        hours = np.arange(-47, len(EVERY_HOUR) + 1)
        happened = truth(frame, target, np.array([end - 1]), hours)[place, 0]
        axis.plot([times[0] + timedelta(hours=int(hour) - 1) for hour in hours], happened, "k.", ms=3, label="measured")
        axis.axvline(times[0], color="gray", lw=0.8)
        axis.set_ylabel("PM2.5, µg/m³")
        axis.set_ylim(bottom=0)
        axis.set_title(f"{STATION}, from {times[0]:%Y-%m-%d %H:%M} UTC", fontsize=10)
    axes[0].legend(loc="upper left", fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)
