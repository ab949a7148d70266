"""The time of each day in which nobody wants to be woken."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_MINUTE: Final = timedelta(minutes=1)
# A day of 25 hours, and one minute.
_MOST_MINUTES: Final = 25 * 60 + 1


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A span of local time, `[start, end)`, over midnight where `end` is before `start`.

    What counts is what a clock on the wall shows: an hour that the clocks skip is never quiet, one that they show twice
    is quiet twice.
    """

    start: time
    end: time
    time_zone: str

    def hold(self, moment: datetime) -> bool:
        """Tells whether a moment, with any zone, lies in them."""
        shown = moment.astimezone(ZoneInfo(self.time_zone)).time()
        if self.start <= self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end

    def over(self, moment: datetime) -> datetime:
        """Returns the first whole minute from `moment` on, in UTC, that is not quiet; `moment` itself if it is not.

        Minute by minute, since both ends and every change of clocks stand on one: that is right on each day of the year.
        """
        if not self.hold(moment):
            return moment.astimezone(UTC)
        minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
        for _ in range(_MOST_MINUTES):
            minute += _MINUTE
            if not self.hold(minute):
                return minute
        raise AssertionError("quiet hours end within a day")
