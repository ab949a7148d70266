"""The tables of all indices, each held against the same table computed with exact fractions."""

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airquality.assessment import Assessment, assess
from airquality.index import NONE, category_of, index_of_readings, sub_indices
from airquality.standards import Beyond, Rounding, Standard, Table, all_standards, read_standard, standard_of
from airquality.units import USUAL_UNITS, AveragingPeriod, Pollutant, Unit
from tests.airquality.accuracy import SHARED, TRANSCRIPTIONS, transcription

NEEDS_SHARED = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not on this machine")

TABLES = [
    (standard, place, table)
    for standard in all_standards().values()
    for place, version in enumerate(standard.versions)
    for table in version.tables
    if table.breakpoints
]
TABLE_NAMES = [f"{s.index}-{s.versions[v].id}-{t.pollutant.name}-{t.averaging_period.name}" for s, v, t in TABLES]
EVERY_TABLE = pytest.mark.parametrize(("standard", "version", "table"), TABLES, ids=TABLE_NAMES)

PM25, PM10, O3, NO2, SO2, CO = (Pollutant(code) for code in range(1, 7))
HOUR, EIGHT, DAY = AveragingPeriod.HOUR, AveragingPeriod.EIGHT_HOURS, AveragingPeriod.TWENTY_FOUR_HOURS


def computed(standard: Standard, version: int, table: Table, values: list[Fraction]) -> list[int]:
    """Returns the indices of concentrations in the unit of their table."""
    found: list[int] = index_of_readings(
        standard,
        version,
        [table.pollutant] * len(values),
        [table.averaging_period] * len(values),
        [table.unit] * len(values),
        [float(each) for each in values],
    ).tolist()
    return found


def exact(table: Table, value: Fraction) -> int:
    """Returns the index that a table gives a concentration, in fractions, segment by segment."""
    step = Fraction(str(table.precision))
    half = Fraction(1, 2) if table.concentration_rounding is Rounding.HALF_UP else 0
    concentration = max(math.floor(value / step + half), 0) * step
    segments = [(Fraction(str(low)), Fraction(str(high)), first, last) for low, high, first, last in table.breakpoints]
    if concentration < segments[0][0]:
        return NONE
    inside = [each for each in segments if concentration <= each[1]]
    if not inside and table.beyond is not Beyond.EXTRAPOLATED:
        return NONE if table.index_beyond is None else table.index_beyond
    low, high, first, last = inside[0] if inside else segments[-1]
    index = first + (last - first) * (concentration - low) / (high - low)
    return math.ceil(index) if table.index_rounding is Rounding.UP else math.floor(index + Fraction(1, 2))


def assessed(index: str, version: str, **values: float | tuple[AveragingPeriod, float]) -> Assessment | None:
    """Returns the index of concentrations by pollutant, in its tables' units; alone or with its averaging period."""
    standard = standard_of(index)
    place = standard.version_of(version)
    rules, tables = standard.versions[place].rules, standard.versions[place].tables
    rows = []
    for name, told in values.items():
        pollutant = Pollutant[name.partition("_")[0]]
        period, value = told if isinstance(told, tuple) else (rules[pollutant].daily[0], told)
        (unit,) = (each.unit for each in tables if (each.pollutant, each.averaging_period) == (pollutant, period))
        rows.append((pollutant, period, value * standard.versions[place].to_usual[pollutant, unit]))
    return assess(standard, [place], [len(rows)], *([row[column] for row in rows] for column in range(3)))[0]


def value_of(found: Assessment | None) -> int:
    """Returns the value of an index."""
    assert found is not None
    return found.value


@EVERY_TABLE
def test_every_band_edge_has_its_index_and_so_has_what_lies_around_it(
    standard: Standard, version: int, table: Table
) -> None:
    step = Fraction(str(table.precision))
    ends = {Fraction(str(end)) for each in table.breakpoints for end in each[:2]}
    shares = [Fraction(each) for each in ("-1", "-0.51", "-0.5", "-0.49", "0", "0.49", "0.5", "0.51", "0.99", "1", "2")]
    values = [end + share * step for end in sorted(ends) for share in shares]
    assert computed(standard, version, table, values) == [exact(table, value) for value in values]


@EVERY_TABLE
def test_every_band_ends_with_the_index_that_is_printed(standard: Standard, version: int, table: Table) -> None:
    highs = [Fraction(str(each.highest_concentration)) for each in table.breakpoints]
    assert computed(standard, version, table, highs) == [each.highest_index for each in table.breakpoints]


