"""How alike two name keys are, and which keys a mistyped one may have been."""

# ruff: noqa: RUF001 -- Cyrillic is meant

from collections.abc import Callable
from enum import IntEnum
from typing import Final

from rapidfuzz.distance import OSA, JaroWinkler, Levenshtein


class Algorithm(IntEnum):
    """How names are compared; the numbers are those of the contract."""

    TRIGRAM = 1
    JARO_WINKLER = 2
    LEVENSHTEIN = 3
    BEST = 4


DEFAULT_SIMILARITY: Final = {
    Algorithm.TRIGRAM: 0.4,
    Algorithm.JARO_WINKLER: 0.7,
    Algorithm.LEVENSHTEIN: 0.7,
    Algorithm.BEST: 0.7,
}
"""The least similarity of a result when the caller names none."""

LEAST_TRIGRAMS: Final = 0.3
"""The share of trigrams below which no name is looked at."""

# Of names with one edit the share of trigrams in common is at least this, by the length of the key up to which it holds.
_TRIGRAMS_AFTER_ONE_EDIT: Final = ((6, 0.45), (9, 0.35))
_TRIGRAMS_OF_LONG: Final = 0.4
_LONGEST_WITH_EDITS: Final = 6
_LATIN: Final = "abcdefghijklmnopqrstuvwxyz "
_CYRILLIC: Final = "абвгдежзийклмнопрстуфхцчшщъыьэюяіїєґ "


def similarity(algorithm: Algorithm, one: str, other: str, trigram: float) -> float:
    """Returns how alike two keys are, 0 to 1.

    Args:
        algorithm: How to compare.
        one: A key.
        other: Another.
        trigram: Their trigram similarity, which the database has worked out.
    """
    return _MEASURES[algorithm](one, other, trigram)


def is_close(one: str, other: str) -> bool:
    """Whether two keys are at most one edit apart, a swap of neighbours being one."""
    return OSA.distance(one, other, score_cutoff=1) <= 1


def trigrams_after_one_edit(key: str) -> float:
    """Returns the share of trigrams that a name one edit away from `key` has in common with it, if it is not short.

    Of 80 names of each length with one random edit, all were found above it (of short ones by `one_edit_away`), at
    about half the cost of LEAST_TRIGRAMS.
    """
    return next((share for length, share in _TRIGRAMS_AFTER_ONE_EDIT if len(key) <= length), _TRIGRAMS_OF_LONG)


def one_edit_away(key: str) -> list[str]:
    """Returns every key that one edit makes of a short `key`; none of a long one.

    An edit is a letter left out, put in, replaced or swapped with the next. One edit of a short name leaves it few
    trigrams in common with what was meant (Pairs and Paris share a fifth), so these are looked up beside.
    """
    if len(key) > _LONGEST_WITH_EDITS:
        return []
    alphabet = _LATIN if key.isascii() else _CYRILLIC if all("а" <= letter <= "ґ" for letter in key) else ""
    splits = [(key[:position], key[position:]) for position in range(len(key) + 1)]
    edits = {before + after[1:] for before, after in splits if after}
    edits.update(before + after[1] + after[0] + after[2:] for before, after in splits if len(after) > 1)
    edits.update(before + letter + after[1:] for before, after in splits if after for letter in alphabet)
    edits.update(before + letter + after for before, after in splits for letter in alphabet)
    edits -= {key, ""}
    return sorted(edit for edit in edits if edit == edit.strip())


def _trigram(_one: str, _other: str, trigram: float) -> float:
    return trigram


def _jaro_winkler(one: str, other: str, _trigram: float) -> float:
    return JaroWinkler.similarity(one, other, prefix_weight=0.1)


def _levenshtein(one: str, other: str, _trigram: float) -> float:
    return Levenshtein.normalized_similarity(one, other)


def _best(one: str, other: str, trigram: float) -> float:
    return max(trigram, _jaro_winkler(one, other, trigram), _levenshtein(one, other, trigram))


_MEASURES: Final[dict[Algorithm, Callable[[str, str, float], float]]] = {
    Algorithm.TRIGRAM: _trigram,
    Algorithm.JARO_WINKLER: _jaro_winkler,
    Algorithm.LEVENSHTEIN: _levenshtein,
    Algorithm.BEST: _best,
}
