"""`make evaluate-forecast`: trains on what came before, forecasts what was held back, and writes what came of it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from airquality.forecast import baselines, simple
from airquality.forecast.boosting import HORIZONS, Parameters
from airquality.forecast.frame import Floats, Frame, Ints
from airquality.forecast.model import Model
from airquality.forecast.skill import CLIMATOLOGY, DAILY, PERSISTENCE, HorizonSkill, mean_skill, skill_of
from airquality.forecast.training import forecasts, train
from airquality.units import Pollutant
from bench import forecast_plot, public_baselines
from bench.held_back import ROOT, airnow, beijing, hour_of

DOCUMENT = ROOT / "docs" / "air-quality" / "forecast-evaluation.md"
PLOT = DOCUMENT.with_name("forecast.png")
DAY = slice(0, 24)


class Case(NamedTuple):
    """What is forecast: readings, the first hour held back, hours between readings, and between sampled moments."""

    name: str
    frame: Frame
    target: Pollutant
    cut: int
    grid_hours: int
    sample_hours: int
    sample_stations: int


def cases() -> Iterator[Case]:
    """Yields what there is to judge with."""
    city = beijing()
    if city is None:
        print("Beijing is left out: its readings are not here", flush=True)
    else:
        cut = hour_of(2015, 3, 1) - 8  # local midnight
        # Hours between sampled moments that share no factor with a day, so that they fall on all hours of it.
        yield Case("Beijing, PM2.5, 2015-03 to 2016-02 held back", city, Pollutant.PM25, cut, 1, 7 * 23, 6)
    sample = airnow()
    for target in (Pollutant.PM25, Pollutant.O3):
        name = f"AirNow, {target.name}, 2020-08-25 to 31 held back"
        yield Case(name, sample, target, hour_of(2020, 8, 25), 2, 35, 40)


def main() -> None:
    """Judges all cases and writes the document."""
    parts = [__doc__.partition("`: ")[2].capitalize(), ""]
    for case in cases():
        print(f"{case.name}: training", flush=True)
        started = time.perf_counter()
        past = case.frame.between(case.frame.first_hour, case.cut)
        model = train(past, case.target, Parameters(), lambda words: print(f"  {words}", flush=True))
        seconds = time.perf_counter() - started
        text = judge(case, model)
        learnt = f"Trained and judged in {seconds:.0f} s on {past.hour_count:,} hours."
        parts += [f"## {case.name}", "", learnt, "", *text, ""]
        print("\n".join(parts[-len(text) - 4 :]), flush=True)
        DOCUMENT.write_text("\n".join([HEAD, *parts[2:]]), encoding="utf-8")
        if case.grid_hours == 1:
            forecast_plot.draw(case.frame, case.target, model, PLOT)


_HEADINGS = (
    "| hours ahead | forecasts | MAE | bias | 80 % holds | 95 % holds | persistence | daily persistence | climatology"
    " | skill |"
)
HEAD = """# Forecasts, judged

