"""Signing keys change: published before they sign, and until the last token that they signed has expired."""

import asyncio
import os
import subprocess
import sys
import time

import jwt
import pytest
from pydantic import SecretStr

from auth.keys import RotationError, rotate, withdraw
from meshkit.errors import Reason
from tests.auth.conftest import KEY_ENCRYPTION_KEY, Auth, Start, refusal
from tests.auth.programs import refused_with


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def published(auth: Auth) -> set[str]:
    return {key.kid for key in (await auth.keys()).keys}


async def test_a_new_key_is_published_before_it_signs_and_the_old_one_afterwards(start: Start) -> None:
    async with start(signing_keys_seconds=0, jwks_refresh_seconds=0.5) as auth:
        await auth.add()
        before = (await auth.login()).access_token
        new = await rotate(auth.settings, publish_seconds=2)
        assert await published(auth) == {kid(before), new}
        waiting = (await auth.login()).access_token
        assert kid(waiting) == kid(before)
        async with asyncio.timeout(10):
            while kid(after := (await auth.login()).access_token) != new:  # noqa: ASYNC110 - time makes it so
                await asyncio.sleep(0.1)
        for token in (before, waiting, after):
            assert (await auth.who(token)).tenant == "acme"
        assert await published(auth) == {kid(before), new}
        await auth.arrange(
            "UPDATE auth.signing_keys SET published_until = published_until - interval '25 minutes 20 s'"
        )
        assert await published(auth) == {new}


async def test_an_old_key_outlives_every_token_that_it_signed(auth: Auth) -> None:
    old = kid((await auth.login()).access_token)
    await rotate(auth.settings)
    seconds = await auth.arrange(
        f"SELECT extract(epoch FROM published_until - now())::float8 FROM auth.signing_keys WHERE key_id = '{old}'"  # noqa: S608
    )
    settings = auth.settings
    assert seconds > settings.key_publish_seconds + settings.signing_keys_seconds + settings.access_token_seconds


async def test_many_rotations_leave_one_key_that_signs_in_the_end(start: Start) -> None:
    async with start(signing_keys_seconds=0) as auth:
        await auth.add()
        made = [await rotate(auth.settings, publish_seconds=0) for _ in range(3)]
        assert kid((await auth.login()).access_token) == made[-1]
        assert len(await published(auth)) == 4


async def test_rotations_at_one_time_wait_for_each_other(auth: Auth) -> None:
    made = await asyncio.gather(*(rotate(auth.settings) for _ in range(5)))
    assert len(set(made)) == 5
    assert await auth.arrange("SELECT count(*) FROM auth.signing_keys WHERE published_until IS NULL") == 1


async def test_a_withdrawn_key_takes_its_tokens_with_it(start: Start) -> None:
    async with start(signing_keys_seconds=0, jwks_refresh_seconds=0.3, jwks_refetch_seconds=0) as auth:
        await auth.add()
        tokens = await auth.login()
        await auth.who(tokens.access_token)
        await withdraw(auth.settings, kid(tokens.access_token))
        renewed = await auth.refresh(tokens.refresh_token)
        assert kid(renewed.access_token) != kid(tokens.access_token)
        await refused_with(lambda: auth.who(tokens.access_token), Reason.TOKEN_INVALID)
        assert (await auth.who(renewed.access_token)).tenant == "acme"
        with pytest.raises(RotationError, match="no published key"):
            await withdraw(auth.settings, kid(tokens.access_token))


async def test_a_rotation_needs_the_right_key_encryption_key(auth: Auth) -> None:
    other = auth.settings.model_copy(update={"key_encryption_key": SecretStr(f"another-{KEY_ENCRYPTION_KEY}")})
    with pytest.raises(RotationError, match="GEOMESH_AUTH_KEY_ENCRYPTION_KEY"):
        await rotate(other)
    assert len(await published(auth)) == 1


async def test_the_command_tells_what_it_did(auth: Auth) -> None:
    settings = auth.settings
    environment = os.environ | {
        "GEOMESH_AUTH_OWNER_DSN": settings.owner_dsn.get_secret_value(),
        "GEOMESH_AUTH_KEY_ENCRYPTION_KEY": KEY_ENCRYPTION_KEY,
    }

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "auth.keys", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    rotated = await asyncio.to_thread(command, "rotate", "--publish-seconds", "7")
    told, warned = rotated.stdout.splitlines()
    assert told.endswith("is published and signs in 7 s")
    assert warned == "auth: until 15 s from now some services may not know it: calls with tokens of this key may fail"
    listed = (await asyncio.to_thread(command, "list")).stdout.splitlines()
    assert ["will sign" in listed[0], "signs from" in listed[1], "published until" in listed[1]] == [True] * 3
    failed = await asyncio.to_thread(command, "withdraw", "no-such-key")
    assert (failed.returncode, failed.stderr) == (1, "auth.keys: there is no published key no-such-key\n")


async def test_no_call_fails_while_keys_change(start: Start) -> None:
    # The ratios of the defaults, at a hundredth of their times: a key is published for longer than anyone keeps the keys.
    quick = {"signing_keys_seconds": 0.1, "jwks_refresh_seconds": 0.3}
    async with start(**quick) as one, start(**quick) as two:
        await one.add()
        first = await one.login()
        kids: set[str] = set()
        until = time.monotonic() + 7

        async def use(auth: Auth, other: Auth, refresh_token: str) -> int:
            calls = 0
            while time.monotonic() < until:
                pair = await auth.refresh(refresh_token)
                refresh_token = pair.refresh_token
                assert (await other.who(pair.access_token)).tenant == "acme"
                kids.add(kid(pair.access_token))
                calls += 1
            return calls

        async def change() -> None:
            for _ in range(3):
                await rotate(one.settings, publish_seconds=2)
                await asyncio.sleep(1)

        sessions = [await one.login() for _ in range(4)]
        users = [
            use(*pair, each.refresh_token) for each, pair in zip(sessions, ((one, two), (two, one)) * 2, strict=True)
        ]
        counts = await asyncio.gather(*users, change())
        assert len(kids) >= 3
        assert all(count is None or count > 10 for count in counts)
        assert (await two.who(first.access_token)).tenant == "acme"


async def test_key_ids_say_which_key_signed(auth: Auth) -> None:
    token = (await auth.login()).access_token
    assert kid(token) in await published(auth)
    forged = jwt.encode(
        jwt.decode(token, options={"verify_signature": False}),
        "a-secret-of-thirty-two-characters-at-least",
        "HS256",
        headers={"kid": kid(token), "typ": "at+jwt"},
    )
    assert (await refusal(auth.who(forged))).reason is Reason.TOKEN_INVALID