@EVERY_TABLE
def test_the_index_never_falls_when_the_concentration_rises(standard: Standard, version: int, table: Table) -> None:
    top = table.breakpoints[-1].highest_concentration
    values = [Fraction(str(value)) for value in np.linspace(0.0, top * 2, 5000).round(5).tolist()]
    found = np.array(computed(standard, version, table, values))
    found = found[: np.flatnonzero(found != NONE)[-1] + 1]  # what lies above, if it has none, is another period's
    assert (np.diff(found) >= 0).all()


@EVERY_TABLE
def test_the_index_stays_within_its_categories(standard: Standard, version: int, table: Table) -> None:
    for each in table.breakpoints:
        for index in (each.lowest_index, each.highest_index):
            band = category_of(standard, index)
            assert index >= band.lowest
            assert band.highest is None or index <= band.highest


@EVERY_TABLE
def test_what_is_below_zero_counts_as_zero(standard: Standard, version: int, table: Table) -> None:
    below, zero = computed(standard, version, table, [-3 * Fraction(str(table.precision)), Fraction(0)])
    assert below == zero


@given(st.sampled_from(TABLES), st.fractions(0, 2000, max_denominator=1000))
def test_any_concentration_has_the_index_of_exact_arithmetic(
    chosen: tuple[Standard, int, Table], value: Fraction
) -> None:
    standard, version, table = chosen
    steps = value / Fraction(str(table.precision)) * 2
    if steps.denominator != 1 and abs(steps - round(steps)) < Fraction(1, 10_000):
        return  # so near to where it is rounded that the tolerance decides
    assert computed(standard, version, table, [value]) == [exact(table, value)]


@given(st.sampled_from(TABLES), st.lists(st.floats(-20, 5000), min_size=1, max_size=20))
def test_a_whole_array_gives_what_its_elements_give(chosen: tuple[Standard, int, Table], values: list[float]) -> None:
    standard, version, table = chosen
    fractions = [Fraction(value) for value in values]
    alone = [computed(standard, version, table, [each])[0] for each in fractions]
    assert computed(standard, version, table, fractions) == alone


def test_what_has_no_number_has_no_index() -> None:
    standard = standard_of("")
    assert sub_indices(standard, 3, [PM25, O3], [0, 0], [math.nan, math.nan]).values.tolist() == [NONE, NONE]
    assert index_of_readings(standard, 3, [PM10], [0], [Unit.PARTS_PER_BILLION], [1.0]).tolist() == [NONE]


@NEEDS_SHARED
@pytest.mark.parametrize(("index", "version", "name", "variant"), TRANSCRIPTIONS)
def test_differs_from_openaq_only_where_the_file_of_the_version_says_why(
    index: str, version: str, name: str, variant: str
) -> None:
    found = transcription(index, version, name, variant)
    # us_epa: periods of SO2 and O3; in_naqi and sg_psi: the first unit above a bound rounds to it, hours of O3, PM10's
    # third band; cn_aqi: what is left to another period.
    assert found.number >= 24
    assert len(found.different) == {"us_epa": 5, "in_naqi": 17, "cn_aqi": 2, "sg_psi": 10}.get(index, 0), (
        found.different
    )


# What the indices are made of beside tables


def test_there_are_ten_indices_and_each_says_where_it_is_from() -> None:
    standards = all_standards()
    assert set(standards) == {
        *("us_epa", "eu_eaqi", "uk_daqi", "in_naqi", "cn_aqi", "ca_aqhi"),
        *("au_nsw_aqc", "kr_cai", "sg_psi", "th_aqi"),
    }
    for standard in standards.values():
        assert all(version.source for version in standard.versions)
        for category in standard.categories:
            assert all(category.advice), (standard.index, category.name)


def test_canada_adds_up_what_three_pollutants_do() -> None:
    found = assessed("ca_aqhi", "2008", NO2=20.0, O3=30.0, PM25=10.0)
    parts = {O3: 30 * 0.000537, NO2: 20 * 0.000871, PM25: 10 * 0.000487}
    expected = 1000 / 10.4 * sum(math.exp(part) - 1 for part in parts.values())
    assert found is not None
    assert (found.value, round(expected)) == (4, 4)
    assert (found.dominant, found.category.name) == (NO2, "Moderate")
    assert [(each.pollutant, each.value) for each in found.sub_indices] == [(NO2, 2), (O3, 2), (PM25, 0)]


def test_canada_tells_no_less_than_one_and_goes_on_above_ten() -> None:
    assert value_of(assessed("ca_aqhi", "2008", NO2=0.0, O3=0.0, PM25=0.0)) == 1
    smoke = assessed("ca_aqhi", "2008", NO2=30.0, O3=40.0, PM25=400.0)
    assert smoke is not None
    assert (smoke.value, smoke.category.name, smoke.category.color) == (25, "Very High", "#660000")


