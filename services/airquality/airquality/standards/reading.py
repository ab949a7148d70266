"""Reads an index from its files, and refuses files that contradict themselves."""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from importlib.resources.abc import Traversable
from itertools import pairwise
from typing import Any, Final, TypeVar

from airquality.standards.tables import (
    Advice,
    Beyond,
    Breakpoint,
    Category,
    Formula,
    Requirement,
    Rounding,
    Rule,
    Several,
    Standard,
    Table,
    Term,
    Version,
)
from airquality.units import AveragingPeriod, Pollutant, Unit, factors_to_usual, micrograms_per_ppb

T = TypeVar("T")

_SHARED: Final = "index.toml"
_CONCENTRATION: Final = {"truncate": Rounding.DOWN, "round": Rounding.HALF_UP}
_INDEX: Final = {"half_up": Rounding.HALF_UP, "up": Rounding.UP}
_COLOR: Final = re.compile("#[0-9a-f]{6}")
_COVERAGE: Final = 0.75  # of the US EPA (40 CFR 50), the EU (2008/50/EC annex VII) and the UK; others name theirs


def read_standard(folder: Traversable) -> Standard:
    """Returns the index that a folder holds: index.toml, and a file of each version beside it.

    Raises:
        ValueError: A file lacks something, or contradicts itself or another; the message names the file.
    """
    versions = [
        _read(file, _version) for file in folder.iterdir() if file.name.endswith(".toml") and file.name != _SHARED
    ]
    versions.sort(key=lambda version: version.effective)
    if not versions or any(one.effective == two.effective for one, two in pairwise(versions)):
        raise ValueError(f"{folder.name}: needs versions, each with a date of its own")
    return _read(folder / _SHARED, lambda document: _standard(document, tuple(versions)))


