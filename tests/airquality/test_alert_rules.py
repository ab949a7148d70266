"""The state machine of alert rules, held against what it promises for any series of readings."""

import math
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airquality.alerting.quiet import QuietHours
from airquality.alerting.rules import Condition, Direction, Kind, Sample, State, Status, Transition, step

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def run(
    condition: Condition, *samples: tuple[float, float], seen: datetime | None = None
) -> tuple[State, list[Transition]]:
    """Returns where a new rule stands after samples of hours and values, and what it told."""
    state, told = State(), []
    for hours, value in samples:
        moment = START + hours * HOUR
        state, transition = step(condition, state, Sample(moment, value, seen or moment))
        if transition is not None:
            told.append(transition)
    return state, told


def kinds(told: list[Transition]) -> list[Kind]:
    """Returns what was told."""
    return [each.kind for each in told]


values = st.floats(-50, 500)
series = st.lists(st.tuples(st.floats(0, 200), st.floats(-50, 500) | st.just(math.nan)), max_size=40)


def test_fires_at_the_threshold_and_ends_only_beyond_the_hysteresis() -> None:
    condition = Condition(100, hysteresis=10)
    _, told = run(condition, (0, 99.9), (1, 100), (2, 95), (3, 90), (4, 89.9), (5, 95))
    assert kinds(told) == [Kind.FIRED, Kind.RESOLVED]
    assert [each.sample.time - START for each in told] == [HOUR, 4 * HOUR]


def test_looks_downwards_as_it_looks_upwards() -> None:
    condition = Condition(10, Direction.BELOW, hysteresis=2)
    _, told = run(condition, (0, 11), (1, 10), (2, 12), (3, 12.1))
    assert kinds(told) == [Kind.FIRED, Kind.RESOLVED]


@given(st.lists(st.floats(90, 100, exclude_max=True), min_size=1, max_size=50), st.booleans())
def test_never_flaps_inside_the_hysteresis_band(inside: list[float], was_firing: bool) -> None:  # noqa: FBT001 -- drawn
    first = [(0.0, 120.0)] if was_firing else []
    _, told = run(Condition(100, hysteresis=10), *first, *((1.0 + hour, each) for hour, each in enumerate(inside)))
    assert kinds(told) == ([Kind.FIRED] if was_firing else [])


