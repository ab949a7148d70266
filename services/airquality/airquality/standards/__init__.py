"""The official indices: a folder each, with a file of what all versions share and one of each version's tables.

A new index is a new folder here, a new version a new file; README.md beside this module explains the fields.
"""

from functools import cache
from importlib import resources
from typing import Final

from airquality.standards.reading import read_standard
from airquality.standards.tables import (
    Advice,
    Beyond,
    Breakpoint,
    Category,
    Formula,
    Requirement,
    Rounding,
    Rule,
    Several,
    Standard,
    Table,
    Term,
    Version,
)
from meshkit.errors import InvalidInput

DEFAULT_INDEX: Final = "us_epa"

__all__ = [
    "DEFAULT_INDEX",
    "Advice",
    "Beyond",
    "Breakpoint",
    "Category",
    "Formula",
    "Requirement",
    "Rounding",
    "Rule",
    "Several",
    "Standard",
    "Table",
    "Term",
    "Version",
    "all_standards",
    "read_standard",
    "standard_of",
]


@cache
def all_standards() -> dict[str, Standard]:
    """Returns the supported indices by their ids."""
    folders = [each for each in resources.files(__name__).iterdir() if each.is_dir() and not each.name.startswith("_")]
    found = [read_standard(folder) for folder in sorted(folders, key=lambda folder: folder.name)]
    return {standard.index: standard for standard in found}


def standard_of(index: str) -> Standard:
    """Returns an index by its id, the US EPA's for an empty one.

    Raises:
        InvalidInput: There is no such index.
    """
    standard = all_standards().get(index or DEFAULT_INDEX)
    if standard is None:
        raise InvalidInput("index", f"must be one of {', '.join(all_standards())}")
    return standard
