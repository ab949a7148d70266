import numpy as np
import pytest

from airquality.averages import Basis
from airquality.intervals import Granularity
from airquality.units import (
    MEASURABLE,
    MOLAR_MASSES,
    USUAL_UNITS,
    WEATHER,
    AveragingPeriod,
    Pollutant,
    Unit,
    fits,
    is_measurable,
    to_usual_unit,
)
from geomesh.airquality.v1 import airquality_pb2 as pb


def codes(enumeration: type[Pollutant | Unit | AveragingPeriod | Basis | Granularity]) -> set[int]:
    """Returns the codes of an enumeration and that of UNSPECIFIED."""
    return {0, *map(int, enumeration)}


def test_the_codes_are_those_of_the_contract() -> None:
    assert codes(Pollutant) == set(pb.Pollutant.values())
    assert codes(Unit) == set(pb.Unit.values())
    assert codes(AveragingPeriod) == set(pb.AveragingPeriod.values())
    assert codes(Basis) == set(pb.Basis.values())
    assert codes(Granularity) == set(pb.Granularity.values())
    assert all(pb.Pollutant.Name(pb.Pollutant.ValueType(each)) == f"POLLUTANT_{each.name}" for each in Pollutant)
    assert all(pb.Unit.Name(pb.Unit.ValueType(each)) == f"UNIT_{each.name}" for each in Unit)
    assert all(pb.Basis.Name(pb.Basis.ValueType(each)) == f"BASIS_{each.name}" for each in Basis)


def test_particles_have_mass_units_alone() -> None:
    assert [unit for unit in Unit if fits(Pollutant.PM25, unit)] == [
        Unit.MICROGRAMS_PER_CUBIC_METER,
        Unit.MILLIGRAMS_PER_CUBIC_METER,
        Unit.NANOGRAMS_PER_CUBIC_METER,
    ]
    assert all(fits(gas, unit) for gas in MOLAR_MASSES for unit in list(Unit)[:5])


def test_each_quantity_of_the_weather_has_its_one_unit() -> None:
    for quantity in WEATHER:
        assert [unit for unit in Unit if fits(quantity, unit)] == [USUAL_UNITS[quantity]]


def test_every_pollutant_has_a_usual_unit_that_fits_and_a_range() -> None:
    for pollutant in Pollutant:
        lowest, highest = MEASURABLE[pollutant]
        assert to_usual_unit(pollutant, USUAL_UNITS[pollutant], 3.0) == to_usual_unit(pollutant, 0, 3.0) == 3.0
        assert is_measurable([pollutant] * 4, [lowest, highest, lowest - 0.1, highest + 0.1]).tolist() == [
            True,
            True,
            False,
            False,
        ]


@pytest.mark.parametrize(
    ("pollutant", "unit", "value", "expected"),
    [
        # 40 CFR 50: 100 ppb NO2 are 188 µg/m³, 75 ppb SO2 are 196 µg/m³, 35 ppm CO are 40 mg/m³, at 25 °C and 1 atm.
        (Pollutant.NO2, Unit.MICROGRAMS_PER_CUBIC_METER, 188.0, 100.0),
        (Pollutant.SO2, Unit.MICROGRAMS_PER_CUBIC_METER, 196.4, 75.0),
        (Pollutant.CO, Unit.MILLIGRAMS_PER_CUBIC_METER, 40.07, 35.0),
        (Pollutant.O3, Unit.MICROGRAMS_PER_CUBIC_METER, 137.3, 70.0),
        (Pollutant.NH3, Unit.NANOGRAMS_PER_CUBIC_METER, 69_614.0, 100.0),
    ],
)
def test_converts_gases_at_the_reference_conditions_of_the_epa(
    pollutant: Pollutant, unit: Unit, value: float, expected: float
) -> None:
    assert to_usual_unit(pollutant, unit, value) == pytest.approx(expected, rel=1e-3)


def test_parts_per_million_become_parts_per_billion_to_the_last_digit() -> None:
    billionths = np.arange(605)
    converted = to_usual_unit([Pollutant.O3] * 605, [Unit.PARTS_PER_MILLION] * 605, billionths / 1000)
    np.testing.assert_allclose(converted, billionths, rtol=0, atol=1e-9)


def test_a_unit_that_does_not_fit_gives_no_number() -> None:
    assert np.isnan(to_usual_unit(Pollutant.PM10, Unit.PARTS_PER_BILLION, 3.0))


def test_no_instrument_measures_not_a_number() -> None:
    assert is_measurable([Pollutant.PM25] * 4, [-14.8, np.nan, np.inf, 1e6]).tolist() == [True, False, False, False]