Written by `make evaluate-forecast`. Every forecast is made from what was known at its moment, by a model that was trained
on what came before the hours held back, and compared with the hourly readings of stations; errors in the pollutant's usual
unit (µg/m³; ppb for O3). Skill is by which share the error is below that of persistence.
"""


def judge(case: Case, model: Model) -> list[str]:
    """Returns the tables of one case."""
    known = case.frame.take([place for place, each in enumerate(case.frame.stations) if each in model.stations])
    origins, medians = forecasts(model.boosted, known, case.cut, known.end_hour, 2)
    bounds = model.bounds(medians)
    happened = baselines.truth(known, case.target, origins, HORIZONS)
    anyones = {
        PERSISTENCE: baselines.persistence(known, case.target, origins, HORIZONS),
        DAILY: baselines.daily_persistence(known, case.target, origins, HORIZONS),
        CLIMATOLOGY: baselines.climatology(known, case.target, case.cut, origins, HORIZONS),
    }
    skill = skill_of(medians, bounds, happened, anyones, HORIZONS)
    lines = [
        f"{len(known.stations)} stations, a forecast each {int(np.diff(origins).min())} hours.",
        "",
        _HEADINGS,
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    spans = [(1, 24), (25, 48), (49, 96), *((hour, hour) for hour in (1, 2, 3, 6, 9, 12, 15, 18, 21, 24))]
    for first, last in spans:
        if any(first <= each.horizon <= last for each in skill):
            lines.append(_row(first, last, mean_skill(skill, first, last)))
    worst = max(each.mae / each.baselines[PERSISTENCE] for each in skill if each.horizon <= len(range(24)))
    lines += ["", f"Of hours 1 to 24 the worst has {worst:.3f} of the error of persistence.", ""]
    return lines + sampled(case, known, origins, medians, happened, anyones)


def _row(first: int, last: int, each: HorizonSkill) -> str:
    name = f"{first}" if first == last else f"{first} to {last}"
    errors = " | ".join(f"{each.baselines[other]:.2f}" for other in (PERSISTENCE, DAILY, CLIMATOLOGY))
    return (
        f"| {name} | {each.count:,} | {each.mae:.2f} | {each.bias:+.2f} | {each.coverage_80:.1%} |"
        f" {each.coverage_95:.1%} | {errors} | {each.skill:.1%} |"
    )


def sampled(
    case: Case, known: Frame, origins: Ints, medians: Floats, happened: Floats, anyones: dict[str, Floats]
) -> list[str]:
    """Returns the comparison with what takes too long for every moment, on the same sample of them."""
    steps = np.arange(case.grid_hours, 25, case.grid_hours)
    columns = np.searchsorted(HORIZONS, steps)
    every = max(1, case.sample_hours // int(np.diff(origins).min()))
    moments = np.arange(0, len(origins), every)
    if case.grid_hours > 1:  # forecasts begin where there is a reading
        filled = (~np.isnan(known.of(case.target)[:, origins - known.first_hour])).mean(axis=0)
        moments = np.flatnonzero(filled > filled.max() / 2)[::every]
    stations = np.linspace(0, len(known.stations) - 1, min(case.sample_stations, len(known.stations))).astype(int)
    part = known.take(stations.tolist())
    chosen = np.ix_(stations, moments, columns)
    makers: dict[str, Callable[[], Floats]] = {
        "AutoETS (statsforecast)": lambda: public_baselines.ets(part, case.target, origins[moments], case.grid_hours),
        "AutoTheta (statsforecast)": lambda: public_baselines.theta(
            part, case.target, origins[moments], case.grid_hours
        ),
        "the simple forecast": lambda: _simple(part, case.target, origins[moments], steps),
    }
    made = {"the model": medians[chosen], PERSISTENCE: anyones[PERSISTENCE][chosen], DAILY: anyones[DAILY][chosen]}
    made |= {name: make() for name, make in makers.items()}
    truth = happened[chosen]
    usable = ~np.isnan(truth)
    for each in made.values():
        usable &= ~np.isnan(each)
    lines = [
        (
            f"Against public baselines on a sample of it, {len(stations)} stations at {len(moments)} moments, hours 1 to 24"
            f" ({int(usable.sum()):,} forecasts), for each is fitted anew to the station's last two weeks and takes long:"
        ),
        "",
        "| forecast | MAE | bias | of persistence |",
        "|---|---|---|---|",
    ]
    errors = {name: np.abs(each - truth)[usable].mean() for name, each in made.items()}
    for name, each in made.items():
        bias = (each - truth)[usable].mean()
        lines.append(f"| {name} | {errors[name]:.2f} | {bias:+.2f} | {errors[name] / errors[PERSISTENCE]:.3f} |")
    return lines


def _simple(frame: Frame, target: Pollutant, origins: Ints, steps: Ints) -> Floats:
    made = []
    for origin in origins.tolist():
        past = frame.between(origin + 1 - simple.WINDOW_HOURS, origin + 1)
        made.append(simple.forecast(past.of(target), origin + 1, steps).medians)
    return np.stack(made, axis=1)


if __name__ == "__main__":
    Path(DOCUMENT.parent).mkdir(exist_ok=True)
    main()
