"""Holds the indices against what others published, and writes the section "Indices" of docs/airquality-accuracy.md.

`python -m tests.airquality.accuracy`; GEOMESH_SHARED_DATA names the folder of the data sets. The tests of the indices hold the same comparisons to what they must be.
"""

import csv
import gzip
import os
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from airquality.index import NONE, category_of, index_of_readings
from airquality.standards import Standard, all_standards, standard_of
from airquality.units import AveragingPeriod, Pollutant, Unit

ROOT: Final = Path(__file__).parents[2]
SHARED: Final = Path(os.environ.get("GEOMESH_SHARED_DATA", ROOT.parent / "shared" / "data"))
DOCUMENT: Final = ROOT / "docs" / "airquality-accuracy.md"

DAY, EIGHT, HOUR = AveragingPeriod.TWENTY_FOUR_HOURS, AveragingPeriod.EIGHT_HOURS, AveragingPeriod.HOUR

# File, pollutant, unit, and the version of us_epa in force.
EPA_FILES: Final = [
    ("mn_2021_pm25", Pollutant.PM25, Unit.MICROGRAMS_PER_CUBIC_METER, "2015"),
    ("tx_houston_2023_pm25", Pollutant.PM25, Unit.MICROGRAMS_PER_CUBIC_METER, "2024"),
    ("ny_2020_ozone", Pollutant.O3, Unit.PARTS_PER_MILLION, "2015"),
    ("ny_2020_co", Pollutant.CO, Unit.PARTS_PER_MILLION, "2015"),
    ("ny_2020_no2", Pollutant.NO2, Unit.PARTS_PER_BILLION, "2015"),
    ("ny_2020_so2", Pollutant.SO2, Unit.PARTS_PER_BILLION, "2015"),
]

# Index, version, file and variant of OpenAQ's transcriptions. It has none of Canada's formula, and of Brazil and Mexico
# it has states and a revision that are not kept here.
TRANSCRIPTIONS: Final = [
    ("us_epa", "2024", "us", ""),
    ("eu_eaqi", "2024", "eu", "new"),
    ("eu_eaqi", "2020", "eu", "old"),
    ("uk_daqi", "2013", "uk", ""),
    ("in_naqi", "2014", "india", ""),
    ("cn_aqi", "2018", "china", ""),
    ("au_nsw_aqc", "2020", "australia", "NSW"),
    ("au_nsw_aqc", "2020", "australia", "NT"),
    ("kr_cai", "2018", "south-korea", ""),
    ("sg_psi", "2014", "singapore", ""),
    ("th_aqi", "2023", "thailand", ""),
]

_PERIODS: Final = {
    "1": HOUR,
    "4": AveragingPeriod.FOUR_HOURS,
    "8": EIGHT,
    "24": DAY,
    "15": AveragingPeriod.FIFTEEN_MINUTES,
}
_UNITS: Final = {
    "ug/m3": Unit.MICROGRAMS_PER_CUBIC_METER,
    "mg/m3": Unit.MILLIGRAMS_PER_CUBIC_METER,
    "mg/m³": Unit.MILLIGRAMS_PER_CUBIC_METER,
    "ppm": Unit.PARTS_PER_MILLION,
    "ppb": Unit.PARTS_PER_BILLION,
}
_NAMES: Final = {"PM2.5": "PM25", "Pb": "LEAD"}


class Compared(NamedTuple):
    """How many values were compared, and which differ, in words."""

    number: int
    different: list[str]


