"""Messages made from arrays are those that protobuf makes of objects."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airquality.convert.columns import chosen, field, joined, serialized
from airquality.convert.histories import history
from airquality.history import Hours, span
from airquality.index import NONE
from airquality.intervals import Granularity, edges_of
from airquality.past import Past, past_of
from airquality.readings import MICROSECONDS
from airquality.standards import standard_of
from airquality.stations import Station
from airquality.units import AveragingPeriod, Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb

EPA = standard_of("us_epa")
HERE = Station("here", "tests", "", "", 40.0, -100.0, 1)
WHOLE = st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 300)
FIGURES = st.floats(allow_nan=False)
# Text, a number, one that may be absent, whether it is, and a list; of each message.
ROWS = st.lists(
    st.tuples(st.sampled_from(["", "2024", "grün" * 40]), WHOLE, FIGURES, st.booleans(), st.tuples(WHOLE, WHOLE)),
    min_size=1,
    max_size=400,
)


@given(rows=ROWS)
def test_messages_made_from_arrays_are_those_made_of_objects(
    rows: list[tuple[str, int, float, bool, tuple[int, int]]],
) -> None:
    texts, numbers, figures, known, lists = zip(*rows, strict=True)
    table = sorted(set(texts))
    whole, has = np.array(numbers), np.array(known)
    pollutant = joined(
        field(pb.PollutantHistory, "mean", np.array(figures), has),
        field(pb.PollutantHistory, "hour_count", whole),
        field(pb.PollutantHistory, "coverage", np.array(figures)),
        field(pb.PollutantHistory, "sub_index", whole, has),
    )
    intervals = joined(
        field(pb.HistoryInterval, "index_value", whole),
        field(
            pb.HistoryInterval,
            "index_version",
            chosen([each.encode() for each in table], np.array([table.index(each) for each in texts])),
        ),
        field(pb.HistoryInterval, "pollutants", pollutant, has),
        field(pb.HistoryInterval, "category_day_counts", np.array(lists)),
    )
    found = pb.History.FromString(serialized(field(pb.History, "intervals", intervals)))
    assert list(found.intervals) == [
        pb.HistoryInterval(
            index_value=number,
            index_version=text,
            pollutants=[pb.PollutantHistory(mean=figure, hour_count=number, coverage=figure, sub_index=number)]
            if is_known
            else [],
            category_day_counts=counts,
        )
        for text, number, figure, is_known, counts in rows
    ]


def test_refuses_a_field_of_a_type_that_it_does_not_write() -> None:
    with pytest.raises(TypeError, match=r"Sensor\.low_cost cannot be written"):
        field(pb.Sensor, "low_cost", np.ones(2))


def past(granularity: Granularity, days: int) -> Past:
    """Returns the past of a station with gaps, values below zero, flags, and a pollutant without an index."""
    edges = edges_of(
        datetime(2024, 3, 1, tzinfo=UTC),
        datetime(2024, 3, 1, tzinfo=UTC) + timedelta(days=days),
        granularity,
        "America/New_York",
    )
    _, count = span(edges)
    random = np.random.default_rng(5)
    series = {}
    for pollutant in (Pollutant.PM25, Pollutant.O3, Pollutant.TEMPERATURE, Pollutant.WIND_DIRECTION):
        values = np.round(random.gamma(1.0, 20.0, count), 1) - (20 if pollutant == Pollutant.TEMPERATURE else 0)
        values[(random.random(count) < 0.2) | (np.arange(count) // 200 == 1)] = np.nan
        series[pollutant, AveragingPeriod.HOUR] = Hours(
            values,
            random.random(count) < 0.1,
            np.isnan(values) & (random.random(count) < 0.1),
            np.zeros(count, np.bool_),
        )
    return past_of(EPA, "", edges, granularity, "America/New_York", series, profiles=True)


@pytest.mark.parametrize(
    ("granularity", "days"), [(Granularity.HOURLY, 90), (Granularity.DAILY, 400), (Granularity.MONTHLY, 400)]
)
def test_a_serialized_history_says_what_its_arrays_say(granularity: Granularity, days: int) -> None:
    given_past = past(granularity, days)
    arrays = given_past.history
    found = pb.History.FromString(history(given_past, {Pollutant.PM25: HERE}, EPA))
    assert (found.index, found.sources[0].station.station_id, len(found.profiles)) == ("us_epa", "here", 12)
    starts = (arrays.edges[:-1] // MICROSECONDS).tolist()
    told = {each.start_time.seconds: each for each in found.intervals}
    assert [each.start_time.seconds for each in found.intervals] == sorted(told)
    for place, start in enumerate(starts):
        expected = {
            code: each
            for code, each in arrays.pollutants.items()
            if each.hour_count[place]
            or each.excluded_count[place]
            or each.basis[place]
            or each.sub_index[place] != NONE
        }
        assert (start in told) == bool(expected)
        if not expected:
            continue
        interval = told[start]
        assert interval.end_time.seconds == arrays.edges[place + 1] // MICROSECONDS
        assert interval.index_version == EPA.versions[arrays.versions[place]].id
        value = int(arrays.index_values[place])
        assert interval.HasField("index_value") == interval.HasField("category") == (value != NONE)
        assert not interval.HasField("category") or interval.category.lowest <= value <= interval.category.highest
        assert interval.dominant_pollutant == (arrays.dominant[place] if value != NONE else 0)
        assert [int(each.pollutant) for each in interval.pollutants] == [int(each) for each in sorted(expected)]
        for told_of in interval.pollutants:
            each = arrays.pollutants[Pollutant(told_of.pollutant)]
            for name in ("mean", "minimum", "maximum"):
                figure = float(getattr(each, name)[place])
                assert told_of.HasField(name) == (not np.isnan(figure))
                assert np.isnan(figure) or getattr(told_of, name) == figure
            assert told_of.hour_count == each.hour_count[place]
            assert told_of.flagged_hour_count == each.flagged_count[place]
            assert told_of.excluded_hour_count == each.excluded_count[place]
            assert told_of.coverage == each.coverage[place]
            assert told_of.basis == each.basis[place]
            assert told_of.HasField("sub_index") == (each.sub_index[place] != NONE)
            exceeded = given_past.exceedances.get(Pollutant(told_of.pollutant), [])
            assert [(one.limit_id, one.count, one.known_count) for one in told_of.exceedances] == [
                (one.limit.limit_id, one.above[place], one.known[place]) for one in exceeded if one.known[place]
            ]
        if given_past.longterm is not None and value != NONE:
            assert list(interval.category_day_counts) == given_past.longterm.category_days[place].tolist()


def test_a_history_of_nothing_has_no_intervals() -> None:
    edges = edges_of(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC), Granularity.HOURLY, "")
    nothing = past_of(EPA, "", edges, Granularity.HOURLY, "", {}, profiles=False)
    assert pb.History.FromString(history(nothing, {}, EPA)) == pb.History(index="us_epa")
