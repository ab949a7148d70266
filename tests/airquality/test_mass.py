"""Gases that were reported as mass are what each index makes of that mass, also in the past; the rest of the memory does not see it."""

import numpy as np
import pytest

from airquality.blocks import BY_MASS, HOUR, Slots, grid
from airquality.history import LEAD_HOURS, Hours, history_of, span, versions_at
from airquality.intervals import Granularity, edges_of
from airquality.readings import Readings
from airquality.standards import standard_of
from airquality.units import TO_USUAL, AveragingPeriod, Pollutant, Unit
from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.postgres import Postgres
from tests.airquality.conftest import CO, NO2, O3, PM25, Caller, at, reading, station

MASS, PPB = pb.UNIT_MICROGRAMS_PER_CUBIC_METER, pb.UNIT_PARTS_PER_BILLION
# The EU's NO2 is moderate from 25 µg/m³ on, at 20 °C. At 25 °C, which the usual unit is of, 24.8 µg/m³ are 13.18 ppb, and
# these at 20 °C 25.2 µg/m³.
VALUE = 24.8
AS_PPB = VALUE * float(TO_USUAL[Pollutant.NO2, Unit.MICROGRAMS_PER_CUBIC_METER])
FAIR, MODERATE = 2, 3


async def two_stations(acme: Caller) -> None:
    """Has two stations report the same NO2, as mass and as parts per billion."""
    await acme.register(station("mass"), station("volume", lat=50.0))
    await acme.ingest(
        *(reading(hour, VALUE - hour % 2 / 10, "mass", NO2, unit=MASS) for hour in range(24)),
        *(reading(hour, AS_PPB - hour % 2 / 20, "volume", NO2, unit=PPB) for hour in range(24)),
    )


@pytest.mark.parametrize("granularity", [pb.GRANULARITY_HOURLY, pb.GRANULARITY_DAILY])
async def test_history_makes_of_mass_what_an_index_at_another_temperature_does(
    acme: Caller, granularity: pb.Granularity.ValueType
) -> None:
    await two_stations(acme)
    for name, expected, concentration in (("mass", FAIR, 12.94), ("volume", MODERATE, 13.16)):
        found = await acme.history(
            0, 24, station_id=name, index="eu_eaqi", index_version="2024", granularity=granularity
        )
        assert found.intervals
        for interval in found.intervals:
            (no2,) = interval.pollutants
            assert (interval.index_value, no2.sub_index, no2.flagged_hour_count) == (expected, expected, 0)
            assert no2.mean == pytest.approx(concentration, abs=0.05)


async def test_the_past_of_a_place_and_its_history_agree(acme: Caller) -> None:
    await two_stations(acme)
    for lat, expected in ((40.0, FAIR), (50.0, MODERATE)):
        found = await acme.current(lat, hours=20.5, index="eu_eaqi", index_version="2024")
        assert found.index.value == expected


async def test_the_mark_is_kept_for_gases_given_as_mass_alone_and_is_no_flag(acme: Caller, database: Postgres) -> None:
    await acme.register(station())
    await acme.ingest(
        reading(0, 30.0, pollutant=PM25, unit=MASS),
        reading(0, 60.0, pollutant=O3, unit=MASS),
        reading(1, 30.0, pollutant=O3, unit=PPB),
        reading(0, 1.0, pollutant=CO, unit=pb.UNIT_MILLIGRAMS_PER_CUBIC_METER),
    )
    rows = await database.fetch("SELECT pollutant, hours, flagged_count FROM airquality.days ORDER BY pollutant")
    marks = {row["pollutant"]: np.frombuffer(row["hours"], dtype=HOUR)["flags"][:3].tolist() for row in rows}
    assert marks == {PM25: [0, 0, 0], O3: [BY_MASS, 0, 0], CO: [BY_MASS, 0, 0]}
    assert [row["flagged_count"] for row in rows] == [0, 0, 0]
    assert not any(each.flags for each in (await acme.readings(station_id="here")).readings)
    # A correction in another unit takes it away again.
    await acme.ingest(reading(0, 30.0, pollutant=O3, unit=PPB))
    row = await database.fetchrow("SELECT hours FROM airquality.days WHERE pollutant = $1", O3)
    assert row is not None
    assert not np.frombuffer(row["hours"], dtype=HOUR)["flags"].any()


@pytest.mark.parametrize(
    ("unit", "expected"), [(Unit.MICROGRAMS_PER_CUBIC_METER, FAIR), (Unit.PARTS_PER_BILLION, MODERATE)]
)
def test_the_mark_alone_makes_the_difference(unit: Unit, expected: int) -> None:
    standard = standard_of("eu_eaqi")
    edges = edges_of(at(0), at(1), Granularity.HOURLY, "")
    first_hour, count = span(edges)
    value = VALUE if unit == Unit.MICROGRAMS_PER_CUBIC_METER else AS_PPB
    station_number, pollutant, period, code, time = (
        np.array([each]) for each in (1, Pollutant.NO2, AveragingPeriod.HOUR, unit, int(edges[0]))
    )
    readings = Readings(station_number, pollutant, period, code, time, np.array([value]))
    slots = Slots.of(readings, np.zeros(1, dtype=np.int64))
    assert slots.value[0] == pytest.approx(AS_PPB)
    day = np.full(24, np.array((np.nan, 0, 0), dtype=HOUR))
    day[slots.hour[0]] = (slots.value[0], 0, slots.flags[0])
    hours = Hours(*grid([int(edges[0]) // 86_400_000_000], day.tobytes(), first_hour, count))
    assert hours.by_mass[LEAD_HOURS] == (unit == Unit.MICROGRAMS_PER_CUBIC_METER)
    assert not hours.flagged.any()
    series = {(Pollutant.NO2, AveragingPeriod.HOUR): hours}
    found = history_of(standard, versions_at(standard, edges, "2024"), edges, series)
    assert found.index_values.tolist() == [expected]
