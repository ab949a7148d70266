"""Trains, lists and activates forecast models: `python -m airquality.train pm25`.

Reads the operator's stored readings, judges the model on the last half of the time, at most a year, stores it with its
skill, and lets it serve when it was better than both persistences and the climatology.
"""

import argparse
import asyncio
import sys
import time
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from airquality.forecast.boosting import Parameters
from airquality.forecast.frame import POLLUTANTS, WEATHER, Frame
from airquality.forecast.model import Model
from airquality.forecast.skill import CLIMATOLOGY, DAILY, PERSISTENCE, HorizonSkill, mean_skill
from airquality.forecast.training import serves, train
from airquality.forecast_repository import ForecastRepository
from airquality.settings import Settings
from airquality.units import Pollutant
from meshkit.postgres import Postgres

_DAYS = ((1, 24), (25, 48), (49, 96))


async def train_one(
    repository: ForecastRepository, target: Pollutant, until: datetime | None, *, activate: bool, console: Console
) -> str | None:
    """Trains and stores a model of a pollutant; returns its version, or None where there is too little to learn from.

    Args:
        repository: Where readings come from and models go.
        target: The pollutant.
        until: Only readings of hours before this moment; None for all.
        activate: Whether it may serve when it is good enough.
        console: Is told what is being done.
    """
    started = time.monotonic()
    console.print(f"{target.name}: reading", highlight=False)
    frame = await repository.find_trainable(target, (*POLLUTANTS, *WEATHER), until)
    try:
        model = await asyncio.to_thread(_train, frame, target, console)
    except ValueError as error:
        console.print(f"{target.name}: no model: {error}", highlight=False)
        return None
    version = f"{target.name.lower()}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    await repository.add_model(version, model)
    console.print(_table(model.skill))
    console.print(f"{version}: stored after {time.monotonic() - started:.0f} s", highlight=False)
    if not serves(model.skill):
        console.print(f"{version} does not serve: it was not better than persistence and climatology", highlight=False)
    elif activate:
        await repository.activate_model(version)
        console.print(f"{version} serves", highlight=False)
    return version


def _train(frame: Frame | None, target: Pollutant, console: Console) -> Model:
    if frame is None:
        message = "nothing was reported"
        raise ValueError(message)
    return train(frame, target, Parameters(), lambda words: console.print(f"{target.name}: {words}", highlight=False))


def _table(skill: tuple[HorizonSkill, ...]) -> Table:
    table = Table("hours ahead", "MAE", "bias", "80 % holds", "95 % holds", PERSISTENCE, DAILY, CLIMATOLOGY, "skill")
    for first, last in _DAYS:
        if any(first <= each.horizon <= last for each in skill):
            each = mean_skill(skill, first, last)
            table.add_row(
                f"{first}-{last}",
                f"{each.mae:.2f}",
                f"{each.bias:+.2f}",
                f"{each.coverage_80:.1%}",
                f"{each.coverage_95:.1%}",
                *(f"{each.baselines[name]:.2f}" for name in (PERSISTENCE, DAILY, CLIMATOLOGY)),
                f"{each.skill:.1%}",
            )
    return table


async def _list(repository: ForecastRepository, console: Console) -> None:
    table = Table("version", "trained on", "stations", "MAE, first day", "persistence", "activated")
    for each in await repository.list_models():
        errors = [f"{error:.2f}" if error is not None else "" for error in (each.mae, each.persistence_mae)]
        table.add_row(
            each.version,
            f"{each.trained_from:%Y-%m-%d} … {each.trained_until:%Y-%m-%d}",
            str(each.station_count),
            *errors,
            f"{each.activated_at:%Y-%m-%d %H:%M}" if each.activated_at else "",
        )
    console.print(table)


async def run(settings: Settings, arguments: argparse.Namespace, console: Console) -> bool:
    """Does what the arguments say; tells whether all of it could be done."""
    database = Postgres(settings.model_copy(update={"postgres_dsn": settings.owner_dsn}))
    await database.start()
    try:
        repository = ForecastRepository(database)
        if arguments.list:
            await _list(repository, console)
            return True
        if arguments.activate:
            return await repository.activate_model(arguments.activate)
        targets = [Pollutant[name.upper()] for name in arguments.pollutants or ["pm25"]]
        stored = [
            await train_one(repository, each, arguments.until, activate=not arguments.no_activate, console=console)
            for each in targets
        ]
        return all(each is not None for each in stored)
    finally:
        await database.close()


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def main() -> None:
    """Trains, or ends with one clear line."""
    parser = argparse.ArgumentParser(prog="python -m airquality.train", description=__doc__)
    names = [each.name.lower() for each in POLLUTANTS]
    parser.add_argument("pollutants", nargs="*", choices=[[], *names], help="what to forecast; pm25 by default")
    parser.add_argument("--until", type=_moment, help="learn only from hours before this moment, e.g. 2015-03-01")
    parser.add_argument("--no-activate", action="store_true", help="store the model without letting it serve")
    parser.add_argument("--list", action="store_true", help="list what is stored")
    parser.add_argument("--activate", metavar="VERSION", help="let a stored version serve")
    settings, arguments = Settings.load(), parser.parse_args()
    if not settings.owner_dsn.get_secret_value():
        sys.exit("airquality.train: GEOMESH_AIRQUALITY_OWNER_DSN must be set")
    if not asyncio.run(run(settings, arguments, Console(soft_wrap=True))):
        sys.exit(f"airquality.train: there is no version {arguments.activate}" if arguments.activate else 1)


if __name__ == "__main__":
    main()
