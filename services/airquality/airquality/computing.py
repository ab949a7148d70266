"""Computes indices of concentrations that a caller brings, as many as they like in one go."""

from collections.abc import Sequence
from typing import NamedTuple

from airquality.assessment import Assessment, assess
from airquality.index import has_table
from airquality.overall import describe
from airquality.readings import check_concentration
from airquality.standards import Standard
from airquality.units import AveragingPeriod, Pollutant
from meshkit.errors import InvalidInput


class Concentration(NamedTuple):
    """A concentration in `unit`, a code of Unit or 0; `averaging_period` 0 is what the index takes for a day."""

    pollutant: Pollutant
    averaging_period: int
    value: float
    unit: int


class Item(NamedTuple):
    """The concentrations of one place and time, and where in the standard's versions the one to use stands."""

    version: int
    concentrations: Sequence[Concentration]


def check_item(standard: Standard, item: Item) -> None:
    """Returns when all of an item's concentrations can be true and have a table.

    Raises:
        InvalidInput: One cannot, or has none, or comes twice.
    """
    seen: set[tuple[Pollutant, int]] = set()
    for place, (pollutant, period, value, unit) in enumerate(item.concentrations):
        path = f"concentrations[{place}]"
        try:
            check_concentration(pollutant, unit, value)
        except InvalidInput as error:
            (violation,) = error.violations
            raise InvalidInput(f"{path}.{violation.field}", violation.description, reason=error.reason) from None
        rules = standard.versions[item.version].rules
        if pollutant not in rules:
            raise InvalidInput(f"{path}.pollutant", f"{standard.index} has no table for {pollutant.name}")
        if not has_table(standard, item.version, pollutant, period):
            raise InvalidInput(
                f"{path}.averaging_period",
                f"{standard.index} has no table for {pollutant.name} over {AveragingPeriod(period).name}",
            )
        key = pollutant, period or rules[pollutant].daily[0]
        if key in seen:
            raise InvalidInput(path, "repeats the pollutant and averaging period of another one")
        seen.add(key)


def compute(standard: Standard, items: Sequence[Item]) -> list[Assessment | None]:
    """Returns the assessment of each item; None where the index defines none for any of its concentrations."""
    flat = [each for item in items for each in item.concentrations]
    factors: list[list[list[float]]] = [version.to_usual.tolist() for version in standard.versions]
    return assess(
        standard,
        [item.version for item in items],
        [len(item.concentrations) for item in items],
        [each.pollutant for each in flat],
        [each.averaging_period for each in flat],
        [
            each.value * factors[item.version][each.pollutant][each.unit]
            for item in items
            for each in item.concentrations
        ],
    )


def undefined(standard: Standard, item: Item) -> InvalidInput:
    """Returns the error of an item whose concentrations make no index."""
    requirement = standard.versions[item.version].requirement
    if len({each.pollutant for each in item.concentrations}) < requirement.minimum or requirement.all_of:
        return InvalidInput("concentrations", f"{standard.index} needs {describe(requirement)}")
    needs = f", and it needs {describe(requirement)}" if requirement.any_of else ""
    return InvalidInput(
        "concentrations",
        f"{standard.index} defines no index for these alone: they lie outside their tables, which leave them to another"
        f" averaging period{needs}",
    )