@given(series, st.floats(-50, 500), st.floats(0, 100), st.floats(0, 12), st.floats(0, 24), st.sampled_from(Direction))
def test_fired_and_resolved_alternate_and_keep_their_promises(
    samples: list[tuple[float, float]],
    threshold: float,
    hysteresis: float,
    min_hours: float,
    cool_hours: float,
    direction: Direction,
) -> None:
    condition = Condition(threshold, direction, hysteresis, min_hours * HOUR, cool_hours * HOUR)
    _, told = run(condition, *samples)
    assert kinds(told) == [Kind.FIRED, Kind.RESOLVED] * (len(told) // 2) + [Kind.FIRED] * (len(told) % 2)
    fired = [each.sample for each in told if each.kind is Kind.FIRED]
    for before, after in pairwise(fired):
        assert after.time - before.time >= condition.cool_down
    for kind, since, sample in told:
        assert math.isfinite(sample.value)
        if kind is Kind.FIRED:
            assert condition.reached_by(sample.value)
            assert sample.time - since >= condition.min_duration
        else:
            assert condition.ended_by(sample.value)


@given(series, series)
def test_samples_older_than_the_newest_change_nothing(
    samples: list[tuple[float, float]], late: list[tuple[float, float]]
) -> None:
    condition = Condition(100, hysteresis=5, min_duration=2 * HOUR)
    state, _ = run(condition, *sorted(samples))
    assume(state.last is not None)
    assert state.last is not None
    for hours, value in late:
        moment = START + hours * HOUR
        if moment < state.last:
            assert step(condition, state, Sample(moment, value, moment)) == (state, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("direction", list(Direction))
def test_what_is_no_number_never_fires_ends_or_counts(value: float, direction: Direction) -> None:
    state, told = run(Condition(0, direction), (0, value), (1, value))
    assert (state, told) == (State(), [])


def test_the_minimum_duration_is_that_of_readings_without_a_break() -> None:
    condition = Condition(100, min_duration=2 * HOUR)
    _, told = run(condition, (0, 150), (1, 99), (2, 150), (3, 150), (4, 150))
    assert [each.sample.time - START for each in told] == [4 * HOUR]
    assert told[0].since == START + 2 * HOUR


def test_a_gap_begins_the_minimum_duration_anew() -> None:
    condition = Condition(100, min_duration=2 * HOUR, max_gap=3 * HOUR)
    assert kinds(run(condition, (0, 150), (3, 150))[1]) == [Kind.FIRED]
    state, told = run(condition, (0, 150), (3.5, 150))
    assert (state.status, told) == (Status.PENDING, [])
    assert state.since == START + 3.5 * HOUR


def test_a_gap_does_not_end_an_alert() -> None:
    state, told = run(Condition(100), (0, 150), (100, 150))
    assert (state.status, kinds(told)) == (Status.FIRING, [Kind.FIRED])


def test_cool_down_counts_from_the_firing_and_what_still_holds_fires_after_it() -> None:
    condition = Condition(100, cool_down=6 * HOUR)
    _, told = run(condition, (0, 150), (1, 50), (2, 150), (3, 150), (5.9, 150), (6, 150))
    assert [(each.kind, each.sample.time - START) for each in told] == [
        (Kind.FIRED, 0 * HOUR),
        (Kind.RESOLVED, HOUR),
        (Kind.FIRED, 6 * HOUR),
    ]
    assert told[-1].since == START + 2 * HOUR


def test_a_correction_of_the_newest_reading_counts() -> None:
    assert kinds(run(Condition(100), (0, 150), (0, 50))[1]) == [Kind.FIRED, Kind.RESOLVED]


def test_out_of_order_readings_tell_what_the_newest_told() -> None:
    condition = Condition(100, hysteresis=10)
    assert run(condition, (2, 50), (1, 150)) == run(condition, (2, 50))


def test_quiet_hours_hold_an_alert_back_until_a_reading_after_them() -> None:
    quiet = QuietHours(time(22), time(7), "Europe/Berlin")
    condition = Condition(100, quiet=quiet)
    night = datetime(2026, 3, 2, 3, tzinfo=UTC)
    state, told = run(condition, (0, 150), seen=night)
    assert (state.status, told) == (Status.PENDING, [])
    state, transition = step(condition, state, Sample(START + HOUR, 150, night + 4 * HOUR))
    assert transition is not None
    assert transition.since == START


@pytest.mark.parametrize(
    ("moment", "quiet"),
    [
        ("2026-01-15T20:59:00+00:00", False),  # 21:59 in winter
        ("2026-01-15T21:00:00+00:00", True),
        ("2026-07-15T20:00:00+00:00", True),  # 22:00 in summer
        ("2026-07-15T05:00:00+00:00", False),  # 07:00
        ("2026-01-15T05:00:00+00:00", True),  # 06:00
    ],
)
def test_quiet_hours_go_by_the_clock_on_the_wall(moment: str, quiet: bool) -> None:  # noqa: FBT001 -- a row
    assert QuietHours(time(22), time(7), "Europe/Berlin").hold(datetime.fromisoformat(moment)) is quiet


def test_an_hour_that_the_clocks_skip_is_never_quiet() -> None:
    quiet = QuietHours(time(2), time(3), "Europe/Berlin")
    night = [datetime(2026, 3, 29, 0, minute, tzinfo=UTC) + hour * HOUR for hour in range(3) for minute in (0, 30, 59)]
    assert not any(map(quiet.hold, night))


def test_an_hour_that_the_clocks_show_twice_is_quiet_twice() -> None:
    quiet = QuietHours(time(2), time(3), "Europe/Berlin")
    assert [quiet.hold(datetime(2026, 10, 25, hour, 30, tzinfo=UTC)) for hour in range(3)] == [True, True, False]


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 -- bounds
    st.times(),
    st.times(),
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_quiet_hours_are_over_at_the_first_minute_that_is_not_quiet(
    moment: datetime, start: time, end: time, zone: str
) -> None:
    quiet = QuietHours(start.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0), zone)
    assume(quiet.start != quiet.end)
    over = quiet.over(moment)
    assert over >= moment
    assert not quiet.hold(over)
    assert over == moment or quiet.hold(over - timedelta(seconds=1))
    assert over - moment <= timedelta(hours=25, minutes=1)
