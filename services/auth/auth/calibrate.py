"""Finds what a password's hash may cost on this machine: `python -m auth.calibrate`.

The more a hash costs, the longer an attacker who stole the database takes for each guess, and the longer everyone waits
who signs in. Memory costs an attacker most, so it is taken first (RFC 9106, section 4); then as many passes as fit into
the time that people are made to wait.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from argon2.low_level import Type, hash_secret_raw
from argon2.profiles import RFC_9106_LOW_MEMORY

LEAST_MEMORY_KIB: Final = 19_456
"""OWASP's least for Argon2id with two passes."""

_LEAST_PASSES: Final = 2
_MOST_PASSES: Final = 100
_ROUNDS: Final = 3
_KIB_IN_MIB: Final = 1024

Measure = Callable[[int, int, int], float]
"""Takes memory in KiB, passes and lanes; returns seconds."""


@dataclass(frozen=True, slots=True)
class Found:
    """The cost that fits, and the seconds that it was measured to take."""

    memory_kib: int
    passes: int
    lanes: int
    seconds: float


def calibrate(seconds: float, memory_kib: int, lanes: int, measure: Measure) -> Found:
    """Returns the highest cost that takes no longer than `seconds`.

    Args:
        seconds: How long a hash may take.
        memory_kib: How much memory it may take. It is halved while not even two passes fit into the time, down to
            `LEAST_MEMORY_KIB`, the least that is good enough, however long it takes.
        lanes: How many threads.
        measure: Tells how long a hash takes.
    """
    while memory_kib > LEAST_MEMORY_KIB and measure(memory_kib, _LEAST_PASSES, lanes) > seconds:
        memory_kib = max(memory_kib // 2, LEAST_MEMORY_KIB)
    passes, took = _LEAST_PASSES, measure(memory_kib, _LEAST_PASSES, lanes)
    while passes < _MOST_PASSES:
        # The time grows with the passes; the last steps are measured one by one.
        step = max(1, int((seconds - took) / (took / passes) * 0.75))
        longer = measure(memory_kib, passes + step, lanes)
        if longer > seconds:
            if step == 1:
                break
            longer = measure(memory_kib, passes + 1, lanes)
            step = 1
            if longer > seconds:
                break
        passes, took = passes + step, longer
    return Found(memory_kib, passes, lanes, took)


def measured(memory_kib: int, passes: int, lanes: int) -> float:
    """Returns the median time in seconds that a hash takes here."""
    return statistics.median(_once(memory_kib, passes, lanes) for _ in range(_ROUNDS))


def _once(memory_kib: int, passes: int, lanes: int) -> float:
    started = time.perf_counter()
    hash_secret_raw(
        b"a password of usual length",
        bytes(RFC_9106_LOW_MEMORY.salt_len),
        passes,
        memory_kib,
        lanes,
        RFC_9106_LOW_MEMORY.hash_len,
        Type.ID,
    )
    return time.perf_counter() - started


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m auth.calibrate", description="Finds what a hash may cost here.")
    parser.add_argument("--milliseconds", type=float, default=250.0, help="how long a hash may take (250)")
    parser.add_argument("--memory-mebibytes", type=int, default=64, help="how much memory it may take (64)")
    parser.add_argument(
        "--lanes",
        type=int,
        default=min(4, os.cpu_count() or 1),
        help="how many threads (those of the machine, at most 4)",
    )
    options = parser.parse_args()
    if options.milliseconds <= 0 or options.memory_mebibytes * _KIB_IN_MIB < LEAST_MEMORY_KIB or options.lanes < 1:
        parser.error(f"a hash takes some time, at least {LEAST_MEMORY_KIB / _KIB_IN_MIB:g} MiB and one lane")
    found = calibrate(options.milliseconds / 1000, options.memory_mebibytes * _KIB_IN_MIB, options.lanes, measured)
    print(  # noqa: T201 - a command's answer
        f"# {found.seconds * 1000:.0f} ms a hash, {1 / found.seconds:.1f} sign-ins a second with one at a time\n"
        f"GEOMESH_AUTH_PASSWORD_MEMORY_KIB={found.memory_kib}\n"
        f"GEOMESH_AUTH_PASSWORD_PASSES={found.passes}\n"
        f"GEOMESH_AUTH_PASSWORD_LANES={found.lanes}"
    )


if __name__ == "__main__":
    _main()
