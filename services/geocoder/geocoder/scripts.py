"""The languages that a script gives away, because hardly any other is written in it."""

import unicodedata
from typing import Final

_LANGUAGE_OF_SCRIPT: Final = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "MYANMAR": "my",
    "HEBREW": "he",
    "GREEK": "el",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "BENGALI": "bn",
    "SINHALA": "si",
    "TIBETAN": "bo",
    "ETHIOPIC": "am",
}
_cache: dict[str, str] = {}


def language_of(name: str) -> str:
    """Returns the language that the script of `name` gives away, BCP 47; empty when several are written in it.

    Latin, Cyrillic, Arabic, Devanagari and Han are shared by many languages and tell nothing.
    """
    for character in name:
        if ord(character) > 0x2FF and character.isalpha():  # noqa: PLR2004 -- the end of Latin
            if character not in _cache:
                script = unicodedata.name(character, "").split(" ", 1)[0]
                _cache[character] = _LANGUAGE_OF_SCRIPT.get(script, "")
            if _cache[character]:
                return _cache[character]
    return ""
