import csv
import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airquality.assessment import assess
from airquality.index import NONE, category_of, sub_indices
from airquality.standards import Standard, Table, all_standards, standard_of
from airquality.units import USUAL_UNITS, AveragingPeriod, Pollutant, Unit, to_usual_unit
from meshkit.errors import InvalidInput

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "data"
SHARED = HERE.parents[2] / "shared" / "data"
NEEDS_SHARED = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not on this machine")

OLD, NEW = 0, 1
DAY, EIGHT, HOUR = AveragingPeriod.TWENTY_FOUR_HOURS, AveragingPeriod.EIGHT_HOURS, AveragingPeriod.HOUR
TABLES = [
    (standard, place, table)
    for standard in all_standards().values()
    for place, version in enumerate(standard.versions)
    for table in version.tables
]
TABLE_NAMES = [f"{s.index}-{s.versions[v].id}-{t.pollutant.name}-{t.averaging_period.name}" for s, v, t in TABLES]


@pytest.fixture
def epa() -> Standard:
    return standard_of("us_epa")


def index_of(
    standard: Standard, version: int, pollutant: Pollutant, period: int, value: float, unit: int | None = None
) -> int:
    """Returns the sub-index of one concentration."""
    usual = to_usual_unit(pollutant, USUAL_UNITS[pollutant] if unit is None else unit, value)
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
def test_equals_the_official_index_and_category_of_every_airnow_hour(
    epa: Standard, name: str, pollutant: Pollutant
) -> None:
    with gzip.open(DATA / f"airnow2020_{name}_aug.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if float(row["nowcast_or_value"]) != -999]
    values = [float(row["nowcast_or_value"]) for row in rows]
    version = epa.version_at(datetime(2020, 8, 10, tzinfo=UTC), field="at")
    computed = sub_indices(epa, version, [pollutant] * len(rows), [AveragingPeriod.NOWCAST] * len(rows), values).values
    assert len(rows) > 140_000
    assert np.array_equal(computed, [float(row["aqi"]) for row in rows])
    categories = {value: category_of(epa, value).number for value in np.unique(computed).tolist()}
    assert all(categories[value] == float(row["category"]) for value, row in zip(computed.tolist(), rows, strict=True))


@NEEDS_SHARED
@pytest.mark.parametrize(
    ("name", "pollutant", "unit", "version"),
    [
        ("mn_2021_pm25", Pollutant.PM25, Unit.MICROGRAMS_PER_CUBIC_METER, OLD),
        ("tx_houston_2023_pm25", Pollutant.PM25, Unit.MICROGRAMS_PER_CUBIC_METER, NEW),
        ("ny_2020_ozone", Pollutant.O3, Unit.PARTS_PER_MILLION, OLD),
        ("ny_2020_co", Pollutant.CO, Unit.PARTS_PER_MILLION, OLD),
        ("ny_2020_no2", Pollutant.NO2, Unit.PARTS_PER_BILLION, OLD),
        ("ny_2020_so2", Pollutant.SO2, Unit.PARTS_PER_BILLION, OLD),
    ],
)
def test_equals_the_official_index_of_every_epa_day(
    epa: Standard, name: str, pollutant: Pollutant, unit: Unit, version: int
) -> None:
    with gzip.open(SHARED / f"aqi_vectors/epa_daily_{name}.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    (concentration,) = (key for key in rows[0] if key.startswith("Daily") and key.endswith("Concentration"))
    (official,) = (key for key in rows[0] if key.upper().replace(" ", "_") == "DAILY_AQI_VALUE")
    number = len(rows)
    usual = to_usual_unit([pollutant] * number, [unit] * number, [float(row[concentration]) for row in rows])
    computed = sub_indices(epa, version, [pollutant] * number, [0] * number, usual)
    assert computed.values.tolist() == [int(row[official]) for row in rows]


@NEEDS_SHARED
def test_the_2024_table_agrees_with_the_transcription_of_openaq(epa: Standard) -> None:
    names = {"PM2.5": "PM25"}
    units = {"ug/m3": Unit.MICROGRAMS_PER_CUBIC_METER, "ppm": Unit.PARTS_PER_MILLION, "ppb": Unit.PARTS_PER_BILLION}
    compared = 0
    with (SHARED / "aqi_tables/openaq_us.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            empty = not row["concentration_upper"] and row["category_upper"]  # ozone by the hour below 0.125 ppm
            if not row["concentration_lower"] or empty:
                continue
            pollutant, unit = Pollutant[names.get(row["pollutant"], row["pollutant"])], units[row["units"]]
            # OpenAQ has the 24-hour table of SO2 under one hour.
            defined = {table.averaging_period for table in epa.versions[NEW].tables if table.pollutant == pollutant}
            period = {"1": HOUR, "8": EIGHT, "24": DAY}[row["averaging_period"]]
            if pollutant is Pollutant.SO2 and int(row["category_lower"]) > 200:
                period = DAY
            assert period in defined
            low = float(row["concentration_lower"])
            # What is 301 by eight hours of ozone is left to the hour, which defines it.
            if pollutant is Pollutant.O3 and period is EIGHT and int(row["category_lower"]) > 300:
                continue
            assert index_of(epa, NEW, pollutant, period, low, unit) == int(row["category_lower"])
            if row["concentration_upper"] and row["category_upper"]:
                high = float(row["concentration_upper"])
                assert index_of(epa, NEW, pollutant, period, high, unit) == int(row["category_upper"])
            compared += 1
    assert compared > 30


@pytest.mark.parametrize(("standard", "version", "table"), TABLES, ids=TABLE_NAMES)
def test_every_band_begins_and_ends_where_the_table_says(standard: Standard, version: int, table: Table) -> None:
    step = table.truncate_to
    for each in table.breakpoints:

        def at(concentration: float) -> int:
            return index_of(standard, version, table.pollutant, table.averaging_period, concentration, table.unit)

        assert at(each.lowest_concentration) == each.lowest_index
        assert at(each.highest_concentration) == each.highest_index
        # Truncation: what lies between the bands belongs to the lower one.
        assert at(each.highest_concentration + step * 0.99) == each.highest_index
        if each is not table.breakpoints[-1]:
            assert at(each.highest_concentration + step) == each.highest_index + 1
        elif table.extrapolates:
            assert at(each.highest_concentration + 100 * step) > each.highest_index
        else:
            assert at(each.highest_concentration + 100 * step) == each.highest_index


@pytest.mark.parametrize(("standard", "version", "table"), TABLES, ids=TABLE_NAMES)
def test_the_index_never_falls_when_the_concentration_rises(standard: Standard, version: int, table: Table) -> None:
    top = table.breakpoints[-1].highest_concentration * 2
    concentrations = np.arange(0.0, top, table.truncate_to / 3)
    number = len(concentrations)
    usual = to_usual_unit([table.pollutant] * number, [table.unit] * number, concentrations)
    values = sub_indices(standard, version, [table.pollutant] * number, [table.averaging_period] * number, usual).values
    assert (np.diff(values) >= 0).all()


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
    with pytest.raises(InvalidInput, match=r"at: is before 2015-12-28"):
        epa.version_at(datetime(2015, 12, 27, tzinfo=UTC), field="at")


@given(st.lists(st.tuples(st.sampled_from(list(Pollutant)), st.floats(-20, 5000)), min_size=1, max_size=20))
def test_a_whole_array_gives_what_its_elements_give(pairs: list[tuple[Pollutant, float]]) -> None:
    standard = standard_of("")
    together = sub_indices(standard, NEW, [p for p, _ in pairs], [0] * len(pairs), [v for _, v in pairs]).values
    alone = [int(sub_indices(standard, NEW, [p], [0], [v]).values[0]) for p, v in pairs]
    assert together.tolist() == alone
