"""The table: printed while it grows, and written to docs/benchmarks.md when it is whole."""

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured.

    Attributes:
        name: What.
        ours: What geomesh did, with its unit.
        limit: What it is held against, with its unit; empty where the target is absolute.
        figure: The figure that the target is about, as text.
        target: The target as text.
        met: Whether the figure keeps it.
    """

    name: str
    ours: str
    limit: str
    figure: str
    target: str
    met: bool


def ratio(name: str, ours: float, limit: float, unit: str, at_least: float) -> Row:
    """Returns the row of a ratio that must be at least `at_least`."""
    return Row(
        name,
        f"{ours:,.0f} {unit}",
        f"{limit:,.0f} {unit}",
        f"{ours / limit:.2f}",
        f"≥ {at_least:.2f}",
        ours / limit >= at_least,
    )


def floor(name: str, ours: float, unit: str, at_least: float) -> Row:
    """Returns the row of an absolute figure that must be at least `at_least`."""
    return Row(name, f"{ours:,.0f} {unit}", "", f"{ours:,.0f}", f"≥ {at_least:,.0f}", ours >= at_least)


def ceiling(name: str, ours: float, unit: str, at_most: float, limit: float | None = None) -> Row:
    """Returns the row of an absolute figure that must be at most `at_most`; `limit` is what the machine gives at best."""
    least = "" if limit is None else f"{limit:,.2f} {unit}"
    return Row(name, f"{ours:,.2f} {unit}", least, f"{ours:,.2f}", f"≤ {at_most:,.2f}", ours <= at_most)


def in_turn(ours: Callable[[], float], limit: Callable[[], float], *, rounds: int = 7) -> tuple[float, float]:
    """Measures two things in turn, so that what else the machine does hits both, and returns one pair.

    The pair is the one with the median ratio: its two figures were taken within seconds of each other.
    """
    pairs = sorted(((ours(), limit()) for _ in range(rounds)), key=lambda pair: pair[0] / pair[1])
    return pairs[len(pairs) // 2]


def median(measure: Callable[[], float], *, rounds: int = 3) -> float:
    """Returns the median of some measurements."""
    return statistics.median(measure() for _ in range(rounds))


def show(rows: Sequence[Row]) -> None:
    """Prints the table."""
    table = Table("what", "ours", "limit", "figure", "target", "")
    for row in rows:
        table.add_row(row.name, row.ours, row.limit, row.figure, row.target, "kept" if row.met else "MISSED")
    Console(width=160).print(table)


def write(rows: Sequence[Row], notes: str) -> None:
    """Writes the document that the README points to."""
    head = f"""# Benchmarks

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {platform.machine()}, {os.cpu_count()} cores \
({_processor()}), {_memory_gib():.0f} GiB, Python {platform.python_version()}.

A ratio is two measurements taken in turn in one run; the pair with the median ratio is shown. Absolute figures prove
little: the machine is shared, and the load generator runs beside the servers.

| what | ours | limit | figure | target | |
|---|---:|---:|---:|---:|---|
"""
    lines = [
        f"| {row.name} | {row.ours} | {row.limit} | {row.figure} | {row.target} | {'kept' if row.met else '**missed**'} |"
        for row in rows
    ]
    DOCUMENT.write_text(head + "\n".join(lines) + "\n\n" + notes.strip() + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