def epa_days(name: str, pollutant: Pollutant, unit: Unit, version: str) -> Compared:
    """Compares every day of one of EPA's files."""
    with gzip.open(SHARED / f"aqi_vectors/epa_daily_{name}.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    (concentration,) = (key for key in rows[0] if key.startswith("Daily") and key.endswith("Concentration"))
    (official,) = (key for key in rows[0] if key.upper().replace(" ", "_") == "DAILY_AQI_VALUE")
    values = [float(row[concentration]) for row in rows]
    return _compared(
        values, _index("us_epa", version, pollutant, 0, unit, values), [int(row[official]) for row in rows]
    )


def airnow_hours(name: str, pollutant: Pollutant) -> Compared:
    """Compares every hour of AirNow's sample that has a valid value: the index and its category."""
    path = ROOT / "data" / f"airnow2020_{name}_aug.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if float(row["nowcast_or_value"]) != -999]
    values = [float(row["nowcast_or_value"]) for row in rows]
    standard = standard_of("us_epa")
    in_force = standard.versions[standard.version_at(datetime(2020, 8, 10, tzinfo=UTC), field="at")].id
    computed = _index("us_epa", in_force, pollutant, AveragingPeriod.NOWCAST, 0, values)
    index = _compared(values, computed, [int(float(row["aqi"])) for row in rows])
    categories = {value: category_of(standard, value).number for value in set(computed)}
    category = _compared(
        values, [categories[value] for value in computed], [int(float(row["category"])) for row in rows]
    )
    return Compared(index.number, index.different + category.different)


def transcription(index: str, version: str, name: str, variant: str) -> Compared:
    """Compares the ends of every band of one of OpenAQ's transcriptions.

    At the upper end the index must be what the transcription gives, or lie in its category where it gives none; at the
    lower end it must lie in the category, just above it where the end belongs to the band below.
    """
    standard = standard_of(index)
    with (SHARED / f"aqi_tables/openaq_{name}.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["variant"] == variant and row["units"] in _UNITS]
    ranks = _ranks(standard, rows)
    uppers = {(row["pollutant"], row["averaging_period"], row["concentration_upper"]) for row in rows}
    levels = standard.categories[-1].highest is not None or index == "au_nsw_aqc"
    count, different = 0, []
    for row in rows:
        for end, given in (("lower", row["concentration_lower"]), ("upper", row["concentration_upper"])):
            shared = (row["pollutant"], row["averaging_period"], given) in uppers and end == "lower"
            begins = index == "au_nsw_aqc"  # there a band has its lower end and not its upper one
            if not given or (begins and end == "upper") or (float(given) == 0 and levels):
                continue
            found = _of_row(standard, version, row, float(given) + (0.001 if shared and not begins else 0.0))
            count += 1
            expected = row["category_upper"] if end == "upper" and not levels else ""
            rank = next(each.number for each in standard.categories if each.highest is None or found <= each.highest)
            wrong = found != int(expected) if expected else rank != ranks[row["category"], row["category_lower"]]
            if found == NONE or wrong:
                what = f"{row['pollutant']} {row['averaging_period']} h {given} {row['units']}"
                different.append(f"{what}: {found if found != NONE else 'none'}, there {expected or row['category']}")
    return Compared(count, different)


def _ranks(standard: Standard, rows: Sequence[dict[str, str]]) -> dict[tuple[str, str], int]:
    """Returns the number of the category of each row, by its name and lowest index."""
    ranks: dict[tuple[str, str], int] = {}
    names: list[str] = []
    for row in rows:
        key = row["category"], row["category_lower"]
        if key in ranks:
            continue
        one_each = len({each.name for each in standard.categories}) == len(standard.categories)
        label = row["category"] if one_each else row["category_lower"]
        if label not in names:
            names.append(label)
        ranks[key] = names.index(label) + 1
    return ranks


def _of_row(standard: Standard, version: str, row: dict[str, str], value: float) -> int:
    pollutant = Pollutant[_NAMES.get(row["pollutant"], row["pollutant"])]
    period = _PERIODS[row["averaging_period"]]
    return _index(standard.index, version, pollutant, period, _UNITS[row["units"]], [value])[0]


def _index(
    index: str, version: str, pollutant: Pollutant, period: int, unit: int, values: Sequence[float]
) -> list[int]:
    standard, number = standard_of(index), len(values)
    computed: list[int] = index_of_readings(
        standard, standard.version_of(version), [pollutant] * number, [period] * number, [unit] * number, values
    ).tolist()
    return computed


def _compared(values: Sequence[float], computed: Sequence[int], official: Sequence[int]) -> Compared:
    wrong = np.flatnonzero(np.asarray(computed) != np.asarray(official)).tolist()
    return Compared(len(values), [f"{values[each]:g}: {computed[each]}, there {official[each]}" for each in wrong])


def _section() -> Iterator[str]:
    yield "Written by `python -m tests.airquality.accuracy`."
    yield ""
    yield "| held against | values | equal |"
    yield "|---|---:|---:|"
    for name, pollutant, unit, version in EPA_FILES:
        yield _row(f"EPA's daily file {name}, `us_epa` {version}", epa_days(name, pollutant, unit, version))
    for name, pollutant in (("PM25", Pollutant.PM25), ("OZONE", Pollutant.O3)):
        yield _row(f"AirNow August 2020, {name}: index and category of every valid hour", airnow_hours(name, pollutant))
    notes = []
    for index, version, name, variant in TRANSCRIPTIONS:
        found = transcription(index, version, name, variant)
        yield _row(f"ends of OpenAQ's bands, {name} {variant or 'all'}, `{index}` {version}", found)
        notes += [f"- `{index}` {version}: {each}" for each in found.different]
    edges = sum(
        len(table.breakpoints)
        for each in all_standards().values()
        for version in each.versions
        for table in version.tables
    )
    yield ""
    yield (
        f"{edges} segments of every table of every version are tested at both ends, one unit beside them and half-way"
        " to it, against an index computed with exact fractions (tests/airquality/test_standards.py)."
    )
    yield ""
    yield "OpenAQ's bands that differ are explained in the file of each version, where the other source is named:"
    yield ""
    yield from notes


def _row(name: str, found: Compared) -> str:
    return f"| {name} | {found.number:,} | {found.number - len(found.different):,} |"


def main() -> None:
    """Writes the section."""
    if not SHARED.is_dir():
        sys.exit(f"the shared data sets are not at {SHARED}")
    text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else "# How right the air is\n"
    if "## Indices" not in text:
        text = text.rstrip() + "\n\n## Indices\n"
    section = "## Indices\n\n" + "\n".join(_section()) + "\n"
    text = re.sub(r"## Indices\n.*?(?=\n## |\Z)", lambda _: section, text, count=1, flags=re.DOTALL)
    DOCUMENT.write_text(text, encoding="utf-8")
    sys.stdout.write(section)


if __name__ == "__main__":
    main()
