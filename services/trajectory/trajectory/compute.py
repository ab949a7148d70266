"""Where heavy work is done: beside the event loop, so that other calls go on."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

THREAD_FROM: Final = 500
"""Positions from which work goes to a thread. 500 are about 2 ms of work; the way to a thread and back costs 0.1 ms."""

T = TypeVar("T")


async def compute(positions: int, work: Callable[[], T]) -> T:
    """Returns what `work` on that many positions returns, done at once when short and in a thread when long."""
    return work() if positions < THREAD_FROM else await asyncio.to_thread(work)