def _read(file: Traversable, make: Callable[[dict[str, Any]], T]) -> T:
    try:
        return make(tomllib.loads(file.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file}: {type(error).__name__}: {error}") from error


def _standard(document: Mapping[str, Any], versions: tuple[Version, ...]) -> Standard:
    advice = {key: Advice(**texts) for key, texts in document["advice"].items()}
    categories = tuple(
        Category(
            number=number,
            name=each["name"],
            color=each["color"],
            lowest=each["lowest"],
            highest=each.get("highest"),
            advice=advice[each["advice"]],
        )
        for number, each in enumerate(document["category"], 1)
    )
    if any(_COLOR.fullmatch(each.color) is None for each in categories):
        raise ValueError("a color is not #rrggbb in lower case")
    if any(one.highest is None or two.lowest != one.highest + 1 for one, two in pairwise(categories)):
        raise ValueError("a category does not begin where the one before it ends")
    return Standard(
        index=document["index"],
        name=document["name"],
        authority=document["authority"],
        categories=categories,
        versions=versions,
        sensitive_groups={Pollutant[name]: text for name, text in document.get("sensitive_groups", {}).items()},
    )


def _version(document: Mapping[str, Any]) -> Version:
    formula = _formula(document["formula"]) if "formula" in document else None
    conversion, requires = document["conversion"], document.get("requires", {})
    temperature, pressure = float(conversion["temperature_celsius"]), float(conversion["pressure_hpa"])
    weights = micrograms_per_ppb(temperature, pressure) | {
        Pollutant[name]: float(weight) for name, weight in conversion.get("micrograms_per_ppb", {}).items()
    }
    version = Version(
        id=document["id"],
        effective=document["effective"].astimezone(UTC),
        source=document["source"],
        provisional=document.get("provisional", False),
        temperature_celsius=temperature,
        pressure_hpa=pressure,
        to_usual=factors_to_usual(weights),
        rules={Pollutant[name]: _rule(each) for name, each in document["pollutants"].items()},
        requirement=Requirement(
            requires.get("minimum", 1), _pollutants(requires.get("any_of", ())), _pollutants(requires.get("all_of", ()))
        ),
        formula=formula,
        several=Several(**document["several"]) if "several" in document else None,
        dominant_above=document.get("dominant_above", -1),
        tables=tuple(map(_table, document.get("table", ())))
        if formula is None
        else tuple(map(_of_term, formula.terms)),
    )
    _check_tables(version)
    return version


def _check_tables(version: Version) -> None:
    """Raises when a table has no rule, a rule no table, or a table comes twice."""
    keys = [(table.pollutant, table.averaging_period) for table in version.tables]
    if len(set(keys)) < len(keys):
        raise ValueError("a table comes twice")
    if {pollutant for pollutant, _ in keys} != set(version.rules):
        raise ValueError("[pollutants] and the tables name different pollutants")
    for pollutant, rule in version.rules.items():
        wanted = {*rule.also, *rule.daily, *(period for period in rule.current if period != AveragingPeriod.NOWCAST)}
        if rule.nowcast is not None:
            wanted.add(rule.nowcast)
        missing = [period.name for period in wanted if (pollutant, period) not in keys]
        if missing:
            raise ValueError(f"{pollutant.name} has no table over {missing[0]}")


def _rule(document: Mapping[str, Any]) -> Rule:
    current = _periods(document["current"])
    return Rule(
        current=current,
        also=_periods(document.get("also", ())),
        daily=_periods(document["daily"]),
        nowcast=AveragingPeriod[document["nowcast"]] if "nowcast" in document else None,
        coverage=float(document.get("coverage", _COVERAGE)),
    )


def _formula(document: Mapping[str, Any]) -> Formula:
    return Formula(
        scale=float(document["scale"]),
        lowest=document["lowest"],
        terms=tuple(
            Term(
                Pollutant[each["pollutant"]],
                AveragingPeriod[each["averaging_period"]],
                Unit[each["unit"]],
                float(each["coefficient"]),
            )
            for each in document["term"]
        ),
    )


def _of_term(term: Term) -> Table:
    """Returns the table of a term, which takes concentrations as they are, to a thousandth."""
    return Table(
        term.pollutant,
        term.averaging_period,
        term.unit,
        precision=0.001,
        concentration_rounding=Rounding.HALF_UP,
        index_rounding=Rounding.HALF_UP,
        beyond=Beyond.EXTRAPOLATED,
        index_beyond=None,
        breakpoints=(),
    )


def _table(document: Mapping[str, Any]) -> Table:
    precision = float(document["precision"])
    breakpoints = _breakpoints(document, precision)
    rising = all(
        each.lowest_concentration < each.highest_concentration and each.lowest_index <= each.highest_index
        for each in breakpoints
    ) and all(
        two.lowest_concentration >= one.highest_concentration and two.lowest_index >= one.highest_index
        for one, two in pairwise(breakpoints)
    )
    if not rising:
        raise ValueError(f"the breakpoints of {document['pollutant']} do not rise")
    above = document["above"]
    beyond = {"extrapolate": Beyond.EXTRAPOLATED, "undefined": Beyond.UNDEFINED}.get(above, Beyond.FIXED)
    if beyond is Beyond.FIXED and (not isinstance(above, int) or above < breakpoints[-1].highest_index):
        raise ValueError(f"above of {document['pollutant']} is no index above its table")
    return Table(
        pollutant=Pollutant[document["pollutant"]],
        averaging_period=AveragingPeriod[document["averaging_period"]],
        unit=Unit[document["unit"]],
        precision=precision,
        concentration_rounding=_CONCENTRATION[document["concentration"]],
        index_rounding=_INDEX[document.get("index", "half_up")],
        beyond=beyond,
        index_beyond=above if beyond is Beyond.FIXED else None,
        breakpoints=breakpoints,
    )


def _breakpoints(document: Mapping[str, Any], precision: float) -> tuple[Breakpoint, ...]:
    """Returns the segments, in whichever of the four ways the file gives them."""
    if "bounds" in document:
        rows = [(float(low), float(high), first, last) for low, high, first, last in document["bounds"]]
    elif "points" in document:
        rows = [(float(low), float(high), first, last) for (low, first), (high, last) in pairwise(document["points"])]
    elif "up_to" in document:
        ends = [float(each) for each in document["up_to"]]
        rows = [(low, high, level, level) for level, (low, high) in enumerate(pairwise([0.0, *ends]), 1)]
    else:
        starts = [float(each) for each in document["from"]]
        ends = [round(start / precision - 1) * precision for start in starts]
        rows = [
            (low, high, level, level) for level, (low, high) in enumerate(zip([0.0, *starts], ends, strict=False), 1)
        ]
    return tuple(Breakpoint(*row) for row in rows)


def _periods(names: Iterable[str]) -> tuple[AveragingPeriod, ...]:
    return tuple(AveragingPeriod[name] for name in names)


def _pollutants(names: Iterable[str]) -> frozenset[Pollutant]:
    return frozenset(Pollutant[name] for name in names)
