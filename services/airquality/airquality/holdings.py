"""The newest readings of a tenant's stations, held in the process."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from airquality.contributions import Contribution, Hours, Report, contribution_of, wanted_of
from airquality.intervals import microseconds, moment
from airquality.standards import Standard, Version
from airquality.stations import Station
from airquality.units import LABELS, AveragingPeriod, Pollutant

_HOUR_MICROSECONDS: Final = 3_600_000_000
_LENGTHS: Final = {
    AveragingPeriod.EIGHT_HOURS: 8 * _HOUR_MICROSECONDS,
    AveragingPeriod.TWENTY_FOUR_HOURS: 24 * _HOUR_MICROSECONDS,
    AveragingPeriod.FIFTEEN_MINUTES: _HOUR_MICROSECONDS // 4,
    AveragingPeriod.THREE_HOURS: 3 * _HOUR_MICROSECONDS,
    AveragingPeriod.FOUR_HOURS: 4 * _HOUR_MICROSECONDS,
}
"""How long an averaging period lasts; the others an hour."""

_UNITS: Final = {label: unit for unit, label in LABELS.items()}
_MOST_READINGS: Final = 400
"""Of one series: the two weeks of hours that the NowCast of O3 is made of, and a day of readings every few minutes."""


class RecentSeries(NamedTuple):
    """What a station reported lately of one pollutant and averaging period: microseconds since 1970, values, units."""

    station: Station
    pollutant: int | None
    averaging_period: int | None
    times: Sequence[int] | None
    values: Sequence[float] | None
    units: Sequence[int] | None


class _Series:
    """Readings in the order of time, each time once."""

    __slots__ = ("times", "units", "values")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.values: list[float] = []
        self.units: list[int] = []

    def put(self, time: int, value: float, unit: int) -> bool:
        """Adds or corrects a reading, and tells whether anything changed."""
        place = bisect_left(self.times, time)
        if place < len(self.times) and self.times[place] == time:
            if (self.values[place], self.units[place]) == (value, unit):
                return False
            self.values[place], self.units[place] = value, unit
            return True
        self.times.insert(place, time)
        self.values.insert(place, value)
        self.units.insert(place, unit)
        if len(self.times) > _MOST_READINGS:
            del self.times[0], self.values[0], self.units[0]
        return True

    def drop(self, time: int) -> bool:
        """Removes a reading, and tells whether there was one."""
        place = bisect_left(self.times, time)
        if place == len(self.times) or self.times[place] != time:
            return False
        del self.times[place], self.values[place], self.units[place]
        return True


class _Record:
    """A station with its series, and what was made of them."""

    __slots__ = ("made", "series", "station")

    def __init__(self, station: Station) -> None:
        self.station = station
        self.series: dict[int, dict[int, _Series]] = {}
        # By index, version and pollutant: what the station says, and from when to when in microseconds that holds.
        self.made: dict[tuple[str, int, int], tuple[Contribution | None, int, int]] = {}


class Holding:
    """The newest readings of all stations of one tenant."""

    def __init__(self, recent: Iterable[RecentSeries]) -> None:
        """Makes it from what is stored."""
        self._records: dict[str, _Record] = {}
        self.revision = 0
        for each in recent:
            record = self._record(each.station)
            if each.pollutant is not None and each.averaging_period is not None and each.times:
                series = record.series.setdefault(each.pollutant, {}).setdefault(each.averaging_period, _Series())
                series.times = list(each.times)
                series.values = list(each.values or ())
                series.units = list(each.units or ())

    def __len__(self) -> int:
        return len(self._records)

    def put(self, station: Station, pollutant: int, averaging_period: int, time: int, value: float, unit: str) -> None:
        """Takes a reading in, which may repeat or correct one that is held.

        Args:
            station: Where it comes from; where the station is held already, only its place counts.
            pollutant: A code of Pollutant.
            averaging_period: A code of AveragingPeriod.
            time: Start of its period, in microseconds since 1970.
            value: The concentration in `unit`.
            unit: A label of airquality.units.
        """
        record = self._record(station)
        code = _UNITS.get(unit)
        if code is None:
            return
        series = record.series.setdefault(pollutant, {}).setdefault(averaging_period, _Series())
        if series.put(time, value, code):
            self._changed(record, pollutant)

    def drop(self, station: Station, pollutant: int, averaging_period: int, time: int) -> None:
        """Removes a reading that does not count any more; the arguments are as `put` has them."""
        record = self._record(station)
        series = record.series.get(pollutant, {}).get(averaging_period)
        if series is not None and series.drop(time):
            self._changed(record, pollutant)

    def contributions(
        self, standard: Standard, version: int, at: datetime, max_age_seconds: float
    ) -> Iterator[tuple[int, Contribution | None]]:
        """Yields what each station says of each of its pollutants, or None where it is too old, station by station."""
        now, age = microseconds(at), int(max_age_seconds * 1e6)
        for record in self._records.values():
            for pollutant in record.series:
                key = standard.index, version, pollutant
                known = record.made.get(key)
                if known is None or not known[1] <= now < known[2]:
                    known = record.made[key] = _make(record, standard.versions[version], pollutant, now, age)
                yield pollutant, known[0]

    def _changed(self, record: _Record, pollutant: int) -> None:
        for key in [key for key in record.made if key[2] == pollutant]:
            del record.made[key]
        self.revision += 1

    def _record(self, station: Station) -> _Record:
        record = self._records.get(station.station_id)
        if record is None:
            record = self._records[station.station_id] = _Record(station)
            self.revision += 1
        elif (record.station.lat, record.station.lng) != (station.lat, station.lng):
            record.station = record.station._replace(lat=station.lat, lng=station.lng)
            record.made.clear()
            self.revision += 1
        return record


def _make(
    record: _Record, version: Version, pollutant: int, now: int, age: int
) -> tuple[Contribution | None, int, int]:
    """Returns what a station says of a pollutant, and from when to when in microseconds since 1970 that holds."""
    reports: list[Report] = []
    begins, ends = 0, 1 << 62
    wanted = wanted_of(version)
    count, nowcast = wanted.hours[pollutant - 1], record.series[pollutant].get(AveragingPeriod.NOWCAST)
    nowcast_time = _newest(nowcast, now) if nowcast is not None and wanted.nowcasts[pollutant - 1] else -1
    for period, series in sorted(record.series[pollutant].items()):
        place = bisect_left(series.times, now + 1)
        if place < len(series.times):
            ends = min(ends, series.times[place])
        if not place:
            continue
        time = series.times[place - 1]
        expires = time + _LENGTHS.get(AveragingPeriod(period), _HOUR_MICROSECONDS) + age
        begins = max(begins, time)
        if expires > now:
            ends = min(ends, expires)
            made_of_hours = period == AveragingPeriod.HOUR and count > 1 and time > nowcast_time
            hours = _hours(series, place, time, count) if made_of_hours else None
            at = place - 1
            reports.append(
                Report(record.station, pollutant, period, moment(time), series.values[at], series.units[at], hours)
            )
    part = contribution_of(version, Pollutant(pollutant), reports) if reports else None
    return part, begins, ends


def _newest(series: _Series, now: int) -> int:
    """Returns the time of the newest reading up to now, -1 for none."""
    place = bisect_left(series.times, now + 1)
    return series.times[place - 1] if place else -1


def _hours(series: _Series, place: int, newest: int, count: int) -> Hours:
    """Returns so many hours up to the newest reading."""
    first = bisect_left(series.times, (newest // _HOUR_MICROSECONDS - count + 1) * _HOUR_MICROSECONDS)
    return Hours(
        [time // _HOUR_MICROSECONDS for time in series.times[first:place]],
        series.values[first:place],
        series.units[first:place],
    )
