"""Signing up and passwords, over gRPC."""

import asyncio

import grpc
import pytest

from auth.delivery import Kind, Message
from geomesh.auth.v1 import account_pb2 as pb
from geomesh.auth.v1 import admin_pb2
from meshkit.errors import FailedPrecondition, InvalidInput, NotFound, PermissionDenied, Reason, ResourceExhausted
from tests.auth.conftest import EMAIL, PASSWORD, Auth, Start, refusal

NEW_PASSWORD = "another fine staple for horses"
NEWCOMER = "newcomer@else.example"


async def sign_up(auth: Auth, email: str = NEWCOMER) -> Message:
    await auth.account.SignUp(pb.SignUpRequest(email=email))
    return (await auth.mails())[-1]


async def test_signs_up_by_mail_into_a_tenant_of_ones_own(start: Start) -> None:
    async with start(sign_up="open") as auth:
        message = await sign_up(auth, NEWCOMER.upper())
        assert (message.kind, message.email) == (Kind.SIGN_UP, NEWCOMER)
        request = pb.CompleteSignUpRequest(sign_up_token=message.token, password=NEW_PASSWORD)
        made = await auth.account.CompleteSignUp(request)
        who = await auth.who((await auth.login(NEWCOMER, NEW_PASSWORD)).access_token)
        assert (who.subject, who.tenant, list(who.roles), who.plan) == (made.user_id, made.tenant_id, ["user"], "user")
        assert who.tenant not in {"public", "acme"}
        assert (await refusal(auth.account.CompleteSignUp(request))).reason is Reason.ONE_TIME_TOKEN_INVALID
        assert [event[0] for event in await auth.audit(who.tenant)] == ["sign_up.completed", "sign_in"]


async def test_whoever_has_an_account_is_told_so_by_mail_alone(start: Start) -> None:
    async with start(sign_up="open") as auth:
        await auth.add()
        replies = [await auth.account.SignUp(pb.SignUpRequest(email=email)) for email in (EMAIL, NEWCOMER)]
        assert replies[0] == replies[1]
        assert {(each.email, each.kind) for each in await auth.mails()} == {
            (EMAIL, Kind.ACCOUNT_EXISTS),
            (NEWCOMER, Kind.SIGN_UP),
        }


async def test_a_token_makes_one_account_however_often_it_is_used_at_once(start: Start) -> None:
    async with start(sign_up="open") as auth:
        token = (await sign_up(auth)).token
        request = pb.CompleteSignUpRequest(sign_up_token=token, password=NEW_PASSWORD)
        calls = (auth.account.CompleteSignUp(request) for _ in range(8))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(not isinstance(result, BaseException) for result in results) == 1


async def test_a_newer_token_takes_the_place_of_an_older_one(start: Start) -> None:
    async with start(sign_up="open") as auth:
        old, new = (await sign_up(auth)).token, (await sign_up(auth)).token
        error = await refusal(
            auth.account.CompleteSignUp(pb.CompleteSignUpRequest(sign_up_token=old, password=NEW_PASSWORD))
        )
        assert error.reason is Reason.ONE_TIME_TOKEN_INVALID
        await auth.account.CompleteSignUp(pb.CompleteSignUpRequest(sign_up_token=new, password=NEW_PASSWORD))


@pytest.mark.parametrize("mode", ["invited", "closed"])
async def test_nobody_signs_up_where_it_is_not_open(start: Start, mode: str) -> None:
    async with start(sign_up=mode) as auth:
        error = await refusal(auth.account.SignUp(pb.SignUpRequest(email=NEWCOMER)))
        assert isinstance(error, PermissionDenied)
        assert error.reason is Reason.SIGN_UP_CLOSED


async def test_what_was_sent_while_sign_up_was_open_is_no_good_afterwards(start: Start) -> None:
    async with start(sign_up="open") as auth, start(sign_up="invited") as stricter:
        request = pb.CompleteSignUpRequest(sign_up_token=(await sign_up(auth)).token, password=NEW_PASSWORD)
        assert (await refusal(stricter.account.CompleteSignUp(request))).reason is Reason.SIGN_UP_CLOSED


