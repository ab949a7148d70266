import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airquality.assessment import assess
from airquality.index import NONE, sub_indices
from airquality.standards import Standard, standard_of
from airquality.units import USUAL_UNITS, AveragingPeriod, Pollutant, Unit, to_usual_unit
from meshkit.errors import InvalidInput
from tests.airquality.accuracy import EPA_FILES, SHARED, airnow_hours, epa_days

HERE = Path(__file__).parent
NEEDS_SHARED = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not on this machine")

OLD, NEW = 2, 3
EPA_POLLUTANTS = [each for each in Pollutant if each <= Pollutant.CO]
DAY, EIGHT, HOUR = AveragingPeriod.TWENTY_FOUR_HOURS, AveragingPeriod.EIGHT_HOURS, AveragingPeriod.HOUR


@pytest.fixture
def epa() -> Standard:
    return standard_of("us_epa")


def index_of(
    standard: Standard, version: int, pollutant: Pollutant, period: int, value: float, unit: int | None = None
) -> int:
    """Returns the sub-index of one concentration."""
    factors = standard.versions[version].to_usual
    usual = to_usual_unit(pollutant, USUAL_UNITS[pollutant] if unit is None else unit, value, factors)
    return int(sub_indices(standard, version, [pollutant], [period], usual.reshape(1)).values[0])


def test_equals_the_official_index_of_the_committed_epa_days(epa: Standard) -> None:
    with (HERE / "epa_sample.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    versions = [epa.version_at(datetime.fromisoformat(row["date"]).replace(tzinfo=UTC), field="time") for row in rows]
    pollutant = [Pollutant[row["pollutant"]] for row in rows]
    usual = to_usual_unit(pollutant, [Unit[row["unit"]] for row in rows], [float(row["concentration"]) for row in rows])
    computed = sub_indices(epa, versions, pollutant, [AveragingPeriod[row["averaging_period"]] for row in rows], usual)
    assert len(rows) > 400
    assert computed.values.tolist() == [int(row["aqi"]) for row in rows]


@pytest.mark.parametrize(
    ("name", "pollutant"), [("PM25", Pollutant.PM25), ("OZONE", Pollutant.O3)], ids=["PM2.5", "ozone"]
)
def test_equals_the_official_index_and_category_of_every_airnow_hour(name: str, pollutant: Pollutant) -> None:
    found = airnow_hours(name, pollutant)
    assert found.number > 140_000
    assert not found.different


@NEEDS_SHARED
@pytest.mark.parametrize(("name", "pollutant", "unit", "version"), EPA_FILES)
def test_equals_the_official_index_of_every_epa_day(name: str, pollutant: Pollutant, unit: Unit, version: str) -> None:
    found = epa_days(name, pollutant, unit, version)
    assert found.number > 1000
    assert not found.different


@pytest.mark.parametrize(("concentration", "expected"), [(15, 62), (80, 168), (200, 275), (400, 649), (1000, 1844)])
def test_pm25_of_2024_goes_on_above_500(epa: Standard, concentration: float, expected: int) -> None:
    assert index_of(epa, NEW, Pollutant.PM25, DAY, concentration) == expected


@pytest.mark.parametrize(("version", "expected"), [(OLD, 400), (NEW, 389)])
def test_the_hazardous_band_had_two_segments_before_2024(epa: Standard, version: int, expected: int) -> None:
    assert index_of(epa, version, Pollutant.PM10, DAY, 504) == expected


def test_what_is_below_zero_counts_as_zero(epa: Standard) -> None:
    assert index_of(epa, NEW, Pollutant.PM25, DAY, -14.8) == 0


@pytest.mark.parametrize(("one_hour", "day", "expected"), [(305, None, 200), (1000, 304, 200), (400, 305, 201)])
def test_an_hour_of_sulfur_dioxide_defines_no_more_than_200(
    epa: Standard, one_hour: float, day: float | None, expected: int
) -> None:
    values = [(HOUR, one_hour)] + ([] if day is None else [(DAY, day)])
    (result,) = assess(
        epa, [NEW], [len(values)], [Pollutant.SO2] * len(values), [v[0] for v in values], [v[1] for v in values]
    )
    assert result is not None
    assert result.value == expected


@pytest.mark.parametrize(
    ("eight_hours", "one_hour", "expected"), [(60, 124, 67), (60, 125, 101), (250, None, 300), (250, 500, 396)]
)
def test_ozone_takes_the_higher_of_eight_hours_and_one(
    epa: Standard, eight_hours: float, one_hour: float | None, expected: int
) -> None:
    values = [(EIGHT, eight_hours)] + ([] if one_hour is None else [(HOUR, one_hour)])
    (result,) = assess(
        epa, [NEW], [len(values)], [Pollutant.O3] * len(values), [v[0] for v in values], [v[1] for v in values]
    )
    assert result is not None
    assert result.value == expected


def test_an_hour_of_ozone_has_no_index_below_its_table(epa: Standard) -> None:
    assert index_of(epa, NEW, Pollutant.O3, HOUR, 124.9) == NONE


def test_particles_have_no_index_by_the_hour(epa: Standard) -> None:
    assert index_of(epa, NEW, Pollutant.PM25, HOUR, 12.0) == NONE


def test_the_dominant_pollutant_has_the_highest_sub_index(epa: Standard) -> None:
    (result,) = assess(epa, [NEW], [3], [Pollutant.NO2, Pollutant.PM25, Pollutant.CO], [0, 0, 0], [54.0, 200.0, 1.0])
    assert result is not None
    assert (result.dominant, result.value, result.category.name) == (Pollutant.PM25, 275, "Very Unhealthy")
    assert [each.pollutant for each in result.sub_indices] == [Pollutant.PM25, Pollutant.NO2, Pollutant.CO]


def test_many_places_are_assessed_as_if_one_by_one(epa: Standard) -> None:
    codes = [Pollutant.PM25, Pollutant.O3, Pollutant.O3]
    results = assess(epa, [OLD, NEW, NEW], [1, 2, 0], codes, [0, 0, HOUR], [12.0, 71.0, 20.0])
    assert [None if each is None else each.value for each in results] == [50, 101, None]


def test_a_table_is_in_force_from_its_date_on(epa: Standard) -> None:
    change = datetime(2024, 5, 6, tzinfo=UTC)
    assert epa.versions[epa.version_at(change, field="at")].id == "2024"
    assert epa.versions[epa.version_at(change - timedelta(microseconds=1), field="at")].id == "2015"


def test_refuses_a_time_before_the_oldest_table(epa: Standard) -> None:
    with pytest.raises(InvalidInput, match=r"at: is before 2010-08-23"):
        epa.version_at(datetime(2010, 8, 22, tzinfo=UTC), field="at")


@given(st.lists(st.tuples(st.sampled_from(EPA_POLLUTANTS), st.floats(-20, 5000)), min_size=1, max_size=20))
def test_a_whole_array_gives_what_its_elements_give(pairs: list[tuple[Pollutant, float]]) -> None:
    standard = standard_of("")
    together = sub_indices(standard, NEW, [p for p, _ in pairs], [0] * len(pairs), [v for _, v in pairs]).values
    alone = [int(sub_indices(standard, NEW, [p], [0], [v]).values[0]) for p, v in pairs]
    assert together.tolist() == alone
