"""The air at a place and time, from what the stations around it reported."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final, NamedTuple, Protocol

import numpy as np

from airquality.assessment import Assessment, assess
from airquality.averages import HOURS, NOWCAST_PRECISION, SUFFICIENT, Basis, mean_of
from airquality.index import has_table
from airquality.interpolation import Estimate, interpolate
from airquality.nowcast import HOURS as NOWCAST_HOURS
from airquality.nowcast import particle_nowcast
from airquality.standards import Standard
from airquality.stations import Station
from airquality.units import TO_USUAL, AveragingPeriod, Pollutant
from meshkit.errors import InvalidInput, NotFound, Reason

_HOUR_SECONDS: Final = 3600
_HOUR: Final = AveragingPeriod.HOUR
_FACTORS: Final[list[list[float]]] = TO_USUAL.tolist()


class Hours(NamedTuple):
    """Hourly values: hours of UTC since 1970 ascending, values, and codes of their units; all of one length."""

    hours: Sequence[int]
    values: Sequence[float]
    units: Sequence[int]


class Report(NamedTuple):
    """The newest reading of one series of a station, with the twelve hours up to it if it is newer than a NowCast."""

    station: Station
    pollutant: int
    averaging_period: int
    time: datetime
    value: float
    unit: int
    hours: Hours | None


class Contribution(NamedTuple):
    """What one station says of one pollutant, in the pollutant's usual unit.

    Attributes:
        station: The station, with its distance.
        averaging_period: What `value` counts as for the index.
        value: The concentration.
        basis: How it came about.
        time: Start of the newest period used.
        hourly_value: Its newest hourly reading; None when it has none.
    """

    station: Station
    averaging_period: AveragingPeriod
    value: float
    basis: Basis
    time: datetime
    hourly_value: float | None


class PollutantCondition(NamedTuple):
    """One pollutant at a place.

    Attributes:
        pollutant: The pollutant.
        estimate: The concentration in its usual unit.
        contributions: What it rests on, the nearest station first, one for each weight of `estimate`.
    """

    pollutant: Pollutant
    estimate: Estimate
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """The air at a place; `assessment` is None when no pollutant measured there has an index."""

    lat: float
    lng: float
    at: datetime
    assessment: Assessment | None
    pollutants: tuple[PollutantCondition, ...]


class NearestReporter(NamedTuple):
    """The nearest station of all, with its first reading ever and its last one up to the moment asked."""

    station: Station
    first: datetime | None
    last: datetime | None


class ConditionStore(Protocol):
    """What CurrentConditions needs of a repository."""

    async def find_conditions(
        self, tenant: str, lat: float, lng: float, at: datetime, radius_meters: float, max_age_seconds: float
    ) -> list[Report]:
        """Returns the newest reports around a place, by pollutant, then by distance."""

    async def find_nearest_reporter(self, tenant: str, lat: float, lng: float, at: datetime) -> NearestReporter | None:
        """Returns the nearest station of all, or None when there is none."""


class CurrentConditions:
    """Answers what the air is like."""

    def __init__(self, store: ConditionStore, *, max_age_seconds: float, radius_meters: float) -> None:
        """Makes it.

        Args:
            store: Where reports come from.
            max_age_seconds: Time after the end of its period for which a reading stands for the air.
            radius_meters: How far a station may be where the caller does not say.
        """
        self._store = store
        self._max_age_seconds = max_age_seconds
        self._radius_meters = radius_meters

    async def at(
        self,
        tenant: str,
        lat: float,
        lng: float,
        at: datetime,
        *,
        standard: Standard,
        version: int,
        radius_meters: float | None = None,
    ) -> Conditions:
        """Returns the air at a place and moment.

        Raises:
            NotFound: No station is near enough, or none that is has reported recently enough.
        """
        radius_meters = radius_meters or self._radius_meters
        reports = await self._store.find_conditions(tenant, lat, lng, at, radius_meters, self._max_age_seconds)
        pollutants = conditions_of(standard, reports)
        if not pollutants:
            nearest = await self._store.find_nearest_reporter(tenant, lat, lng, at)
            raise NotFound(Reason.NO_DATA_NEARBY, explain_absence(nearest, at, radius_meters, self._max_age_seconds))
        return Conditions(lat, lng, at, _assess(standard, version, pollutants), pollutants)


def check_moment(at: datetime, now: datetime) -> None:
    """Returns when `at` is not in the future.

    Raises:
        InvalidInput: It is.
    """
    if at > now:
        raise InvalidInput("at", f"must not be in the future; it is {now:%Y-%m-%dT%H:%M:%SZ} now")


def conditions_of(standard: Standard, reports: Sequence[Report]) -> tuple[PollutantCondition, ...]:
    """Returns each pollutant's concentration at the place around which these reports come from, in their order."""
    found = []
    for code, of_pollutant in groupby(reports, key=lambda report: report.pollutant):
        pollutant = Pollutant(code)
        by_station = [list(group) for _, group in groupby(of_pollutant, key=lambda report: report.station.id)]
        contributions = [
            contribution for group in by_station if (contribution := _contribution(standard, pollutant, group))
        ]
        if contributions:
            found.append(_combine(pollutant, contributions))
    return tuple(found)