def test_canada_has_no_index_without_all_three() -> None:
    assert assessed("ca_aqhi", "2008", NO2=20.0, O3=30.0) is None


def test_korea_adds_points_where_several_pollutants_are_unhealthy() -> None:
    clean = {"PM10": 20.0, "PM25": 10.0, "NO2": 0.01, "O3": 0.02}
    assert value_of(assessed("kr_cai", "2018", **clean)) == 33
    assert value_of(assessed("kr_cai", "2018", **clean | {"PM25": 36.0})) == 101
    assert value_of(assessed("kr_cai", "2018", **clean | {"PM25": 36.0, "PM10": 81.0})) == 151
    assert value_of(assessed("kr_cai", "2018", **clean | {"PM25": 36.0, "PM10": 81.0, "O3": 0.091})) == 176
    assert assessed("kr_cai", "2018", PM25=36.0, PM10=81.0) is None


def test_india_needs_three_pollutants_and_particles_among_them() -> None:
    assert value_of(assessed("in_naqi", "2014", PM25=75.0, NO2=30.0, SO2=20.0)) == 150
    assert assessed("in_naqi", "2014", PM25=75.0, NO2=30.0) is None
    assert assessed("in_naqi", "2014", O3=75.0, NO2=30.0, SO2=20.0) is None


@pytest.mark.parametrize(("concentration", "expected"), [(380.0, 500), (900.0, 500), (315.0, 450), (250.0, 400)])
def test_india_ends_at_500(concentration: float, expected: int) -> None:
    assert value_of(assessed("in_naqi", "2014", PM25=concentration, NO2=30.0, SO2=20.0)) == expected


def test_china_rounds_up_and_names_no_primary_pollutant_in_excellent_air() -> None:
    excellent, good = assessed("cn_aqi", "2018", PM25=35.0), assessed("cn_aqi", "2018", PM25=35.1)
    assert excellent is not None
    assert good is not None
    assert (excellent.value, excellent.dominant) == (50, None)
    assert (good.value, good.dominant) == (51, PM25)


def test_china_leaves_high_sulfur_dioxide_to_the_day_and_ozone_to_the_hour() -> None:
    assert assessed("cn_aqi", "2018", SO2=(HOUR, 801.0)) is None
    assert value_of(assessed("cn_aqi", "2018", SO2_hour=(HOUR, 801.0), SO2_day=(DAY, 900.0))) == 213
    assert assessed("cn_aqi", "2018", O3=(EIGHT, 801.0)) is None
    assert value_of(assessed("cn_aqi", "2018", O3_eight=(EIGHT, 801.0), O3_hour=(HOUR, 900.0))) == 350


@pytest.mark.parametrize(("version", "expected"), [("2012", 84), ("2018", 84), ("2026", 102)])
def test_china_judges_particles_harder_since_2026_and_that_table_is_provisional(version: str, expected: int) -> None:
    assert value_of(assessed("cn_aqi", version, PM25=62.0)) == expected
    standard = standard_of("cn_aqi")
    assert standard.versions[standard.version_of(version)].provisional is (version == "2026")


def test_europe_changed_hours_for_days_of_particles_in_2024() -> None:
    assert value_of(assessed("eu_eaqi", "2024", PM25=(HOUR, 5.0))) == 1
    assert value_of(assessed("eu_eaqi", "2024", PM25=(HOUR, 5.1))) == 2
    assert value_of(assessed("eu_eaqi", "2020", PM25=(DAY, 10.0))) == 1
    worst = assessed("eu_eaqi", "2024", PM25=1.0, NO2=151.0, O3=30.0)
    assert worst is not None
    assert (worst.value, worst.dominant, worst.category.name) == (6, NO2, "Extremely poor")


@pytest.mark.parametrize(
    ("concentration", "expected"), [(11.4, 1), (11.5, 2), (35.4, 3), (35.5, 4), (70.4, 9), (70.5, 10)]
)
def test_the_united_kingdom_rounds_to_whole_micrograms(concentration: float, expected: int) -> None:
    assert value_of(assessed("uk_daqi", "2013", PM25=concentration)) == expected


def test_singapore_has_no_index_of_little_nitrogen_dioxide() -> None:
    assert assessed("sg_psi", "2014", NO2=1129.0) is None
    assert value_of(assessed("sg_psi", "2014", NO2=1695.0)) == 250


