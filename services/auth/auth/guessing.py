"""Refuses passwords that somebody would soon guess."""

import re
from collections.abc import Sequence
from typing import Final

from zxcvbn import zxcvbn

from meshkit.errors import InvalidInput, Reason

LEAST_GUESSES: Final = 1_000_000
"""How many guesses a password must stand. At the pace that sign-in allows on one account, they take two years."""

# The estimate takes time that grows faster than the text. What is hard to guess at its beginning is so as a whole.
_MOST_CHARACTERS: Final = 64
_PRODUCT: Final = "geomesh"


def refuse_guessable(field: str, password: str, about: Sequence[str]) -> None:
    """Returns when a password is hard enough to guess.

    What counts as easy is zxcvbn's estimate (Wheeler, USENIX Security 2016), over its lists of 30,000 common passwords,
    words, names, keyboard walks, dates and repeats, and over what is known of the account. It takes milliseconds.

    Args:
        field: The request's name for it.
        password: The password.
        about: What is known of the account: its address and tenant.

    Raises:
        InvalidInput: PASSWORD_TOO_WEAK.
    """
    known = [word for text in about for word in (text, *re.split(r"[\W_]+", text)) if len(word) > 2]  # noqa: PLR2004
    estimate = zxcvbn(password[:_MOST_CHARACTERS], user_inputs=[*known, _PRODUCT], max_length=_MOST_CHARACTERS)
    if estimate["guesses"] >= LEAST_GUESSES:
        return
    why = estimate["feedback"]["warning"].rstrip(".") or "It is too easy to guess"
    raise InvalidInput(field, f"is too weak: {why[:1].lower()}{why[1:]}", reason=Reason.PASSWORD_TOO_WEAK)
