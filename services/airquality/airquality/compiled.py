"""Compiles functions of numbers and arrays to machine code when they are imported."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(signature: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compiles a function for arguments of these types, as numba writes them, before anybody waits for it.

    The code is kept for the next process, beside the source or where NUMBA_CACHE_DIR says; where neither can be written to
    it is made anew each time, which takes some seconds. A compiled function may call others of this module's making.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        try:
            made: Callable[P, R] = numba.njit(signature, cache=True)(function)
        except RuntimeError:  # there is no place for the code
            made = numba.njit(signature)(function)
        return made

    return decorate


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Lets compiled functions call this one, with which it is compiled."""
    made: Callable[P, R] = numba.njit()(function)
    return made