async def test_a_guessable_password_is_refused_and_the_token_stays_good(start: Start) -> None:
    async with start(sign_up="open") as auth:
        token = (await sign_up(auth)).token
        for weak in ("password1", "newcomer1", "qwertyuiop"):
            error = await refusal(
                auth.account.CompleteSignUp(pb.CompleteSignUpRequest(sign_up_token=token, password=weak))
            )
            assert isinstance(error, InvalidInput)
            assert (error.reason, error.violations[0].field) == (Reason.PASSWORD_TOO_WEAK, "password")
        await auth.account.CompleteSignUp(pb.CompleteSignUpRequest(sign_up_token=token, password=NEW_PASSWORD))


async def test_an_expired_token_is_no_good(auth: Auth) -> None:
    await auth.account.RequestPasswordReset(pb.RequestPasswordResetRequest(email=EMAIL))
    (message,) = await auth.mails()
    await auth.arrange("UPDATE auth.one_time_tokens SET expires_at = now()")
    error = await refusal(
        auth.account.ResetPassword(pb.ResetPasswordRequest(reset_token=message.token, new_password=NEW_PASSWORD))
    )
    assert isinstance(error, NotFound)


async def test_a_changed_password_ends_every_session(auth: Auth) -> None:
    other = await auth.login()
    me = await auth.bearer()
    await auth.account.ChangePassword(
        pb.ChangePasswordRequest(old_password=PASSWORD, new_password=NEW_PASSWORD), metadata=me
    )
    assert (await refusal(auth.refresh(other.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
    assert (await refusal(auth.login())).reason is Reason.LOGIN_FAILED
    await auth.login(password=NEW_PASSWORD)
    assert [message.kind for message in await auth.mails()] == [Kind.PASSWORD_CHANGED]
    assert "password.changed" in [event[0] for event in await auth.audit()]


async def test_who_does_not_know_the_password_cannot_change_it(auth: Auth) -> None:
    me = await auth.bearer()
    error = await refusal(
        auth.account.ChangePassword(
            pb.ChangePasswordRequest(old_password="wrong", new_password=NEW_PASSWORD), metadata=me
        )
    )
    assert isinstance(error, InvalidInput)
    assert error.violations[0].field == "old_password"


async def test_guessing_the_old_password_is_slowed_down_too(start: Start) -> None:
    async with start(sign_in_account_burst=3) as auth:
        await auth.add()
        me = await auth.bearer()
        request = pb.ChangePasswordRequest(old_password="wrong", new_password=NEW_PASSWORD)
        errors = [await refusal(auth.account.ChangePassword(request, metadata=me)) for _ in range(4)]
        assert [type(error) for error in errors] == [InvalidInput] * 3 + [ResourceExhausted]


async def test_resets_a_password_by_mail_once(auth: Auth) -> None:
    before = await auth.login()
    await auth.account.RequestPasswordReset(pb.RequestPasswordResetRequest(email=EMAIL.upper()))
    (message,) = await auth.mails()
    assert (message.kind, message.email) == (Kind.PASSWORD_RESET, EMAIL)
    request = pb.ResetPasswordRequest(reset_token=message.token, new_password=NEW_PASSWORD)
    await auth.account.ResetPassword(request)
    assert (await refusal(auth.account.ResetPassword(request))).reason is Reason.ONE_TIME_TOKEN_INVALID
    assert (await refusal(auth.refresh(before.refresh_token))).reason is Reason.REFRESH_TOKEN_INVALID
    assert (await refusal(auth.login())).reason is Reason.LOGIN_FAILED
    await auth.login(password=NEW_PASSWORD)


async def test_a_token_resets_one_password_however_often_it_is_used_at_once(start: Start) -> None:
    async with start(password_waiting=100) as auth, start(password_waiting=100) as replica:
        await auth.add()
        await auth.account.RequestPasswordReset(pb.RequestPasswordResetRequest(email=EMAIL))
        (message,) = await auth.mails()
        chosen = [f"{NEW_PASSWORD} {number}" for number in range(12)]
        calls = (
            (auth, replica)[number % 2].account.ResetPassword(
                pb.ResetPasswordRequest(reset_token=message.token, new_password=password)
            )
            for number, password in enumerate(chosen)
        )
        results = await asyncio.gather(*calls, return_exceptions=True)
        won = [password for password, result in zip(chosen, results, strict=True) if not isinstance(result, Exception)]
        assert len(won) == 1
        await auth.login(password=won[0])
        for password in set(chosen) - set(won):
            assert (await refusal(auth.login(password=password))).reason is Reason.LOGIN_FAILED
        assert [event[0] for event in await auth.audit()].count("password.reset") == 1


async def test_a_changed_password_makes_sent_tokens_useless(auth: Auth) -> None:
    await auth.account.RequestPasswordReset(pb.RequestPasswordResetRequest(email=EMAIL))
    (message,) = await auth.mails()
    change = pb.ChangePasswordRequest(old_password=PASSWORD, new_password=NEW_PASSWORD)
    await auth.account.ChangePassword(change, metadata=await auth.bearer())
    request = pb.ResetPasswordRequest(reset_token=message.token, new_password="yet another horse in the staple")
    assert (await refusal(auth.account.ResetPassword(request))).reason is Reason.ONE_TIME_TOKEN_INVALID


async def test_an_unknown_address_gets_the_same_reply_and_no_mail(auth: Auth) -> None:
    await auth.add("disabled@acme.example")
    await auth.arrange("UPDATE auth.accounts SET disabled_at = now() WHERE email = 'disabled@acme.example'")
    for email in ("nobody@acme.example", "disabled@acme.example"):
        assert await auth.account.RequestPasswordReset(pb.RequestPasswordResetRequest(email=email)) is not None
    assert await auth.mails() == []


async def test_a_token_for_one_purpose_is_no_good_for_another(start: Start) -> None:
    async with start(sign_up="open") as auth:
        token = (await sign_up(auth)).token
        request = pb.ResetPasswordRequest(reset_token=token, new_password=NEW_PASSWORD)
        assert (await refusal(auth.account.ResetPassword(request))).reason is Reason.ONE_TIME_TOKEN_INVALID


async def test_mails_to_one_address_are_not_sent_without_end(start: Start) -> None:
    async with start(message_burst=2) as auth:
        request = pb.RequestPasswordResetRequest(email="nobody@acme.example")
        for _ in range(2):
            await auth.account.RequestPasswordReset(request)
        error = await refusal(auth.account.RequestPasswordReset(request))
        assert isinstance(error, ResourceExhausted)
        assert error.retry_after_seconds > 60
        await auth.account.RequestPasswordReset(pb.RequestPasswordResetRequest(email="other@acme.example"))


async def test_a_hash_of_another_cost_is_renewed_at_sign_in(auth: Auth) -> None:
    query = f"SELECT password_hash FROM auth.accounts WHERE email = '{EMAIL}'"  # noqa: S608
    await auth.login()
    before = await auth.arrange(query)
    async with auth.owner() as connection:
        from argon2 import PasswordHasher  # noqa: PLC0415

        dearer = PasswordHasher(time_cost=2, memory_cost=8192, parallelism=1).hash(PASSWORD)
        await connection.execute("UPDATE auth.accounts SET password_hash = $1", dearer)
    await auth.login()
    after = await auth.arrange(query)
    assert after != dearer
    assert after.split("$")[3] == before.split("$")[3]
    await auth.login()
    assert await auth.arrange(query) == after


async def test_a_caller_who_has_no_account_here_is_told_so(auth: Auth) -> None:
    me = await auth.bearer()
    await auth.arrange("DELETE FROM auth.accounts")
    error = await refusal(auth.account.EnrolTotp(pb.EnrolTotpRequest(password=PASSWORD), metadata=me))
    assert isinstance(error, FailedPrecondition)


async def test_every_message_hides_its_secrets_from_whoever_prints_it() -> None:
    secret = {"password", "old_password", "new_password", "sign_up_token", "reset_token", "totp_code", "code", "secret"}
    secret |= {"uri", "recovery_codes"}
    for file in (pb.DESCRIPTOR, admin_pb2.DESCRIPTOR):
        for message in file.message_types_by_name.values():
            hidden = {field.name for field in message.fields if field.GetOptions().debug_redact}
            assert hidden == secret & {field.name for field in message.fields}


async def test_without_a_token_nobody_changes_anything(auth: Auth) -> None:
    calls = (
        auth.account.ChangePassword(pb.ChangePasswordRequest(old_password=PASSWORD, new_password=NEW_PASSWORD)),
        auth.account.EnrolTotp(pb.EnrolTotpRequest(password=PASSWORD)),
        auth.account.DisableTotp(pb.DisableTotpRequest(password=PASSWORD, code="123456")),
    )
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
