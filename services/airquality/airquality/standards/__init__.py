"""The official indices, each a file of tables with its sources, and how they are read.

A new index is a new file here; us_epa.toml explains the fields.
"""

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

from airquality.units import AveragingPeriod, Pollutant, Unit
from meshkit.errors import InvalidInput

DEFAULT_INDEX: Final = "us_epa"


@dataclass(frozen=True, slots=True, eq=False)
class Category:
    """A band of an index.

    Attributes:
        number: Its place from 1, the best.
        name: Its official name.
        color: Its official colour, ``#rrggbb``.
        lowest: The lowest index in it.
        highest: The highest index in it; None when it has no end.
        general: What everyone may do.
        sensitive_groups: What those may do whom the pollutant harms first.
    """

    number: int
    name: str
    color: str
    lowest: int
    highest: int | None
    general: str
    sensitive_groups: str


class Breakpoint(NamedTuple):
    """A segment of a table: concentrations in the table's unit, and the indices at its ends."""

    lowest_concentration: float
    highest_concentration: float
    lowest_index: int
    highest_index: int


@dataclass(frozen=True, slots=True)
class Table:
    """The breakpoints of one pollutant and averaging period, concentrations in `unit`, the lowest segment first.

    Attributes:
        pollutant: The pollutant.
        averaging_period: What the concentration is an average over.
        unit: The unit of the concentrations.
        truncate_to: Concentrations are truncated to a multiple of this before anything else.
        extrapolates: Whether the last segment's line goes on above its end; else its highest index holds.
        breakpoints: The segments.
    """

    pollutant: Pollutant
    averaging_period: AveragingPeriod
    unit: Unit
    truncate_to: float
    extrapolates: bool
    breakpoints: tuple[Breakpoint, ...]


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an index's tables: in force from `effective` (UTC) until the next version is."""

    id: str
    effective: datetime
    source: str
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """An official index.

    Attributes:
        index: Its id.
        name: Its official name.
        authority: Who sets it.
        categories: Its bands, the best first.
        versions: Its versions, the oldest first.
        current: For each pollutant the averaging periods that stand for its present state, the best first.
        daily: For each pollutant the averaging period whose highest value makes the index of a day.
        nowcast: For each pollutant that has a NowCast the averaging period whose table it is read under.
        sensitive_groups: For each pollutant whom it harms first.
    """

    index: str
    name: str
    authority: str
    categories: tuple[Category, ...]
    versions: tuple[Version, ...]
    current: dict[Pollutant, tuple[AveragingPeriod, ...]]
    daily: dict[Pollutant, AveragingPeriod]
    nowcast: dict[Pollutant, AveragingPeriod]
    sensitive_groups: dict[Pollutant, str]

    def version_at(self, moment: datetime, *, field: str) -> int:
        """Returns the place in `versions` of the one in force at `moment`.

        Raises:
            InvalidInput: `moment`, given in `field`, is before the oldest table that is kept.
        """
        for place in reversed(range(len(self.versions))):
            if self.versions[place].effective <= moment:
                return place
        oldest = self.versions[0]
        raise InvalidInput(
            field,
            f"is before {oldest.effective:%Y-%m-%d}, from when the oldest table of {self.index} that is kept here was in"
            f" force; ask for index_version {oldest.id} to have it all the same",
        )

    def version_of(self, version_id: str) -> int:
        """Returns the place in `versions` of the one with this id.

        Raises:
            InvalidInput: None has it.
        """
        ids = [version.id for version in self.versions]
        if version_id not in ids:
            raise InvalidInput("index_version", f"must be one of {', '.join(ids)} for {self.index}")
        return ids.index(version_id)


@cache
def all_standards() -> dict[str, Standard]:
    """Returns every supported index by its id."""
    files = [file for file in resources.files(__name__).iterdir() if file.name.endswith(".toml")]
    standards = [_standard(tomllib.loads(file.read_text("utf-8"))) for file in files]
    return {standard.index: standard for standard in sorted(standards, key=lambda standard: standard.index)}


def standard_of(index: str) -> Standard:
    """Returns the index with this id, or the default one for an empty id.

    Raises:
        InvalidInput: None has it.
    """
    standard = all_standards().get(index or DEFAULT_INDEX)
    if standard is None:
        raise InvalidInput("index", f"must be one of {', '.join(all_standards())}")
    return standard


def _standard(document: dict[str, Any]) -> Standard:
    return Standard(
        index=document["index"],
        name=document["name"],
        authority=document["authority"],
        categories=tuple(
            Category(
                number=number,
                name=each["name"],
                color=each["color"],
                lowest=each["lowest"],
                highest=each.get("highest"),
                general=each["general"],
                sensitive_groups=each["sensitive_groups"],
            )
            for number, each in enumerate(document["category"], 1)
        ),
        versions=tuple(sorted(map(_version, document["version"]), key=lambda version: version.effective)),
        current={
            Pollutant[name]: tuple(AveragingPeriod[each] for each in periods)
            for name, periods in document["current"].items()
        },
        daily={Pollutant[name]: AveragingPeriod[each] for name, each in document["daily"].items()},
        nowcast={Pollutant[name]: AveragingPeriod[each] for name, each in document["nowcast"].items()},
        sensitive_groups={Pollutant[name]: text for name, text in document["sensitive_groups"].items()},
    )


def _version(document: dict[str, Any]) -> Version:
    return Version(
        id=document["id"],
        effective=document["effective"].astimezone(UTC),
        source=document["source"],
        tables=tuple(map(_table, document["table"])),
    )


def _table(document: dict[str, Any]) -> Table:
    return Table(
        pollutant=Pollutant[document["pollutant"]],
        averaging_period=AveragingPeriod[document["averaging_period"]],
        unit=Unit[document["unit"]],
        truncate_to=float(document["truncate_to"]),
        extrapolates={"extrapolate": True, "hold": False}[document["above"]],
        breakpoints=tuple(
            Breakpoint(float(low), float(high), low_index, high_index)
            for low, high, low_index, high_index in document["bounds"]
        ),
    )
