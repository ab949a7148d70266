"""Which passwords are too easy to guess."""

import time

import pytest

from auth.guessing import refuse_guessable
from meshkit.errors import InvalidInput, Reason

ABOUT = ("someone@acme.example", "acme-transport")


@pytest.mark.parametrize(
    "password",
    [
        "password", "PASSWORD1", "P@ssw0rd123", "qwertyuiop", "12345678", "iloveyou1990", "letmein!", "aaaaaaaaaaaa",
        "abcabcabcabc", "someone1", "acme2026", "transport", "geomesh2026", "passwordpassword", "a" * 256,
    ],
)  # fmt: skip
def test_refuses_what_is_soon_guessed(password: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        refuse_guessable("new_password", password, ABOUT)
    assert refused.value.reason is Reason.PASSWORD_TOO_WEAK
    assert refused.value.violations[0].field == "new_password"


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "jT9$kq2L",
        "tr0ub4dor&3",
        "müßiggang am Dienstag",
        "語学の先生は犬が好き",
        "\x00 odd \x7f bytes",
    ],
)
def test_takes_what_is_not(password: str) -> None:
    refuse_guessable("password", password, ABOUT)


def test_the_longest_password_does_not_keep_a_thread_busy() -> None:
    started = time.process_time()
    for password in ("x9" * 128, "a1b2" * 64, "password" * 32, "\N{PILE OF POO}" * 256):
        with pytest.raises(InvalidInput):
            refuse_guessable("password", password, ABOUT)
    assert time.process_time() - started < 2
