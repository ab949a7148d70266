"""What an official index consists of."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from airquality.units import AveragingPeriod, Factors, Pollutant, Unit
from meshkit.errors import InvalidInput


class Rounding(IntEnum):
    """How a number is brought to a multiple of its step; the codes are those of the enum in airquality.proto."""

    DOWN = 1
    HALF_UP = 2
    UP = 3


class Beyond(IntEnum):
    """What is said of a concentration above a table; the codes are those of the enum in airquality.proto."""

    EXTRAPOLATED = 1
    FIXED = 2
    UNDEFINED = 3


class Advice(NamedTuple):
    """What each group of people may do."""

    general: str
    sensitive_groups: str
    children: str
    older_people: str
    asthma_and_lung: str
    heart: str
    outdoor_work: str


@dataclass(frozen=True, slots=True, eq=False)
class Category:
    """A band of an index.

    Attributes:
        number: Its place from 1, the best.
        name: Its official name, in English.
        color: Its official colour, ``#rrggbb``.
        lowest: The lowest index in it.
        highest: The highest index in it; None when it has no end.
        advice: What to do about it.
    """

    number: int
    name: str
    color: str
    lowest: int
    highest: int | None
    advice: Advice


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
        precision: Concentrations are brought to a multiple of this before anything else.
        concentration_rounding: How they are.
        index_rounding: How the index becomes a whole number.
        beyond: What holds above the last segment.
        index_beyond: The index there, where it is fixed.
        breakpoints: The segments; a term of a formula has none.
    """

    pollutant: Pollutant
    averaging_period: AveragingPeriod
    unit: Unit
    precision: float
    concentration_rounding: Rounding
    index_rounding: Rounding
    beyond: Beyond
    index_beyond: int | None
    breakpoints: tuple[Breakpoint, ...]


class Rule(NamedTuple):
    """What an index takes of a pollutant.

    Attributes:
        current: The averaging periods that stand for its present state, the best first.
        also: Those that count beside the one chosen of these, where they give more.
        daily: Those whose highest values make the index of a day. The first is meant where a caller names none.
        nowcast: The averaging period whose table a NowCast is read under; None without a NowCast.
        coverage: The share of hours that an average needs to stand for its period.
    """

    current: tuple[AveragingPeriod, ...]
    also: tuple[AveragingPeriod, ...]
    daily: tuple[AveragingPeriod, ...]
    nowcast: AveragingPeriod | None
    coverage: float


class Requirement(NamedTuple):
    """Which sub-indices a place needs to have an index: at least so many, one of these, and all of those."""

    minimum: int
    any_of: frozenset[Pollutant]
    all_of: frozenset[Pollutant]


class Term(NamedTuple):
    """One pollutant's part of a formula: exp(coefficient * concentration) - 1, the concentration in the term's unit."""

    pollutant: Pollutant
    averaging_period: AveragingPeriod
    unit: Unit
    coefficient: float


class Formula(NamedTuple):
    """An index that is no worst of several: scale times the sum of its terms, rounded, and at least `lowest`."""

    scale: float
    lowest: int
    terms: tuple[Term, ...]


class Several(NamedTuple):
    """What is added to the highest sub-index where two, or three and more, are at least `from_index`."""

    from_index: int
    two: int
    three: int


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A version of an index's tables: in force from `effective` (UTC) until the next version is.

    Attributes:
        id: Its id within the index.
        effective: When it came into force.
        source: Where its figures come from.
        provisional: Whether they rest on less than the authority's own text.
        temperature_celsius: The temperature at which it converts gases between mass and volume.
        pressure_hpa: The pressure at which it does.
        to_usual: Its factors into the usual units, as `units.factors_to_usual` gives them.
        rules: What it takes of each pollutant.
        requirement: Which pollutants a place needs.
        formula: The formula; None where the worst sub-index is the index.
        several: What several bad pollutants add; None where nothing.
        dominant_above: The index up to which no pollutant is called dominant.
        tables: The tables; of a formula one for each term, without breakpoints.
    """

    id: str
    effective: datetime
    source: str
    provisional: bool
    temperature_celsius: float
    pressure_hpa: float
    to_usual: Factors
    rules: dict[Pollutant, Rule]
    requirement: Requirement
    formula: Formula | None
    several: Several | None
    dominant_above: int
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
        sensitive_groups: For each pollutant whom it harms first.
    """

    index: str
    name: str
    authority: str
    categories: tuple[Category, ...]
    versions: tuple[Version, ...]
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