@pytest.mark.parametrize(
    ("index", "version", "pollutant", "expected"),
    [
        ("us_epa", "2024", O3, 1.9619),  # 25 °C, 40 CFR 50
        ("us_epa", "2024", NO2, 1.8805),
        ("eu_eaqi", "2024", O3, 1.9959),  # 293 K and 101.3 kPa, 2008/50/EC annex VI
        ("eu_eaqi", "2024", NO2, 1.9130),
        ("uk_daqi", "2013", O3, 1.9957),  # UK-AIR's own factors
        ("uk_daqi", "2013", SO2, 2.6609),
        ("cn_aqi", "2012", SO2, 2.8583),  # 0 °C
        ("cn_aqi", "2018", SO2, 2.6187),  # 25 °C
        ("au_nsw_aqc", "2020", NO2, 2.0526),  # 0 °C
    ],
)
def test_gases_are_converted_as_each_index_does(
    index: str, version: str, pollutant: Pollutant, expected: float
) -> None:
    standard = standard_of(index)
    factors = standard.versions[standard.version_of(version)].to_usual[pollutant]
    assert factors[Unit.PARTS_PER_BILLION] / factors[Unit.MICROGRAMS_PER_CUBIC_METER] == pytest.approx(
        expected, abs=3e-4
    )
    assert factors[USUAL_UNITS[pollutant]] == 1.0


def test_parts_per_billion_reach_an_index_in_micrograms_through_its_own_conditions() -> None:
    # 100 µg/m³ of NO2 end level 4; they are 52.27 ppb at 20 °C and would be 53.18 ppb at 25 °C.
    standard = standard_of("eu_eaqi")
    ppb = [Unit.PARTS_PER_BILLION] * 2
    assert index_of_readings(standard, 1, [NO2] * 2, [HOUR] * 2, ppb, [52.2, 52.4]).tolist() == [4, 5]


# Files

INDEX = """
index = "mine"
name = "My Index"
authority = "Mine"
[advice.any]
general = "a"
sensitive_groups = "b"
children = "c"
older_people = "d"
asthma_and_lung = "e"
heart = "f"
outdoor_work = "g"
[[category]]
name = "Fine"
color = "#00ff00"
lowest = 0
highest = 9
advice = "any"
[[category]]
name = "Foul"
color = "#ff0000"
lowest = 10
advice = "any"
"""
VERSION = """
id = "1"
effective = 2020-01-01T00:00:00Z
source = "nowhere"
[conversion]
temperature_celsius = 20.0
pressure_hpa = 1013.25
[pollutants.PM25]
current = ["HOUR"]
daily = ["HOUR"]
[[table]]
pollutant = "PM25"
averaging_period = "HOUR"
unit = "MICROGRAMS_PER_CUBIC_METER"
precision = 1
concentration = "round"
above = "extrapolate"
points = [[0, 0], [100, 10]]
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Standard]:
    """Returns what writes an index into files, with some texts replaced, and reads it."""

    def write(*replaced: tuple[str, str]) -> Standard:
        for name, text in (("index.toml", INDEX), ("1.toml", VERSION)):
            changed = text
            for old, new in replaced:
                changed = changed.replace(old, new)
            (tmp_path / name).write_text(changed, encoding="utf-8")
        return read_standard(tmp_path)

    return write


def test_an_index_is_added_by_its_files_alone(written: Callable[..., Standard], tmp_path: Path) -> None:
    standard = written()
    (result,) = assess(standard, [0], [1], [PM25], [0], [94.6])
    assert result is not None
    assert (result.value, result.category.name, result.category.advice.heart) == (10, "Foul", "f")
    newer = VERSION.replace("[100, 10]", "[50, 10]").replace('"1"', '"2"').replace("2020-01-01", "2021-01-01")
    (tmp_path / "2.toml").write_text(newer, encoding="utf-8")
    versions = read_standard(tmp_path).versions
    assert [version.id for version in versions] == ["1", "2"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('heart = "f"', "", "heart"),
        ('color = "#ff0000"', 'color = "red"', "color"),
        ("lowest = 10", "lowest = 11", "category"),
        ('advice = "any"', 'advice = "none"', "none"),
        ('source = "nowhere"', "", "source"),
        ("[[0, 0], [100, 10]]", "[[0, 0], [100, 10], [90, 12]]", "do not rise"),
        ('"extrapolate"', "9", "above"),
        ('daily = ["HOUR"]', 'daily = ["EIGHT_HOURS"]', "EIGHT_HOURS"),
        ('pollutant = "PM25"', 'pollutant = "PM10"', "different pollutants"),
        ('pollutant = "PM25"', 'pollutant = "SMOKE"', "SMOKE"),
    ],
)
def test_refuses_a_file_that_lacks_something_or_contradicts_itself(
    written: Callable[..., Standard], old: str, new: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        written((old, new))
    assert ".toml" in str(refused.value)
