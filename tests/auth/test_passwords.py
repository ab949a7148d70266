"""Passwords are hashed at a known cost, and never more of them than the machine can bear."""

import asyncio
import threading
import unicodedata

import pytest

from auth.passwords import Passwords
from meshkit.errors import Reason, ResourceExhausted
from tests.auth.conftest import CHEAP


def cheap(threads: int = 1, waiting: int = 10) -> Passwords:
    return Passwords(threads=threads, waiting=waiting, parameters=CHEAP)


async def test_a_hash_costs_what_rfc_9106_recommends() -> None:
    hashed = await Passwords(threads=1, waiting=0).hash("correct horse")
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_tells_right_from_wrong() -> None:
    passwords = cheap()
    hashed = await passwords.hash("correct horse")
    assert await passwords.verify(hashed, "correct horse")
    assert not await passwords.verify(hashed, "correct horsf")
    assert not await passwords.verify(hashed, "")
    assert not await passwords.verify(hashed, "Correct horse")


async def test_two_accounts_with_one_password_have_different_hashes() -> None:
    passwords = cheap()
    assert await passwords.hash("correct horse") != await passwords.hash("correct horse")


async def test_no_password_is_right_where_there_is_no_account() -> None:
    passwords = cheap()
    for password in ("", "correct horse", "None"):
        assert not await passwords.verify(None, password)


async def test_a_letter_is_the_same_composed_or_not() -> None:
    passwords = cheap()
    hashed = await passwords.hash(unicodedata.normalize("NFD", "pässwörd"))
    assert await passwords.verify(hashed, unicodedata.normalize("NFC", "pässwörd"))


async def test_the_event_loop_goes_on_meanwhile() -> None:
    passwords = Passwords(threads=1, waiting=0)
    work = asyncio.create_task(passwords.hash("correct horse"))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 5


async def test_refuses_what_fits_neither_threads_nor_queue() -> None:
    passwords, released = cheap(threads=1, waiting=2), threading.Event()
    try:
        calls = [asyncio.create_task(passwords.run(released.wait)) for _ in range(10)]
        refused, waiting = await asyncio.wait(calls, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    finally:
        released.set()
    assert (len(refused), len(waiting)) == (7, 3)
    for each in refused:
        error = each.exception()
        assert isinstance(error, ResourceExhausted)
        assert error.reason is Reason.OVERLOADED
        assert error.retry_after_seconds > 0
    assert await asyncio.gather(*waiting) == [True] * 3
    await passwords.hash("and is well again")


async def test_who_gives_up_counts_until_the_hash_ends() -> None:
    passwords = Passwords(threads=1, waiting=0)
    work = asyncio.create_task(passwords.hash("correct horse"))
    async with asyncio.timeout(10):
        while not any(future.running() for future in passwords._in_work):  # noqa: ASYNC110, SLF001 - no one else knows
            await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    with pytest.raises(ResourceExhausted):
        await passwords.hash("correct horse")
