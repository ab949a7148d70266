"""A rule as its owner wrote it, and how it and its state are kept."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, time, timedelta
from enum import IntEnum
from typing import Any, Final, TypeAlias

from airquality.alerting.quiet import QuietHours
from airquality.alerting.rules import Condition, Direction, State, Status

MICROSECOND: Final = timedelta(microseconds=1)


class Measure(IntEnum):
    """What is compared; the codes are those of the enum in alerts.proto."""

    INDEX = 1
    RAW = 2
    NOWCAST = 3
    FORECAST = 4


class Severity(IntEnum):
    """How much it matters; the codes are those of the enum in alerts.proto."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class AtStation:
    """One station, and the tenant whose it is."""

    station_id: str
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Circle:
    """Around a point in degrees."""

    lat: float
    lng: float
    radius_meters: float


@dataclass(frozen=True, slots=True)
class Box:
    """West, east, south and north in degrees; west is greater than east over the antimeridian."""

    west: float
    east: float
    south: float
    north: float


@dataclass(frozen=True, slots=True)
class Polygon:
    """A GeoJSON geometry."""

    type: str
    coordinates: Any


Place: TypeAlias = AtStation | Circle | Box | Polygon
_PLACES: Final[dict[str, type]] = {each.__name__: each for each in (AtStation, Circle, Box, Polygon)}


@dataclass(frozen=True, slots=True)
class Definition:
    """What a rule says.

    Attributes:
        name: For people.
        place: Where it looks.
        measure: What it compares.
        condition: When it fires.
        index: Id of the index; empty where another measure is compared.
        pollutant: A code of Pollutant; 0 for the index.
        horizon_hours: How far ahead a forecast is looked at.
        severity: How much it matters.
        include_flagged: Whether readings count that quality control excluded.
        paused: Whether it rests.
        webhook_url: Where alerts are posted to; empty for nowhere.
    """

    name: str
    place: Place
    measure: Measure
    condition: Condition
    index: str = ""
    pollutant: int = 0
    horizon_hours: int = 0
    severity: Severity = Severity.WARNING
    include_flagged: bool = False
    paused: bool = False
    webhook_url: str = ""

    def judges_as(self, other: "Definition") -> bool:
        """Tells whether what was found by one rule holds for the other."""
        return self == replace(
            other, name=self.name, severity=self.severity, paused=self.paused, webhook_url=self.webhook_url
        )

    def at(self, place: "Place") -> "Definition":
        """Returns the same for another place."""
        return replace(self, place=place)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that is kept."""

    rule_id: str
    definition: Definition
    state: State
    created_at: datetime
    updated_at: datetime


def definition_to_json(definition: Definition) -> dict[str, Any]:
    """Returns what `definition_from_json` reads; durations are whole microseconds."""
    condition, quiet = definition.condition, definition.condition.quiet
    fields = {name: getattr(definition, name) for name in _PLAIN}
    return fields | {
        "measure": int(definition.measure),
        "severity": int(definition.severity),
        "place": {"kind": type(definition.place).__name__} | asdict(definition.place),
        "threshold": condition.threshold,
        "direction": int(condition.direction),
        "hysteresis": condition.hysteresis,
        "min_duration": condition.min_duration // MICROSECOND,
        "cool_down": condition.cool_down // MICROSECOND,
        "quiet": quiet and [f"{quiet.start:%H:%M}", f"{quiet.end:%H:%M}", quiet.time_zone],
    }


_PLAIN: Final = ("name", "index", "pollutant", "horizon_hours", "include_flagged", "paused", "webhook_url")


def definition_from_json(kept: Mapping[str, Any], max_gap: timedelta) -> Definition:
    """Returns a definition; the longest gap is a setting of the service and is not kept."""
    place = dict(kept["place"])
    quiet = kept["quiet"]
    return Definition(
        **{name: kept[name] for name in _PLAIN},
        place=_PLACES[place.pop("kind")](**place),
        measure=Measure(kept["measure"]),
        severity=Severity(kept["severity"]),
        condition=Condition(
            threshold=kept["threshold"],
            direction=Direction(kept["direction"]),
            hysteresis=kept["hysteresis"],
            min_duration=kept["min_duration"] * MICROSECOND,
            cool_down=kept["cool_down"] * MICROSECOND,
            max_gap=max_gap,
            quiet=quiet and QuietHours(time.fromisoformat(quiet[0]), time.fromisoformat(quiet[1]), quiet[2]),
        ),
    )


def state_to_json(state: State) -> dict[str, Any]:
    """Returns what `state_from_json` reads."""
    return {
        "status": int(state.status),
        "since": _text(state.since),
        "last": _text(state.last),
        "value": state.value,
        "fired": _text(state.fired),
        "places": {name: [_text(moment), value, meters] for name, (moment, value, meters) in state.places.items()},
    }


def state_from_json(kept: Mapping[str, Any]) -> State:
    """Returns a state; an empty object is that of a new rule."""
    if not kept:
        return State()
    return State(
        status=Status(kept["status"]),
        since=_moment(kept["since"]),
        last=_moment(kept["last"]),
        value=kept["value"],
        fired=_moment(kept["fired"]),
        places={
            name: (datetime.fromisoformat(moment), value, meters)
            for name, (moment, value, meters) in kept["places"].items()
        },
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
