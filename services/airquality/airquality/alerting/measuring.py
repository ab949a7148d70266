"""What a rule compares, at a station and moment."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final, Protocol

from airquality.alerting.definition import Definition, Measure
from airquality.alerting.rules import Direction
from airquality.assessment import assess_place
from airquality.averages import Basis
from airquality.contributions import Contribution, Report, Wanted, contribution_of, counts, wanted_of
from airquality.events import StoredReading
from airquality.index import has_table
from airquality.standards import Standard, Version, standard_of
from airquality.units import LABELS, TO_USUAL, AveragingPeriod, Pollutant
from meshkit.errors import InvalidInput

_UNITS: Final = {label: unit for unit, label in LABELS.items()}
_SAME_STATION_METERS: Final = 1.0
_NOWCASTS: Final = (Basis.NOWCAST_REPORTED, Basis.NOWCAST_COMPUTED)


class ReportStore(Protocol):
    """What a Meter needs of a repository."""

    async def find_conditions(
        self,
        tenant: str,
        lat: float,
        lng: float,
        at: datetime,
        radius_meters: float,
        max_age_seconds: float,
        wanted: Wanted,
        *,
        include_excluded: bool = False,
    ) -> list[Report]:
        """Returns the newest reports around a place, by pollutant, then by distance."""


class Foresight(Protocol):
    """What a Meter needs of whoever forecasts."""

    async def concentrations(
        self, tenant: str, station_id: str, pollutant: Pollutant, after: datetime, hours: int
    ) -> Sequence[float]:
        """Returns the forecast concentrations of the hours after a moment, in the usual unit; none if there is none."""


class Meter:
    """Measures, each thing once while one event is evaluated."""

    def __init__(self, store: ReportStore, foresight: Foresight | None, *, max_age_seconds: float) -> None:
        self._store = store
        self._foresight = foresight
        self._max_age_seconds = max_age_seconds
        self._reports: dict[tuple[str, str, datetime, Wanted, bool], list[Report]] = {}

    async def measure(self, tenant: str, definition: Definition, reading: StoredReading) -> float | None:
        """Returns what a rule of a tenant makes of a reading that has come; None when it says nothing to the rule."""
        period = reading.averaging_period
        match definition.measure:
            case Measure.RAW:
                return _usual(reading) if period == AveragingPeriod.HOUR else None
            case Measure.NOWCAST if period == AveragingPeriod.NOWCAST:
                return _usual(reading)
            case Measure.NOWCAST if period == AveragingPeriod.HOUR:
                return await self._nowcast(tenant, definition, reading)
            case Measure.INDEX:
                return await self._index(tenant, definition, reading)
            case Measure.FORECAST if self._foresight is not None:
                found = await self._foresight.concentrations(
                    tenant,
                    reading.station_id,
                    Pollutant(definition.pollutant),
                    reading.time + timedelta(hours=1),
                    definition.horizon_hours,
                )
                extreme = max if definition.condition.direction is Direction.ABOVE else min
                return extreme(found) if found else None
        return None

    async def _nowcast(self, tenant: str, definition: Definition, reading: StoredReading) -> float | None:
        standard = standard_of("")
        version = standard.versions[standard.version_at(reading.time, field="time")]
        for pollutant, part in await self._contributions(tenant, definition, reading, version):
            if pollutant == reading.pollutant and part.basis in _NOWCASTS:
                return part.value
        return None

    async def _index(self, tenant: str, definition: Definition, reading: StoredReading) -> float | None:
        standard = standard_of(definition.index)
        try:
            version = standard.version_at(reading.time, field="time")
        except InvalidInput:  # before the oldest table: there is no index
            return None
        parts = await self._contributions(tenant, definition, reading, standard.versions[version])
        return _index(standard, version, parts)

    async def _contributions(
        self, tenant: str, definition: Definition, reading: StoredReading, version: Version
    ) -> list[tuple[Pollutant, Contribution]]:
        """Returns what the station of a reading said at its time of each pollutant, as an index takes it."""
        wanted, everything = wanted_of(version), definition.include_flagged
        key = (tenant, reading.station_id, reading.time, wanted, everything)
        if key not in self._reports:
            found = await self._store.find_conditions(
                tenant,
                reading.lat,
                reading.lng,
                reading.time,
                _SAME_STATION_METERS,
                self._max_age_seconds,
                wanted,
                include_excluded=everything,
            )
            self._reports[key] = [each for each in found if each.station.station_id == reading.station_id]
        groups = groupby(self._reports[key], key=lambda report: report.pollutant)
        parts = ((Pollutant(code), contribution_of(version, Pollutant(code), list(group))) for code, group in groups)
        return [(pollutant, part) for pollutant, part in parts if part is not None]


def _usual(reading: StoredReading) -> float:
    return float(TO_USUAL[reading.pollutant, _UNITS[reading.unit]]) * reading.value


def _index(standard: Standard, version: int, parts: Sequence[tuple[Pollutant, Contribution]]) -> float | None:
    """Returns the index of one station, also of the averages that the index counts beside its first choice."""
    chosen = standard.versions[version]
    rows: list[tuple[int, int, float]] = []
    for pollutant, part in parts:
        if counts(chosen, part.basis):
            rows.append((pollutant, part.averaging_period, part.value))
        rows += [(pollutant, period, value) for period, value in part.others.items()]
    rows = [row for row in rows if has_table(standard, version, Pollutant(row[0]), row[1])]
    found = assess_place(standard, version, rows)
    return None if found is None else float(found.value)
