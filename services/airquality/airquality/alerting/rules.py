"""When a rule fires: a state machine that knows values and times, and nothing of where they come from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from airquality.alerting.quiet import QuietHours


class Direction(IntEnum):
    """On which side of the threshold an alert lies; the codes are those of the enum in alerts.proto."""

    ABOVE = 1
    BELOW = 2


class Status(IntEnum):
    """Where a rule stands; the codes are those of the enum in alerts.proto."""

    CLEAR = 1
    PENDING = 2
    FIRING = 3


class Kind(IntEnum):
    """What a transition says; the codes are those of the enum in alerts.proto."""

    FIRED = 1
    RESOLVED = 2


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold.

    Attributes:
        threshold: The value that begins an alert.
        direction: On which side of it.
        hysteresis: How far behind the threshold a value ends an alert, 0 or more.
        min_duration: For how long the threshold must be reached.
        cool_down: Time after a firing in which there is no further one.
        max_gap: Time between two samples after which the first tells nothing of the time between them.
        quiet: When nothing fires.
    """

    threshold: float
    direction: Direction = Direction.ABOVE
    hysteresis: float = 0.0
    min_duration: timedelta = timedelta()
    cool_down: timedelta = timedelta()
    max_gap: timedelta = timedelta(hours=3)
    quiet: QuietHours | None = None

    def reached_by(self, value: float) -> bool:
        """Tells whether a value lies at the threshold or beyond it."""
        return value >= self.threshold if self.direction is Direction.ABOVE else value <= self.threshold

    def ended_by(self, value: float) -> bool:
        """Tells whether a value has come back beyond the hysteresis."""
        if self.direction is Direction.ABOVE:
            return value < self.threshold - self.hysteresis
        return value > self.threshold + self.hysteresis


class Sample(NamedTuple):
    """A value: the start of the period that it is of, the value, and the moment at which it is looked at."""

    time: datetime
    value: float
    seen: datetime


@dataclass(frozen=True, slots=True)
class State:
    """Where the evaluation of a rule stands.

    Attributes:
        status: Whether it fires.
        since: The first sample of the unbroken series that reached the threshold; None while clear.
        last: Time of the newest sample.
        value: Its value.
        fired: Time of the newest firing.
        places: The newest time, value and distance in metres of each station that the rule looks at.
    """

    status: Status = Status.CLEAR
    since: datetime | None = None
    last: datetime | None = None
    value: float | None = None
    fired: datetime | None = None
    places: Mapping[str, tuple[datetime, float, float]] = field(default_factory=dict)


class Transition(NamedTuple):
    """What is to be told: that it fired or ended, since when the threshold was reached, and the sample that did it."""

    kind: Kind
    since: datetime
    sample: Sample


def step(condition: Condition, state: State, sample: Sample) -> tuple[State, Transition | None]:
    """Returns the state after a sample, and what is to be told of it.

    A sample that is no number changes nothing. Nor does one that is older than the newest: it comes too late to raise
    or end an alert, whose time is over. One of the same time replaces it, since readings are corrected, and since the
    stations of an area report one after another.

    The threshold must be reached in every sample of `min_duration`; the band of the hysteresis only keeps a firing rule
    from ending. Cool-down and quiet hours keep a rule pending, which then fires at the first sample after them. Times
    are those of the samples, but for quiet hours, which are about the people who are told.
    """
    if not math.isfinite(sample.value) or (state.last is not None and sample.time < state.last):
        return state, None
    gap = state.last is not None and sample.time - state.last > condition.max_gap
    state = replace(state, last=sample.time, value=sample.value)
    if state.status is Status.FIRING:
        return _firing(condition, state, sample)
    if not condition.reached_by(sample.value):
        return replace(state, status=Status.CLEAR, since=None), None
    since = sample.time if state.since is None or gap else state.since
    if _is_held_back(condition, state, since, sample):
        return replace(state, status=Status.PENDING, since=since), None
    fired = replace(state, status=Status.FIRING, since=since, fired=sample.time)
    return fired, Transition(Kind.FIRED, since, sample)


def _firing(condition: Condition, state: State, sample: Sample) -> tuple[State, Transition | None]:
    if not condition.ended_by(sample.value):
        return state, None
    ended = Transition(Kind.RESOLVED, state.since or sample.time, sample)
    return replace(state, status=Status.CLEAR, since=None), ended


def _is_held_back(condition: Condition, state: State, since: datetime, sample: Sample) -> bool:
    return (
        sample.time - since < condition.min_duration
        or (state.fired is not None and sample.time < state.fired + condition.cool_down)
        or (condition.quiet is not None and condition.quiet.hold(sample.seen))
    )
