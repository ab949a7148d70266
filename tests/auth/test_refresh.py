"""Refresh tokens: one use each, one session each, and no harm to who lost an answer."""

import asyncio

from auth.refresh_tokens import RefreshTokens, digest
from meshkit.errors import Reason
from tests.auth.conftest import KEY_ENCRYPTION_KEY, Auth, Start, refusal

OTHER = "another-key-encryption-key-987654321"


def test_a_successor_is_the_same_on_every_replica_and_secret_to_others() -> None:
    here, there, stranger = RefreshTokens([b"k" * 32]), RefreshTokens([b"k" * 32]), RefreshTokens([b"x" * 32])
    first = here.first()
    assert here.successors(first) == there.successors(first)
    assert here.successors(first) != stranger.successors(first)
    assert here.successors(first)[0] != first


def test_two_sessions_begin_with_different_tokens() -> None:
    tokens = RefreshTokens([b"k" * 32])
    assert len({tokens.first() for _ in range(100)}) == 100
    assert len(tokens.first()) == 43


async def test_a_token_is_exchanged_for_a_new_pair(auth: Auth) -> None:
    begun = await auth.login()
    renewed = await auth.refresh(begun.refresh_token)
    assert renewed.refresh_token != begun.refresh_token
    assert renewed.access_token != begun.access_token
    assert renewed.refresh_expires_in_seconds in {2_591_999, 2_592_000}
    assert (await auth.who(renewed.access_token)).tenant == "acme"


