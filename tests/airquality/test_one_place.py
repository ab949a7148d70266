"""The index of a single concentration and of a single place is the one that whole arrays give, under every table."""

import math

import numpy as np
import pytest

from airquality.assessment import assess, assess_place
from airquality.index import NONE, sub_index, sub_indices
from airquality.overall import NAMES, overall, overall_of_one
from airquality.standards import Standard, all_standards
from airquality.units import Pollutant

STANDARDS = list(all_standards().values())
VERSIONS = [(standard, place) for standard in STANDARDS for place in range(len(standard.versions))]
EVERY_VERSION = pytest.mark.parametrize(
    ("standard", "version"), VERSIONS, ids=[f"{each.index}-{each.versions[place].id}" for each, place in VERSIONS]
)


def concentrations(standard: Standard, version: int, generator: np.random.Generator) -> list[tuple[int, int, float]]:
    """Returns concentrations of all tables, around their band edges and far from them, and of what has no table."""
    found: list[tuple[int, int, float]] = [(Pollutant.BLACK_CARBON, 1, 3.0), (Pollutant.PM25, 0, math.nan)]
    for table in standard.versions[version].tables:
        factor = standard.versions[version].to_usual[table.pollutant, table.unit]
        edges = [end for each in table.breakpoints for end in each[:2]] or [1.0, 40.0]
        values = [edge + nudge * table.precision for edge in edges for nudge in (-1.0, -0.5, 0.0, 0.4, 0.5, 1.0)]
        values += [*generator.gamma(1.0, max(edges), 40), -5.0, 0.0, 5e3]
        found += [(table.pollutant, table.averaging_period, float(value * factor)) for value in values]
        found += [(table.pollutant, 0, float(values[-4] * factor))]
    return found


@EVERY_VERSION
def test_a_single_concentration_has_the_index_that_it_has_among_many(standard: Standard, version: int) -> None:
    rows = concentrations(standard, version, np.random.default_rng(1))
    many = sub_indices(standard, version, *([row[column] for row in rows] for column in range(3)))
    expected = list(zip(*(column.tolist() for column in many), strict=True))
    assert any(each[0] != NONE for each in expected)
    for row, (value, table, steps, contribution) in zip(rows, expected, strict=True):
        one = sub_index(standard, version, *row)
        assert (one.value, one.row, one.contribution) == (value, table, contribution), row
        assert value == NONE or one.steps == steps, row


@EVERY_VERSION
def test_a_single_place_has_the_index_that_it_has_among_many(standard: Standard, version: int) -> None:
    generator = np.random.default_rng(2)
    rows = concentrations(standard, version, generator)
    places = [[rows[at] for at in generator.integers(0, len(rows), size)] for size in generator.integers(0, 9, 200)]
    flat = [row for place in places for row in place]
    sizes = [len(place) for place in places]
    columns = ([row[column] for row in flat] for column in range(3))
    together = assess(standard, [version] * len(places), sizes, *columns)
    assert together == [assess_place(standard, version, place) for place in places]
    assert any(each is not None for each in together)


@EVERY_VERSION
def test_the_whole_of_one_place_is_that_of_many(standard: Standard, version: int) -> None:
    generator = np.random.default_rng(3)
    pollutants = list(NAMES)
    shape = (len(pollutants), 500)
    # Few different values, so that many are equal and several are bad.
    values = np.where(generator.random(shape) < 0.5, NONE, generator.integers(0, 6, shape) * 50)
    contributions = np.where(values == NONE, 0.0, generator.integers(0, 6, shape) * 0.75)
    whole = overall(standard.versions[version], pollutants, values, contributions)
    for place in range(shape[1]):
        found = {
            pollutant: (int(values[row, place]), float(contributions[row, place]))
            for row, pollutant in enumerate(pollutants)
            if values[row, place] != NONE
        }
        dominant = None if whole.dominant[place] == NONE else pollutants[whole.dominant[place]]
        expected = None if whole.values[place] == NONE else (whole.values[place], dominant)
        assert overall_of_one(standard.versions[version], found) == expected, found
