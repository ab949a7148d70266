"""The cost of a hash is fitted to the machine."""

import pytest

from auth.calibrate import LEAST_MEMORY_KIB, calibrate, measured


@pytest.mark.parametrize(
    ("kib_a_second", "memory_kib", "passes"),
    [
        (1_000_000, 65_536, 3),
        (10_000_000, 65_536, 38),
        (600_000, 65_536, 2),
        (300_000, 32_768, 2),
        (1_000, LEAST_MEMORY_KIB, 2),
    ],
)
def test_takes_memory_first_and_then_as_many_passes_as_fit(kib_a_second: float, memory_kib: int, passes: int) -> None:
    found = calibrate(0.25, 65_536, 4, lambda memory, rounds, lanes: memory * rounds / kib_a_second)
    assert (found.memory_kib, found.passes, found.lanes) == (memory_kib, passes, 4)


def test_the_measured_cost_of_this_machine_grows_with_the_passes() -> None:
    assert measured(LEAST_MEMORY_KIB, 12, 1) > measured(LEAST_MEMORY_KIB, 2, 1) * 2
