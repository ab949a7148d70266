"""Tokens that a real service must refuse over its socket, although whoever made them holds its own signing key."""

import asyncio
import time

from auth.signing_keys import KeySeal
from meshkit.errors import Reason
from tests.attacks import attacks
from tests.auth.conftest import Auth, Start, refusal
from tests.auth.programs import refused_with
from tests.meshkit.forging import Forger


async def forger_of(auth: Auth) -> Forger:
    """Returns someone who has stolen the service's signing key."""
    async with auth.owner() as connection:
        sealed = await connection.fetchval("SELECT sealed FROM auth.signing_keys")
    key = KeySeal(auth.settings.derive_keys("signing keys")).open(sealed)
    settings = auth.settings
    return Forger(key.public.key_id, key.private, issuer=settings.token_issuer, audience=settings.token_audience)


async def test_the_key_is_the_right_one_so_that_what_follows_is_refused_for_what_is_wrong(auth: Auth) -> None:
    forger = await forger_of(auth)
    assert (await auth.who(forger.token(sub="forged"))).subject == "forged"


async def test_refuses_every_token_that_is_not_an_access_token_of_ours(auth: Auth) -> None:
    forger, session = await forger_of(auth), await auth.login()
    await auth.who(session.access_token)
    accepted = {}
    for name, (token, reason) in attacks(forger, session.refresh_token).items():
        error = await refusal(auth.who(token))
        if error.reason is not reason:
            accepted[name] = error
    assert accepted == {}
    assert (await auth.who(session.access_token)).tenant == "acme"


async def test_clocks_may_differ_by_the_leeway_and_by_no_more(start: Start) -> None:
    async with start(token_leeway_seconds=30.0) as auth:
        forger, now = await forger_of(auth), int(time.time())
        for good in ({"exp": now - 20}, {"iat": now + 20}, {"nbf": now + 20}):
            assert (await auth.who(forger.token(forger.claims() | good))).subject == "someone"
        assert (await refusal(auth.who(forger.token(exp=now - 40)))).reason is Reason.TOKEN_EXPIRED
        for bad in ({"iat": now + 60}, {"nbf": now + 60}):
            assert (await refusal(auth.who(forger.token(forger.claims() | bad)))).reason is Reason.TOKEN_INVALID


async def test_an_access_token_refreshes_nothing(auth: Auth) -> None:
    forger = await forger_of(auth)
    for token in ((await auth.login()).access_token, forger.token()):
        assert (await refusal(auth.refresh(token))).reason is Reason.REFRESH_TOKEN_INVALID


async def test_a_lost_answer_is_the_same_from_both_replicas_and_a_late_one_is_told_of(start: Start) -> None:
    async with start() as one, start() as another:
        await one.add()
        token = (await one.login()).refresh_token
        first = await one.refresh(token)
        again = await asyncio.gather(*(each.refresh(token) for each in (one, another) for _ in range(25)))
        assert {pair.refresh_token for pair in again} == {first.refresh_token}
        assert await one.arrange("SELECT count(*) FROM auth.sessions WHERE ended_at IS NULL") == 1
        await one.pass_time("31 s")
        refused = await asyncio.gather(*(refusal(each.refresh(token)) for each in (one, another) for _ in range(25)))
        assert {error.reason for error in refused} == {Reason.REFRESH_TOKEN_INVALID}
        assert (await refusal(another.refresh(first.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
        await refused_with(lambda: one.who(first.access_token), Reason.TOKEN_REVOKED)
        told = [(event, outcome) for event, outcome, _, _ in await one.audit() if event == "session.reused"]
        assert told == [("session.reused", "refused")]


async def test_a_race_between_a_thief_and_an_owner_leaves_one_family_or_none(start: Start) -> None:
    async with start(refresh_grace_seconds=0) as one, start(refresh_grace_seconds=0) as another:
        await one.add()
        token = (await one.login()).refresh_token
        outcomes = await asyncio.gather(
            *(each.refresh(token) for each in (one, another) for _ in range(50)), return_exceptions=True
        )
        successors = {each.refresh_token for each in outcomes if not isinstance(each, BaseException)}
        assert len(successors) == 1
        assert await one.arrange("SELECT count(*) FROM auth.sessions WHERE ended_at IS NULL") <= 1
        assert await one.arrange("SELECT count(*) FROM auth.sessions") == 1


async def test_a_reuse_that_cannot_be_recorded_is_dealt_with_when_it_can(auth: Auth) -> None:
    token = (await auth.login()).refresh_token
    await auth.refresh(token)
    await auth.pass_time("31 s")
    await auth.arrange("ALTER FUNCTION auth.append_audit_event RENAME TO away")
    assert (await refusal(auth.refresh(token))).reason is Reason.INTERNAL
    assert await auth.arrange("SELECT count(*) FROM auth.sessions WHERE ended_at IS NULL") == 1
    await auth.arrange("ALTER FUNCTION auth.away RENAME TO append_audit_event")
    assert (await refusal(auth.refresh(token))).reason is Reason.REFRESH_TOKEN_INVALID
    assert await auth.arrange("SELECT count(*) FROM auth.sessions WHERE ended_at IS NULL") == 0
    assert [event for event, _, _, _ in await auth.audit()].count("session.reused") == 1
