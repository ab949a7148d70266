"""The index of a place from the sub-indices of its pollutants."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airquality.index import NONE
from airquality.standards import Requirement, Version
from airquality.units import Pollutant

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NAMES: Final = {
    Pollutant.PM25: "PM2.5",
    Pollutant.PM10: "PM10",
    Pollutant.O3: "O3",
    Pollutant.NO2: "NO2",
    Pollutant.SO2: "SO2",
    Pollutant.CO: "CO",
    Pollutant.NH3: "NH3",
    Pollutant.LEAD: "lead",
}
"""What people call the pollutants."""

_TWO: Final = 2


class Overall(NamedTuple):
    """The index of n places: its value, and which row of the pollutants is dominant; NONE without one."""

    values: Ints
    dominant: Ints


def overall(version: Version, pollutants: Sequence[Pollutant], values: Ints, contributions: Floats) -> Overall:
    """Computes the index of many places.

    The worst sub-index is the index, unless the version has a formula; some add to it where several are bad, some have
    none where too few pollutants are known, and some call no pollutant dominant in good air.

    Args:
        version: The version of the index.
        pollutants: p pollutants.
        values: Their sub-indices [p, n], NONE for none.
        contributions: What each adds to a formula [p, n]; unused without one.

    Returns:
        Two arrays of n.
    """
    present = values != NONE
    best, highest = values.argmax(axis=0), values.max(axis=0)
    if version.formula is not None:
        parts = np.where(present, contributions, 0.0)
        best = parts.argmax(axis=0)
        highest = np.maximum(np.floor(parts.sum(axis=0) + 0.5).astype(np.int64), version.formula.lowest)
    if version.several is not None:
        bad = (values >= version.several.from_index).sum(axis=0)
        highest = highest + np.where(bad > _TWO, version.several.three, np.where(bad == _TWO, version.several.two, 0))
    highest = np.where(_met(version.requirement, pollutants, present), highest, NONE)
    return Overall(highest, np.where(highest > max(version.dominant_above, NONE), best, NONE))


def overall_of_one(
    version: Version, found: Mapping[Pollutant, tuple[int, float]]
) -> tuple[int, Pollutant | None] | None:
    """Computes the index of one place, the same as `overall` does.

    Args:
        version: The version of the index.
        found: The sub-index of each pollutant that has one, with what it adds to a formula, in the order in which the
            first of equal ones is dominant.

    Returns:
        The index and the dominant pollutant, None where the index names none; or None where the place has no index.
    """
    requirement = version.requirement
    if len(found) < requirement.minimum or not requirement.all_of <= found.keys():
        return None
    if requirement.any_of and requirement.any_of.isdisjoint(found):
        return None
    if version.formula is not None:
        best = max(found, key=lambda pollutant: found[pollutant][1])
        highest = max(math.floor(sum(part for _, part in found.values()) + 0.5), version.formula.lowest)
    else:
        best = max(found, key=lambda pollutant: found[pollutant][0])
        highest = found[best][0]
    if version.several is not None:
        bad = sum(value >= version.several.from_index for value, _ in found.values())
        highest += version.several.three if bad > _TWO else version.several.two if bad == _TWO else 0
    return highest, best if highest > version.dominant_above else None


def _met(requirement: Requirement, pollutants: Sequence[Pollutant], present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    met = present.sum(axis=0) >= requirement.minimum
    if requirement.any_of:
        met &= present[[each in requirement.any_of for each in pollutants]].any(axis=0)
    for needed in requirement.all_of:
        met &= present[[each == needed for each in pollutants]].any(axis=0)
    return np.asarray(met)


def describe(requirement: Requirement) -> str:
    """Returns in words which pollutants a place needs."""
    if requirement.all_of:
        return _listed(requirement.all_of, "and")
    words = "a pollutant" if requirement.minimum == 1 else f"at least {requirement.minimum} pollutants"
    return f"{words}, one of them {_listed(requirement.any_of, 'or')}" if requirement.any_of else words


def _listed(pollutants: frozenset[Pollutant], conjunction: str) -> str:
    names = [NAMES[each] for each in sorted(pollutants)]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {conjunction} {names[-1]}"
