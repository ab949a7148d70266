"""What a forecast may know, what it does with little, and that its intervals are what they say."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airquality.forecast import baselines, simple
from airquality.forecast.boosting import HORIZONS, Boosted, Parameters, fit
from airquality.forecast.features import LOOKBACK_HOURS, Matrix, dew_point, origin_features
from airquality.forecast.frame import Floats, Frame, HourlySeries, frame_of, last_known
from airquality.forecast.intervals import Intervals, nested
from airquality.forecast.left_out import LONGEST_HOURS, LeftOut
from airquality.forecast.model import EVERY_HOUR, decode, every_hour
from airquality.forecast.neighbours import Neighbours
from airquality.forecast.networks import Inputs, NetworkParameters, train_network
from airquality.forecast.skill import PERSISTENCE, mean_skill, skill_of
from airquality.forecast.spatial import between_stations, spatial_deviation
from airquality.forecast.training import crossed, forecasts, serves, train
from airquality.forecast.windows import rolling_highest, rolling_lowest, rolling_mean
from airquality.units import Pollutant
from tests.airquality.weather_of_a_city import FIRST_HOUR, city

PM25 = Pollutant.PM25
SMALL = Parameters(
    rows=3000,
    members=2,
    trees=30,
    leaves=15,
    fewest_in_leaf=20,
    network=NetworkParameters(rows=3000, width=32, steps=300),
)


def silent(_words: str) -> None:
    """Says nothing."""


@pytest.fixture(scope="module")
def boosted() -> Boosted:
    """Trees that learnt from the first sixty days of the city."""
    frame = city()
    return fit(frame.between(FIRST_HOUR, FIRST_HOUR + 60 * 24), PM25, SMALL)


def changed(frame: Frame, from_hour: int) -> Frame:
    """Returns a frame whose every value from an hour on is another."""
    values = {name: each.copy() for name, each in frame.values.items()}
    for each in values.values():
        each[:, from_hour - frame.first_hour :] = 7.0 + 3 * each[:, from_hour - frame.first_hour :]
    return Frame(frame.stations, frame.lat, frame.lng, frame.first_hour, values)


# Only what was known


def test_changing_the_future_never_changes_a_forecast(boosted: Boosted) -> None:
    frame, moment = city(), FIRST_HOUR + 70 * 24 + 5
    for each in (frame, changed(frame, moment)):
        block = each.between(moment - LOOKBACK_HOURS - 50, moment + 100)
        made = boosted.forecast(block, 150)[:, :50]
        if each is frame:
            expected = made
    np.testing.assert_array_equal(made, expected)
    assert not np.isnan(made).any()


def test_changing_the_past_changes_the_forecast(boosted: Boosted) -> None:
    frame, moment = city(), FIRST_HOUR + 70 * 24
    before, after = (
        boosted.forecast(each.between(moment - LOOKBACK_HOURS, moment)) for each in (frame, changed(frame, moment - 3))
    )
    assert (before != after).any()


def test_a_forecast_of_one_moment_is_that_of_the_same_moment_among_many(boosted: Boosted) -> None:
    frame, moment = city(), FIRST_HOUR + 70 * 24
    alone = boosted.forecast(frame.between(moment - LOOKBACK_HOURS, moment))[:, 0]
    among = boosted.forecast(frame.between(moment - LOOKBACK_HOURS - 30, moment), 30)[:, -1]
    np.testing.assert_allclose(alone, among, rtol=1e-9)


def test_no_column_knows_what_comes_after_its_hour() -> None:
    frame, moment = city(hours=600), FIRST_HOUR + 500
    scales = dict.fromkeys(Pollutant, 50.0)
    seen = [
        origin_features(each, PM25, scales, 400, Neighbours.of(each))[1][:, :299]
        for each in (frame, changed(frame, moment))
    ]
    np.testing.assert_array_equal(seen[0], seen[1])


def test_training_reads_nothing_after_its_frame() -> None:
    frame, end = city(), FIRST_HOUR + 30 * 24
    made = [
        fit(each.between(FIRST_HOUR, end), PM25, SMALL).boosters[0].model_to_string()
        for each in (frame, changed(frame, end))
    ]
    assert made[0] == made[1]


def test_the_simple_forecast_sees_only_what_it_is_given() -> None:
    frame, moment = city(), FIRST_HOUR + 70 * 24
    made = [
        simple.forecast(each.between(moment - simple.WINDOW_HOURS, moment).of(PM25), moment, HORIZONS).medians
        for each in (frame, changed(frame, moment))
    ]
    np.testing.assert_array_equal(made[0], made[1])


@pytest.mark.parametrize("baseline", [baselines.persistence, baselines.daily_persistence])
def test_baselines_see_only_what_was_known(baseline: Callable[..., Floats]) -> None:
    frame, origin = city(), FIRST_HOUR + 70 * 24
    made = [baseline(each, PM25, np.array([origin]), HORIZONS) for each in (frame, changed(frame, origin + 1))]
    np.testing.assert_array_equal(made[0], made[1])


# Little to go by


@pytest.mark.parametrize("gap", [1, 6, 24 * 31])
def test_a_gap_is_forecast_from_or_left_out_by_its_age(boosted: Boosted, gap: int) -> None:
    frame, moment = city(), FIRST_HOUR + 80 * 24
    values = {name: each.copy() for name, each in frame.values.items()}
    for each in values.values():
        each[0, moment - gap - FIRST_HOUR :] = np.nan
    holed = Frame(frame.stations, frame.lat, frame.lng, frame.first_hour, values)
    made = boosted.forecast(holed.between(moment - LOOKBACK_HOURS, moment))[:, 0]
    assert np.isnan(made[0]).all() == (gap > 6)
    assert not np.isnan(made[1:]).any()


def test_after_a_gap_of_a_month_both_go_on(boosted: Boosted) -> None:
    frame, moment = city(), FIRST_HOUR + 80 * 24
    values = frame.of(PM25).copy()
    values[0, moment - 24 * 32 - FIRST_HOUR : moment - 24 - FIRST_HOUR] = np.nan
    holed = Frame(frame.stations, frame.lat, frame.lng, frame.first_hour, {**frame.values, PM25: values})
    assert np.isfinite(boosted.forecast(holed.between(moment - LOOKBACK_HOURS, moment))).all()
    made = simple.forecast(holed.between(moment - simple.WINDOW_HOURS, moment).of(PM25), moment, HORIZONS)
    assert np.isfinite(made.medians).all()


def test_one_station_alone_is_forecast(boosted: Boosted) -> None:
    alone, moment = city().take([2]), FIRST_HOUR + 80 * 24
    assert np.isfinite(boosted.forecast(alone.between(moment - LOOKBACK_HOURS, moment))).all()


def test_stations_on_one_spot_are_forecast_alike() -> None:
    frame = city(stations=2)
    same = Frame(frame.stations, np.full(2, 40.0), np.full(2, 116.0), FIRST_HOUR, dict(frame.values))
    east, north = Neighbours.of(same).slopes(same.of(PM25))
    assert np.isnan(east).all()
    assert np.isnan(north).all()


def test_neighbours_are_found_over_the_antimeridian_and_the_pole() -> None:
    frame = Frame(
        tuple("abcd"),
        np.array([0.0, 0.0, 89.9, 89.9]),
        np.array([179.9, -179.9, 0.0, 180.0]),
        0,
        {PM25: np.ones((4, 1))},
    )
    places = Neighbours.of(frame).places
    assert places[0, :2].tolist() == [0, 1]
    assert places[2, :2].tolist() == [2, 3]
    assert (places[:, 2:] == -1).all()


def test_values_that_are_no_numbers_are_left_out_of_a_frame() -> None:
    series = HourlySeries(0, PM25, np.array([0, 1, 2, 3]), np.array([1.0, np.nan, np.inf, 4.0]))
    values = frame_of(["a"], [0.0], [0.0], (0, 4), [series]).of(PM25)
    np.testing.assert_array_equal(values, [[1.0, np.nan, np.nan, 4.0]])


def test_nothing_is_forecast_from_nothing() -> None:
    made = simple.forecast(np.full((1, 700), np.nan), 700, HORIZONS)
    assert np.isnan(made.medians).all()


def test_stale_stations_are_not_forecast() -> None:
    values = np.full((1, 700), 20.0)
    values[:, -25:] = np.nan
    assert np.isnan(simple.forecast(values, 700, HORIZONS).medians).all()


def test_three_readings_give_a_simple_forecast_with_wide_intervals() -> None:
    values = np.full((1, 700), np.nan)
    values[0, -3:] = [20.0, 22.0, 21.0]
    made = simple.forecast(values, 700, HORIZONS)
    assert made.medians[0, 0] == pytest.approx(21.0, rel=0.1)
    assert made.bounds[3, 0, -1] / made.bounds[0, 0, -1] > 5


def test_too_short_a_time_is_not_learnt_from() -> None:
    with pytest.raises(ValueError, match="fewer than 336 hours"):
        train(city(hours=300), PM25, SMALL, silent)


def test_no_model_comes_of_nothing() -> None:
    frame = city()
    empty = Frame(frame.stations, frame.lat, frame.lng, FIRST_HOUR, {PM25: np.full_like(frame.of(PM25), np.nan)})
    with pytest.raises(ValueError, match="no station with"):
        train(empty, PM25, SMALL, silent)


# Intervals


@given(
    medians=st.lists(st.floats(0, 1e4), min_size=3, max_size=3),
    offsets=st.lists(st.floats(-1e4, 1e4), min_size=12, max_size=12),
)
def test_intervals_are_nested_hold_their_forecast_and_are_not_negative(
    medians: list[float], offsets: list[float]
) -> None:
    middle = np.array(medians)
    bounds = nested(middle + np.array(offsets).reshape(4, 3), middle)
    assert (bounds >= 0).all()
    assert (np.diff(bounds, axis=0) >= 0).all()
    assert ((bounds[1] <= middle) & (middle <= bounds[2])).all()


def test_intervals_hold_as_often_as_they_say_on_other_draws() -> None:
    random = np.random.default_rng(5)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        medians = random.gamma(2.0, 30.0, (4000, 2))
        return medians, np.maximum(medians + random.normal(0, 0.3, medians.shape) * (medians + 10), 0.0)

    intervals = Intervals.calibrated(*draw(), 50.0)
    assert intervals is not None
    medians, truth = draw()
    lower_95, lower_80, upper_80, upper_95 = intervals.around(medians)
    assert ((lower_80 <= truth) & (truth <= upper_80)).mean() == pytest.approx(0.80, abs=0.02)
    assert ((lower_95 <= truth) & (truth <= upper_95)).mean() == pytest.approx(0.95, abs=0.01)


def test_too_few_residuals_calibrate_nothing() -> None:
    assert Intervals.calibrated(np.ones((150, 2)), np.ones((150, 2)), 1.0) is None


def test_intervals_between_stations_are_wider_than_the_stations_own() -> None:
    medians, bounds = np.full((2, 3), 20.0), np.array([10.0, 15.0, 27.0, 40.0])[:, None, None] * np.ones((4, 2, 3))
    median, bound, weights = between_stations([5000.0, 5000.0], medians, bounds, 0.3)
    assert weights == (0.5, 0.5)
    np.testing.assert_allclose(median, 20.0)
    assert (bound[:2] < bounds[:2, 0]).all()
    assert (bound[2:] > bounds[2:, 0]).all()
    _, on_the_spot, _ = between_stations([10.0, 5000.0], medians, bounds, 0.3)
    np.testing.assert_allclose(on_the_spot, bounds[:, 0])


def test_interpolation_is_judged_by_leaving_stations_out() -> None:
    assert 0.02 < spatial_deviation(city(), PM25) < 0.4


def test_intervals_from_hours_left_out_hold_as_often_as_they_say_in_the_time_after() -> None:
    frame, end = city(stations=2, hours=480 * 24), FIRST_HOUR + 400 * 24
    past = frame.between(FIRST_HOUR, end)
    model, intervals = fit(past, PM25, SMALL), crossed(past, PM25, SMALL)
    assert intervals is not None
    origins, medians = forecasts(model, frame, end, frame.end_hour, 1)
    happened = baselines.truth(frame, PM25, origins, HORIZONS)
    _, lower, upper, _ = intervals.around(medians)
    known = ~np.isnan(happened)
    assert ((lower <= happened) & (happened <= upper))[known].mean() == pytest.approx(0.80, abs=0.06)


def test_each_hour_is_left_out_by_one_member() -> None:
    left_out = LeftOut.of(city(hours=400 * 24), 4)
    assert left_out is not None
    blocks = list(left_out.of_each())
    assert [member for member, _, _ in blocks] == [0, 1, 2, 3] * 3
    assert (blocks[0][1], blocks[-1][2]) == (FIRST_HOUR, FIRST_HOUR + 400 * 24)
    assert all(end == start for (_, _, end), (_, start, _) in pairwise(blocks))
    for member, start, end in blocks:
        soon = np.arange(max(start - LONGEST_HOURS, FIRST_HOUR), end)
        assert not left_out.learnt_by(member, soon).any()
    hours = np.arange(FIRST_HOUR, FIRST_HOUR + 400 * 24)
    shares = [left_out.learnt_by(member, hours).mean() for member in range(4)]
    assert min(shares) > 0.6


def test_of_less_than_a_year_nothing_is_left_out() -> None:
    assert LeftOut.of(city(), 4) is None
    assert crossed(city(), PM25, SMALL) is None


# The model


def test_a_network_learns_a_bend_where_answers_and_columns_are_missing() -> None:
    random = np.random.default_rng(2)

    def draw(number: int) -> tuple[Matrix, Matrix]:
        columns = random.normal(0, 3, (number, 4)).astype(np.float32)
        answers = np.stack([np.abs(columns[:, 0]), np.sin(columns[:, 1])], axis=1)
        columns[:, :3][random.random((number, 3)) < 0.02] = np.nan
        return columns, answers

    columns, answers = draw(4000)
    answers[random.random(answers.shape) < 0.3] = np.nan
    inputs = Inputs.learnt(columns, 3)
    base = np.ones(4000, np.float32)
    network = train_network(
        inputs.of(columns, base), answers, NetworkParameters(width=64, steps=1500, batch=128, dropped=0.05), 1
    )
    columns, answers = draw(1000)
    errors = np.abs(network.changes(inputs.of(columns, base[:1000])) - answers).mean(axis=0)
    usual = np.abs(answers - np.median(answers, axis=0)).mean(axis=0)
    assert (errors < usual / 3).all()


def test_a_column_that_said_nothing_in_training_stays_silent() -> None:
    columns = np.zeros((10, 3), np.float32)
    columns[:, 1] = np.nan
    inputs = Inputs.learnt(columns, 0)
    base = np.ones(2, np.float32)
    np.testing.assert_array_equal(
        inputs.of(np.full((2, 3), 9.0, np.float32), base)[:, :3], inputs.of(columns[:2], base)[:, :3]
    )


def test_a_model_is_judged_stored_and_read_again_without_a_difference() -> None:
    frame = city()
    model = train(frame.between(FIRST_HOUR, FIRST_HOUR + 75 * 24), PM25, SMALL, silent)
    assert [each.horizon for each in model.skill] == HORIZONS.tolist()
    assert model.held_back_hours == (FIRST_HOUR + 75 * 12, FIRST_HOUR + 75 * 24)
    again = decode(model.encode())
    assert again.skill == model.skill
    assert again.stations == frozenset(frame.stations)
    block = frame.between(FIRST_HOUR + 76 * 24 - LOOKBACK_HOURS, FIRST_HOUR + 76 * 24)
    medians = model.boosted.forecast(block)
    np.testing.assert_array_equal(again.boosted.forecast(block), medians)
    np.testing.assert_array_equal(again.bounds(medians), model.bounds(medians))


def test_a_model_learns_what_the_wind_does(boosted: Boosted) -> None:
    frame = city()
    origins, medians = forecasts(boosted, frame, FIRST_HOUR + 60 * 24, frame.end_hour, 1)
    truth = baselines.truth(frame, PM25, origins, HORIZONS)
    skill = skill_of(
        medians, None, truth, {PERSISTENCE: baselines.persistence(frame, PM25, origins, HORIZONS)}, HORIZONS
    )
    assert mean_skill(skill).skill > 0.1
    assert serves(skill)


def test_a_damaged_model_is_not_read() -> None:
    with pytest.raises(ValueError, match="damaged"):
        decode(b"not a model")


def test_every_hour_lies_on_the_lines_between_those_computed() -> None:
    np.testing.assert_allclose(every_hour(HORIZONS * 2.0), EVERY_HOUR * 2.0)


# Windows


@given(st.integers(1, 30), st.integers(0, 1000))
def test_windows_agree_with_looking_at_each_one(hours: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.where(random.random((1, 60)) < 0.3, np.nan, random.normal(0, 10, (1, 60)))
    for place in range(60):
        window = values[0, max(0, place - hours + 1) : place + 1]
        known = window[~np.isnan(window)]
        mean = rolling_mean(values, hours)[0, place]
        assert mean == pytest.approx(known.mean()) if len(known) >= max(1, hours // 4) else np.isnan(mean)
        highest, lowest = rolling_highest(values, hours)[0, place], rolling_lowest(values, hours)[0, place]
        assert (highest, lowest) == (known.max(), known.min()) if len(known) else np.isnan([highest, lowest]).all()


def test_the_newest_value_counts_until_it_is_too_old() -> None:
    found, age = last_known(np.array([[1.0, np.nan, np.nan, 4.0, np.nan]]), 1)
    np.testing.assert_array_equal(found, [[1.0, 1.0, np.nan, 4.0, 4.0]])
    assert age.tolist() == [[0, 1, 2, 0, 1]]


def test_the_dew_point_of_saturated_air_is_its_temperature() -> None:
    np.testing.assert_allclose(dew_point(np.array([20.0, -5.0]), np.array([100.0, 100.0])), [20.0, -5.0])
    assert dew_point(np.array([20.0]), np.array([50.0]))[0] == pytest.approx(
        9.3, abs=0.1
    )  # as psychrometric tables say
