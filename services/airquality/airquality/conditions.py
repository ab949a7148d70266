"""The air at a place and time, from what the stations around it reported."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple, Protocol

from airquality.absence import NearestReporter, explain_absence
from airquality.assessment import Assessment, assess_place
from airquality.contributions import NO_RULE, Report, Wanted, contribution_of, counts, wanted_of
from airquality.index import has_table
from airquality.interpolation import REACH_METERS, position
from airquality.overall import NAMES, describe
from airquality.standards import Standard, Version
from airquality.surface import PollutantCondition, Surface
from airquality.units import Pollutant
from meshkit.errors import InvalidInput, NotFound, Reason


@dataclass(frozen=True, slots=True)
class Conditions:
    """The air at a place; `assessment` is None when no pollutant measured there has an index."""

    lat: float
    lng: float
    at: datetime
    assessment: Assessment | None
    pollutants: tuple[PollutantCondition, ...]


class Question(NamedTuple):
    """Which air is asked about.

    Attributes:
        tenant: Whose own stations count beside the public ones.
        lat: Latitude in degrees.
        lng: Longitude in degrees.
        at: The moment.
        standard: The index.
        version: The place in its versions of the one to use.
        radius_meters: How far the nearest station may be; None for the setting.
        is_now: Whether the moment is the present, which need not be asked of the store.
    """

    tenant: str
    lat: float
    lng: float
    at: datetime
    standard: Standard
    version: int
    radius_meters: float | None = None
    is_now: bool = False


class ConditionStore(Protocol):
    """What CurrentConditions needs of a repository."""

    async def find_conditions(
        self,
        tenant: str,
        lat: float,
        lng: float,
        at: datetime,
        radius_meters: float,
        max_age_seconds: float,
        wanted: Wanted,
    ) -> list[Report]:
        """Returns the newest reports around a place, by pollutant, then by distance."""

    async def find_nearest_reporter(self, tenant: str, lat: float, lng: float, at: datetime) -> NearestReporter | None:
        """Returns the nearest station of all, or None when there is none."""


class LatestSurfaces(Protocol):
    """What every station says now."""

    async def surfaces(self, tenant: str, standard: Standard, version: int, now: datetime) -> Sequence[Surface] | None:
        """Returns the surface of each pollutant for a tenant, or None as long as that is not known."""

    def held(self, tenant: str, standard: Standard, version: int, now: datetime) -> Sequence[Surface] | None:
        """Returns the same without waiting, None where it would have to."""


class CurrentConditions:
    """Answers what the air is like."""

    def __init__(
        self,
        store: ConditionStore,
        *,
        max_age_seconds: float,
        radius_meters: float,
        latest: LatestSurfaces | None = None,
    ) -> None:
        """Makes it.

        Args:
            store: Where reports come from.
            max_age_seconds: Time after the end of its period for which a reading stands for the air.
            radius_meters: How far the nearest station may be where the caller does not say.
            latest: What every station says now; without it the store is asked for the present too.
        """
        self._store = store
        self._max_age_seconds = max_age_seconds
        self._radius_meters = radius_meters
        self._latest = latest

    def now(self, asked: Question) -> Conditions | None:
        """Returns what `at` says of the present, without waiting; None where the store must be asked."""
        if self._latest is None:
            return None
        held = self._latest.held(asked.tenant, asked.standard, asked.version, asked.at)
        return self._answer(asked, held or ())

    async def at(self, asked: Question) -> Conditions:
        """Returns the air at a place and moment.

        Raises:
            NotFound: No station is near enough, or none that is has reported recently enough.
        """
        tenant, lat, lng, at, standard, version, *_ = asked
        found = None
        if asked.is_now and self._latest is not None:
            held = await self._latest.surfaces(tenant, standard, version, at)
            found = self._answer(asked, held or ())
        radius_meters = asked.radius_meters or self._radius_meters
        if found is None:  # what was stored a moment ago may not be held yet
            reach = max(radius_meters, REACH_METERS)
            chosen = standard.versions[version]
            wanted = wanted_of(chosen)
            reports = await self._store.find_conditions(tenant, lat, lng, at, reach, self._max_age_seconds, wanted)
            found = self._answer(asked, surfaces_of(chosen, reports))
        if found is None:
            nearest = await self._store.find_nearest_reporter(tenant, lat, lng, at)
            raise NotFound(Reason.NO_DATA_NEARBY, explain_absence(nearest, at, radius_meters, self._max_age_seconds))
        return found

    def _answer(self, asked: Question, surfaces: Sequence[Surface]) -> Conditions | None:
        """Returns what surfaces make of a place, or None where they say nothing of it."""
        place, radius_meters = position(asked.lat, asked.lng), asked.radius_meters or self._radius_meters
        pollutants = tuple(found for each in surfaces if (found := each.at(place, radius_meters)))
        if not pollutants:
            return None
        return Conditions(
            asked.lat, asked.lng, asked.at, _assess(asked.standard, asked.version, pollutants), pollutants
        )


def check_moment(at: datetime, now: datetime) -> None:
    """Returns when `at` is not in the future.

    Raises:
        InvalidInput: It is.
    """
    if at > now:
        raise InvalidInput("at", f"must not be in the future; it is {now:%Y-%m-%dT%H:%M:%SZ} now")


def surfaces_of(version: Version, reports: Sequence[Report]) -> tuple[Surface, ...]:
    """Returns the surface of each pollutant from reports that come by pollutant, then by station."""
    found = []
    for code, of_pollutant in groupby(reports, key=lambda report: report.pollutant):
        pollutant = Pollutant(code)
        by_station = (list(group) for _, group in groupby(of_pollutant, key=lambda report: report.station.id))
        parts = [part for group in by_station if (part := contribution_of(version, pollutant, group))]
        if parts:
            found.append(Surface(pollutant, parts))
    return tuple(found)


def explain_no_index(standard: Standard, version: int, pollutants: Sequence[PollutantCondition]) -> str:
    """Returns why what is measured at a place makes no index."""
    chosen = standard.versions[version]
    usable = [NAMES[each.pollutant] for each in pollutants if each.pollutant in chosen.rules and _counts(chosen, each)]
    partial = [
        NAMES[each.pollutant] for each in pollutants if each.pollutant in chosen.rules and not _counts(chosen, each)
    ]
    words = f"{standard.index} needs {describe(chosen.requirement)}; the stations here have "
    words += f"{', '.join(usable)} for it" if usable else "nothing for it"
    return words + (f", and too few hours of {', '.join(partial)}" if partial else "")


def _counts(version: Version, found: PollutantCondition) -> bool:
    return counts(version, found.contributions[0].basis)


def _assess(standard: Standard, version: int, pollutants: Sequence[PollutantCondition]) -> Assessment | None:
    """Assesses each pollutant's concentration, and the others of its averages that the index counts."""
    found: list[tuple[int, int, float]] = []
    chosen = standard.versions[version]
    for each in pollutants:
        period = each.contributions[0].averaging_period
        if has_table(standard, version, each.pollutant, period) and _counts(chosen, each):
            found.append((each.pollutant, period, each.estimate.value))
        others = chosen.rules.get(each.pollutant, NO_RULE).also
        found += [(each.pollutant, other, each.others[other]) for other in others if other in each.others]
    return assess_place(standard, version, found)
