"""Name keys: the form in which names are stored and looked up, the same at load and at query.

Two names with one key are the same to a reader in a hurry: case, accents, punctuation and width do not count. Every
script is kept as it is, since transliterations are among the gazetteer's alternate names anyway.
"""

# ruff: noqa: RUF001 -- letters that look alike are what this is about

import re
import unicodedata
from typing import Final

_APOSTROPHES: Final = frozenset("'`´ʹʻʼʽʾʿˈ‘’‛′＇")
_LATIN_WITHOUT_DECOMPOSITION: Final = {
    "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ħ": "h", "ŋ": "ng", "ı": "i", "ə": "e",
    "ɛ": "e", "ɔ": "o", "ŧ": "t", "ƙ": "k", "ɓ": "b", "ɗ": "d", "ſ": "s",
}  # fmt: skip
_CYRILLIC_YO: Final = {"ё": "е", "ѐ": "е", "ѝ": "и"}
_ARABIC_FORMS: Final = {"أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي", "ی": "ي", "ک": "ك", "ة": "ه", "ـ": ""}
_OPTIONAL_MARKS: Final = tuple(
    frozenset(map(chr, range(first, last + 1)))
    for first, last in (
        (0x0300, 0x036F),  # accents
        (0x0591, 0x05C7),  # Hebrew points
        (0x0610, 0x061A),  # Arabic signs
        (0x064B, 0x0670),  # Arabic vowels
        (0x06D6, 0x06ED),  # signs of the Koran
        (0x1DC0, 0x1DFF),  # more accents
        (0xFE00, 0xFE0F),  # variation selectors
    )
)
_SPELLED_OUT: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_SPELLED_OUT_LETTERS: Final = re.compile("[äöüåø]")
_INITIALS: Final = re.compile(r"\b(?:[^\W\d_]\.){2,}")


class _Folding(dict[int, str]):
    """What each code point becomes; worked out once per code point, since a gazetteer uses a few thousand."""

    def __missing__(self, code_point: int) -> str:
        folded = self[code_point] = _fold(chr(code_point))
        return folded


_FOLDING: Final = _Folding()


def name_key(name: str) -> str:
    """Returns the key of `name`: words of folded letters and digits, one space apart; empty when it has neither.

    Idempotent: the key of a key is the key itself.
    """
    return _key(_readable(name))


def name_keys(name: str) -> tuple[str, ...]:
    """Returns the key of `name` and, where it differs, the one with umlauts and ring spelled out.

    `Zürich` gives `zurich` and `zuerich`, so that both ways of writing it find it. The plain key comes first; no key
    is empty, so the tuple is, when the name has neither a letter nor a digit.
    """
    readable = _readable(name)
    key = _key(readable)
    if not key:
        return ()
    if readable.isascii() or not _SPELLED_OUT_LETTERS.search(readable):
        return (key,)
    spelled_out = _key(readable.translate(_SPELLED_OUT))
    return (key,) if spelled_out == key else (key, spelled_out)


def _readable(name: str) -> str:
    """Lower case, composed, in normal width, with initials drawn together: `U.S.A.` is one word."""
    if "." in name:
        name = _INITIALS.sub(lambda match: match.group().replace(".", "") + " ", name)
    return name.lower() if name.isascii() else unicodedata.normalize("NFKC", name).casefold()


def _key(readable: str) -> str:
    if not readable.isascii():
        # Composed again, because casefold takes some letters apart.
        readable = unicodedata.normalize("NFC", readable)
    return " ".join(readable.translate(_FOLDING).split())


def _fold(character: str) -> str:
    """Returns what one lower-case character counts as: letters and digits, a space, or nothing."""
    if character in _APOSTROPHES:
        return ""
    for table in (_LATIN_WITHOUT_DECOMPOSITION, _CYRILLIC_YO, _ARABIC_FORMS):
        if character in table:
            return table[character]
    category = unicodedata.category(character)
    if category[0] == "M":
        # Accents of European scripts, Arabic and Hebrew vowel points are optional; signs of Indic scripts are letters.
        return "" if _is_optional_mark(character) else character
    if category[0] not in "LN":
        return "" if category == "Cf" else " "
    return _without_accents(character)


def _is_optional_mark(character: str) -> bool:
    return any(character in marks for marks in _OPTIONAL_MARKS)


def _without_accents(character: str) -> str:
    script = unicodedata.name(character, "").split(" ", 1)[0]
    if script not in {"LATIN", "GREEK"}:
        return character
    base = unicodedata.normalize("NFD", character)[0]
    return _LATIN_WITHOUT_DECOMPOSITION.get(base, base)
