from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airquality.convert.requests import accepted, columns
from airquality.readings import Readings, Taken
from geomesh.airquality.v1 import airquality_pb2 as pb

LATEST = 1_600_000_000_000_000
KNOWN = 7


def reading(**fields: Any) -> pb.Reading:
    """Returns a reading that can be stored, but for what is given."""
    seconds, nanos = fields.pop("seconds", 1_598_000_000), fields.pop("nanos", 0)
    everything: dict[str, Any] = {"station_id": "s", "pollutant": 1, "value": 12.5} | fields
    message = pb.Reading(**everything)
    message.time.seconds, message.time.nanos = seconds, nanos
    return message


def sift(*messages: pb.Reading, known: bool = True, most_errors: int = 1000) -> tuple[Readings, list[tuple[int, str]]]:
    """Returns what can be stored, and the index and the message of each error."""
    numbers = np.full(len(messages), KNOWN if known else -1)
    good, errors = accepted(messages, columns(messages), numbers, Taken(LATEST), offset=100, most_errors=most_errors)
    return good, [(error.index, error.status.message) for error in errors]


def rows(readings: Readings) -> list[tuple[int, int, int, int, int, float]]:
    """Returns readings row by row."""
    each = (
        readings.station,
        readings.pollutant,
        readings.averaging_period,
        readings.unit,
        readings.time,
        readings.value,
    )
    return list(zip(*(column.tolist() for column in each), strict=True))


def test_takes_the_hour_and_the_usual_unit_where_none_is_named() -> None:
    good, errors = sift(reading(nanos=1500), reading(pollutant=3, unit=4, averaging_period=2, value=0.07))
    assert errors == []
    assert rows(good) == [
        (KNOWN, 1, 1, 1, 1_598_000_000_000_001, 12.5),
        (KNOWN, 3, 2, 4, 1_598_000_000_000_000, 0.07),
    ]


def test_a_measured_zero_is_taken_and_a_value_left_out_is_not() -> None:
    without = reading()
    without.ClearField("value")
    good, errors = sift(reading(value=0.0), without)
    assert rows(good)[0][-1] == 0.0
    assert [index for index, _ in errors] == [101]
    assert "value" in errors[0][1]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"pollutant": 0}, "pollutant"),
        ({"pollutant": 99}, "pollutant"),
        ({"unit": 99}, "unit"),
        ({"averaging_period": -1}, "averaging_period"),
        ({"unit": 3}, "unit: PM25 is measured in µg/m³ or mg/m³ or ng/m³, not in ppb"),
        ({"value": float("nan")}, "value"),
        ({"value": float("inf")}, "value"),
        ({"value": -100.0}, "value: PM25 must be between -25 and 10000 µg/m³"),
        ({"value": 99.0, "unit": 2}, "value: PM25 must be between -25 and 10000 µg/m³"),
        ({"seconds": LATEST // 1_000_000 + 1}, "time: is in the future"),
        ({"seconds": 1 << 62}, "time"),
        ({"seconds": 100}, "time"),
        ({"seconds": -(1 << 62)}, "time"),
        ({"nanos": -1}, "time"),
        ({"nanos": 1_000_000_000}, "time"),
    ],
    ids=str,
)
def test_refuses_what_cannot_be_and_keeps_the_rest(fields: dict[str, Any], says: str) -> None:
    good, errors = sift(reading(), reading(**fields), reading())
    assert len(good) == 2
    ((index, message),) = errors
    assert index == 101
    assert message.startswith(says)


def test_says_that_a_station_must_be_named() -> None:
    _, ((index, message),) = sift(reading(station_id=""), known=False)
    assert index == 100
    assert message.startswith("station_id")


def test_says_which_station_is_not_registered() -> None:
    _, errors = sift(reading(station_id="nowhere"), known=False)
    assert errors == [(100, "your tenant has no station 'nowhere'; register it first")]


def test_tells_no_more_errors_than_are_wanted() -> None:
    good, errors = sift(*[reading(value=-100.0)] * 5, most_errors=2)
    assert len(good) == 0
    assert [index for index, _ in errors] == [100, 101]


@settings(max_examples=300)
@given(
    pollutant=st.integers(-1, 8),
    unit=st.integers(-1, 6),
    averaging_period=st.integers(-1, 6),
    value=st.one_of(st.floats(), st.floats(-100, 1000)),
    seconds=st.one_of(
        st.integers(315_532_700, 315_532_900),
        st.integers(1_599_999_990, 1_600_000_010),
        st.integers(-(1 << 63), (1 << 63) - 1),
    ),
    nanos=st.sampled_from([0, 1, 999_999_999]),
)
def test_refuses_as_columns_what_it_refuses_one_by_one(**fields: Any) -> None:
    good, errors = sift(reading(**fields))
    assert len(good) + len(errors) == 1
    assert not any("valid timestamp" in message for _, message in errors)


def test_of_several_readings_with_one_key_the_last_one_counts() -> None:
    good, _ = sift(
        reading(value=1.0),
        reading(value=2.0, seconds=1_598_003_600),
        reading(value=3.0),
        reading(value=4.0, pollutant=2),
    )
    assert [(row[1], row[4], row[-1]) for row in rows(good.last_by_key())] == [
        (1, 1_598_000_000_000_000, 3.0),
        (1, 1_598_003_600_000_000, 2.0),
        (2, 1_598_000_000_000_000, 4.0),
    ]