async def test_a_session_lives_on_through_many_tokens(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    seen = {token}
    for _ in range(20):
        token = (await auth.refresh(token)).refresh_token
        seen.add(token)
    assert len(seen) == 21


async def test_every_refresh_begins_the_time_anew(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    for _ in range(3):
        await auth.pass_time("29 days")
        token = (await auth.refresh(token)).refresh_token


async def test_a_client_that_lost_the_answer_gets_the_same_token_again(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    lost = await auth.refresh(token)
    await auth.pass_time("29 s")
    again = await auth.refresh(token)
    assert again.refresh_token == lost.refresh_token
    assert (await auth.who(again.access_token)).subject
    assert (await auth.refresh(again.refresh_token)).refresh_token


async def test_a_repeat_does_not_prolong_the_time_for_repeats(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    await auth.refresh(token)
    await auth.pass_time("20 s")
    await auth.refresh(token)
    await auth.pass_time("20 s")
    assert (await refusal(auth.refresh(token))).reason is Reason.REFRESH_TOKEN_INVALID


async def test_a_copied_token_ends_the_session(auth: Auth) -> None:
    stolen = (await auth.login()).refresh_token
    newest = (await auth.refresh(stolen)).refresh_token
    await auth.pass_time("31 s")
    assert (await refusal(auth.refresh(stolen))).reason is Reason.REFRESH_TOKEN_INVALID
    assert (await refusal(auth.refresh(newest))).reason is Reason.REFRESH_TOKEN_INVALID


async def test_a_token_copied_long_ago_ends_the_session_too(auth: Auth) -> None:
    stolen = token = (await auth.login()).refresh_token
    for _ in range(5):
        token = (await auth.refresh(token)).refresh_token
        await auth.pass_time("1 day")
    await refusal(auth.refresh(stolen))
    await refusal(auth.refresh(token))


async def test_a_late_double_of_a_call_is_refused_and_harms_nobody(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    second = (await auth.refresh(token)).refresh_token
    third = (await auth.refresh(second)).refresh_token
    await refusal(auth.refresh(token))
    assert (await auth.refresh(third)).refresh_token


async def test_a_reuse_leaves_other_sessions_alone(auth: Auth) -> None:
    other = (await auth.login()).refresh_token
    stolen = (await auth.login()).refresh_token
    await auth.refresh(stolen)
    await auth.pass_time("31 s")
    await refusal(auth.refresh(stolen))
    assert (await auth.refresh(other)).refresh_token


async def test_a_hundred_uses_of_one_token_at_one_time_leave_one_session(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    renewed = await asyncio.gather(*(auth.refresh(token) for _ in range(100)))
    successors = {pair.refresh_token for pair in renewed}
    assert len(successors) == 1
    assert await auth.arrange("SELECT count(*) FROM auth.sessions WHERE ended_at IS NULL") == 1
    assert await auth.arrange("SELECT count(*) FROM auth.spent_tokens") == 1
    assert (await auth.refresh(successors.pop())).refresh_token


async def test_a_hundred_uses_of_a_spent_token_at_one_time_leave_none(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    newest = (await auth.refresh(token)).refresh_token
    await auth.pass_time("31 s")
    refused = await asyncio.gather(*(refusal(auth.refresh(token)) for _ in range(100)))
    assert {error.reason for error in refused} == {Reason.REFRESH_TOKEN_INVALID}
    await refusal(auth.refresh(newest))


async def test_a_token_that_nobody_used_in_time_is_refused(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    await auth.pass_time("30 days")
    assert (await refusal(auth.refresh(token))).reason is Reason.REFRESH_TOKEN_INVALID


async def test_the_next_login_forgets_expired_sessions(auth: Auth) -> None:
    await auth.refresh((await auth.login()).refresh_token)
    await auth.pass_time("30 days")
    await auth.login()
    assert await auth.arrange("SELECT count(*) FROM auth.sessions") == 1
    assert await auth.arrange("SELECT count(*) FROM auth.spent_tokens") == 0


async def test_a_session_forgets_the_tokens_that_would_have_expired(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    for _ in range(4):
        token = (await auth.refresh(token)).refresh_token
        await auth.pass_time("11 days")
    assert await auth.arrange("SELECT count(*) FROM auth.spent_tokens") == 3


async def test_a_disabled_account_cannot_go_on(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    await auth.arrange("UPDATE auth.accounts SET disabled_at = now()")
    assert (await refusal(auth.refresh(token))).reason is Reason.REFRESH_TOKEN_INVALID


async def test_a_new_role_counts_from_the_next_refresh_on(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    await auth.arrange("UPDATE auth.accounts SET roles = '{premium}', plan = 'premium'")
    who = await auth.who((await auth.refresh(token)).access_token)
    assert (list(who.roles), who.plan) == (["premium"], "premium")


async def test_an_access_token_is_no_refresh_token(auth: Auth) -> None:
    token = (await auth.login()).access_token
    assert (await refusal(auth.refresh(token))).reason is Reason.REFRESH_TOKEN_INVALID


async def test_refuses_what_was_never_a_token(auth: Auth) -> None:
    for token in ("x", "ü" * 43, "' OR true --", "\x00", "A" * 4096, "A" * 43, " "):
        assert (await refusal(auth.refresh(token))).reason is Reason.REFRESH_TOKEN_INVALID


async def test_refuses_a_good_token_with_something_behind_it(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    for tail in ("A", "=", " ", "\n"):
        assert (await refusal(auth.refresh(token + tail))).reason is Reason.REFRESH_TOKEN_INVALID
    assert (await auth.refresh(token)).refresh_token


async def test_refuses_a_token_outside_the_contracts_bounds(auth: Auth) -> None:
    for token in ("", "A" * 4097):
        error = await refusal(auth.refresh(token))
        assert error.reason is Reason.INVALID_FIELD
        assert error.violations[0].field == "refresh_token"


async def test_the_database_holds_no_token(auth: Auth) -> None:
    begun = await auth.login()
    renewed = await auth.refresh(begun.refresh_token)
    everything = await auth.arrange(
        "SELECT (SELECT string_agg(s::text, ' ') FROM auth.sessions AS s)"
        " || (SELECT string_agg(t::text, ' ') FROM auth.spent_tokens AS t)"
    )
    assert digest(renewed.refresh_token).hex() in everything
    assert digest(begun.refresh_token).hex() in everything
    for token in (begun.refresh_token, renewed.refresh_token):
        assert token not in everything
        assert token.encode().hex() not in everything


async def test_replicas_share_sessions(start: Start) -> None:
    async with start() as one, start() as another:
        await one.add()
        token = (await one.login()).refresh_token
        renewed = await asyncio.gather(*(each.refresh(token) for each in (one, another) for _ in range(20)))
        assert len({pair.refresh_token for pair in renewed}) == 1


async def test_a_lost_answer_outlives_a_change_of_the_key_encryption_key(start: Start) -> None:
    async with start() as before:
        await before.add()
        token = (await before.login()).refresh_token
        lost = (await before.refresh(token)).refresh_token
    async with start(key_encryption_key=f"{OTHER} {KEY_ENCRYPTION_KEY}") as after:
        assert (await after.refresh(token)).refresh_token == lost
        assert (await after.refresh(lost)).refresh_token
