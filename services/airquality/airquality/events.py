"""What happened to readings, as whoever follows the stream of events sees it: the one seam between storing and watching."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from airquality.quality import EXCLUDED


@dataclass(frozen=True, slots=True)
class StoredReading:
    """A reading that is committed: new, or a correction of what was known.

    Attributes:
        tenant: Whose station it is; `public` for the operator's.
        station_id: The station's name, unique within the tenant.
        lat: Where the station stood when the reading was stored: latitude in degrees.
        lng: Longitude in degrees.
        pollutant: A code of airquality.units.Pollutant.
        value: The concentration in `unit`.
        unit: The unit's label, as in airquality.units.LABELS.
        time: Start of the period that the value covers, in UTC.
        flags: The bits of its quality; 0 is good.
        averaging_period: A code of airquality.units.AveragingPeriod.
        provider: Who publishes the station's readings.
    """

    tenant: str
    station_id: str
    lat: float
    lng: float
    pollutant: int
    value: float
    unit: str
    time: datetime
    flags: int = 0
    averaging_period: int = 1
    provider: str = ""

    @property
    def counts(self) -> bool:
        """Whether it counts for the air: not where quality control excluded it."""
        return not self.flags & EXCLUDED


class EventBatch(NamedTuple):
    """Readings that were committed together, in the order of their keys.

    Attributes:
        event_id: Its place in the order of commits, in decimal digits. Ids follow each other without a gap, so that a
            repeat is known by an id that is not greater than the last one.
        readings: What was stored; never empty.
    """

    event_id: str
    readings: Sequence[StoredReading]


class EventSource(Protocol):
    """Where events come from."""

    def follow(self, after: str) -> AsyncIterator[EventBatch]:
        """Yields every batch after an event, each at least once and in order, for ever.

        Args:
            after: The id of an event; empty for what is committed from now on.

        Raises:
            EventExpired: The events after it are not kept any more.
        """


class EventExpired(Exception):
    """What came after an event is not kept any more: begin with what is stored now."""