def explain_absence(nearest: NearestReporter | None, at: datetime, radius_meters: float, max_age_seconds: float) -> str:
    """Returns why nothing can be said of the air at a place, and where or when something could."""
    if nearest is None:
        return "no station is registered at all"
    station = nearest.station
    name = f"{station.station_id} ({station.name})" if station.name else station.station_id
    distance = station.distance_meters or 0.0
    words = f"the nearest station is {name}, {distance / 1000:.1f} km away at {station.lat:g}, {station.lng:g}"
    if nearest.last is not None:
        words += f"; before the moment asked about it last reported at {nearest.last:%Y-%m-%dT%H:%M:%SZ}"
    elif nearest.first is not None:
        words += f"; its first report is of {nearest.first:%Y-%m-%dT%H:%M:%SZ}"
    else:
        words += "; it has never reported"
    if distance > radius_meters:
        return f"no station is within {radius_meters / 1000:g} km: {words}"
    hint = "" if nearest.last is None else f"; ask with at={nearest.last:%Y-%m-%dT%H:%M:%SZ} for the air then"
    return (
        f"no station within {radius_meters / 1000:g} km has reported in the {max_age_seconds / _HOUR_SECONDS:g} hours"
        f" before {at:%Y-%m-%dT%H:%M:%SZ}: {words}{hint}"
    )


def _contribution(standard: Standard, pollutant: Pollutant, reports: Sequence[Report]) -> Contribution | None:
    """Returns what one station says of a pollutant, the best of what it offers.

    What the provider reported for one of the periods that the index wants comes first, unless an hourly reading is
    newer and gives as much; then what can be computed from the hours; at last a mean of too few of them.
    """
    by_period = {report.averaging_period: report for report in reports}
    hourly = by_period.get(_HOUR)
    hourly_value = None if hourly is None else hourly.value * _FACTORS[pollutant][hourly.unit]
    wanted = standard.current.get(pollutant, (_HOUR,))
    reported = next((by_period[period] for period in wanted if period in by_period), None)
    if reported is not None and (hourly is None or reported.time >= hourly.time or _HOUR in wanted):
        return _as_reported(reported, pollutant, hourly_value)
    if hourly is not None:
        computed = _computed(wanted, pollutant, hourly, hourly_value, complete=True)
        if computed is not None:
            return computed
    if reported is not None:
        return _as_reported(reported, pollutant, hourly_value)
    return None if hourly is None else _computed(wanted, pollutant, hourly, hourly_value, complete=False)


def _as_reported(report: Report, pollutant: Pollutant, hourly_value: float | None) -> Contribution:
    period = AveragingPeriod(report.averaging_period)
    return Contribution(
        station=report.station,
        averaging_period=period,
        value=report.value * _FACTORS[pollutant][report.unit],
        basis=Basis.NOWCAST_REPORTED if period == AveragingPeriod.NOWCAST else Basis.AVERAGE_REPORTED,
        time=report.time,
        hourly_value=hourly_value,
    )


def _computed(
    wanted: Sequence[AveragingPeriod],
    pollutant: Pollutant,
    hourly: Report,
    hourly_value: float | None,
    *,
    complete: bool,
) -> Contribution | None:
    """Returns what the last twelve hours give: the best of `wanted`, or for an incomplete one its mean."""
    hours = _last_hours(pollutant, hourly)
    for period in wanted:
        if period == AveragingPeriod.NOWCAST and pollutant in NOWCAST_PRECISION:
            value = float(particle_nowcast(hours, NOWCAST_PRECISION[pollutant]))
            if value == value:  # noqa: PLR0124 -- not NaN
                return Contribution(hourly.station, period, value, Basis.NOWCAST_COMPUTED, hourly.time, hourly_value)
        elif HOURS.get(period, NOWCAST_HOURS + 1) <= NOWCAST_HOURS:
            mean, share = mean_of(hours[-HOURS[period] :])
            if share >= SUFFICIENT:
                return Contribution(
                    hourly.station, period, float(mean), Basis.AVERAGE_COMPUTED, hourly.time, hourly_value
                )
    if complete:
        return None
    mean, _ = mean_of(hours)
    return Contribution(hourly.station, wanted[0], float(mean), Basis.AVERAGE_INCOMPLETE, hourly.time, hourly_value)


def _last_hours(pollutant: Pollutant, hourly: Report) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Returns twelve hourly values in the usual unit, the newest last, of several in an hour the last, NaN for none."""
    hours = np.full(NOWCAST_HOURS, np.nan)
    newest = int(hourly.time.timestamp() // _HOUR_SECONDS)
    hours[-1] = hourly.value * _FACTORS[pollutant][hourly.unit]
    if hourly.hours is not None:
        for hour, value, unit in zip(*hourly.hours, strict=True):
            hours[NOWCAST_HOURS - 1 - (newest - hour)] = value * _FACTORS[pollutant][unit]
    return hours


def _combine(pollutant: Pollutant, contributions: Sequence[Contribution]) -> PollutantCondition:
    sound = [each for each in contributions if each.basis != Basis.AVERAGE_INCOMPLETE]
    contributions = sound or contributions
    distances = [each.station.distance_meters or 0.0 for each in contributions]
    estimate = interpolate(distances, [each.value for each in contributions])
    return PollutantCondition(pollutant, estimate, tuple(contributions[: len(estimate.weights)]))


def _assess(standard: Standard, version: int, pollutants: Sequence[PollutantCondition]) -> Assessment | None:
    """Assesses each pollutant's concentration, and its hourly one where the index has a table for that too."""
    codes: list[int] = []
    periods: list[int] = []
    values: list[float] = []
    for each in pollutants:
        period = each.contributions[0].averaging_period
        if has_table(standard, version, each.pollutant, period):
            codes.append(each.pollutant)
            periods.append(period)
            values.append(each.estimate.value)
        hourly = [
            (part.station.distance_meters or 0.0, part.hourly_value)
            for part in each.contributions
            if part.hourly_value is not None
        ]
        if period != _HOUR and hourly and has_table(standard, version, each.pollutant, _HOUR):
            codes.append(each.pollutant)
            periods.append(_HOUR)
            values.append(interpolate([pair[0] for pair in hourly], [pair[1] for pair in hourly]).value)
    return assess(standard, [version], [len(codes)], codes, periods, values)[0] if codes else None
