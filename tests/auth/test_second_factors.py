"""Second factors, over gRPC: codes and recovery codes, each good once."""

import asyncio
import time

import pyotp

from geomesh.auth.v1 import account_pb2 as pb
from meshkit.errors import FailedPrecondition, Reason
from tests.auth.conftest import PASSWORD, Auth, Start, refusal


async def enrol(auth: Auth) -> tuple[pyotp.TOTP, list[str]]:
    """Sets a second factor up and returns it with its recovery codes."""
    me = await auth.bearer()
    enrolled = await auth.account.EnrolTotp(pb.EnrolTotpRequest(password=PASSWORD), metadata=me)
    totp = pyotp.TOTP(enrolled.secret)
    confirmed = await auth.account.ConfirmTotp(pb.ConfirmTotpRequest(totp_code=code_of(totp)), metadata=me)
    await auth.arrange("UPDATE auth.accounts SET totp_last_step = 0")  # so that no test waits for the next code
    return totp, list(confirmed.recovery_codes)


def code_of(totp: pyotp.TOTP, step: int = 0) -> str:
    return totp.at(int(time.time()), counter_offset=step)


async def test_a_second_factor_is_asked_for_once_it_is_confirmed(auth: Auth) -> None:
    me = await auth.bearer()
    await auth.account.EnrolTotp(pb.EnrolTotpRequest(password=PASSWORD), metadata=me)
    await auth.login()
    totp, _codes = await enrol(auth)
    assert (await refusal(auth.login())).reason is Reason.SECOND_FACTOR_REQUIRED
    assert (await refusal(auth.login(password="wrong", code=code_of(totp)))).reason is Reason.LOGIN_FAILED
    await auth.login(code=code_of(totp))


async def test_a_code_is_good_once(auth: Auth) -> None:
    totp, _codes = await enrol(auth)
    code = code_of(totp)
    results = await asyncio.gather(*(auth.login(code=code) for _ in range(6)), return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    earlier = await refusal(auth.login(code=code_of(totp, -1)))
    assert earlier.reason is Reason.LOGIN_FAILED


async def test_the_code_that_confirmed_is_used_up(auth: Auth) -> None:
    me = await auth.bearer()
    totp = pyotp.TOTP((await auth.account.EnrolTotp(pb.EnrolTotpRequest(password=PASSWORD), metadata=me)).secret)
    code = code_of(totp)
    await auth.account.ConfirmTotp(pb.ConfirmTotpRequest(totp_code=code), metadata=me)
    assert (await refusal(auth.login(code=code))).reason is Reason.LOGIN_FAILED


async def test_an_old_code_is_no_good(auth: Auth) -> None:
    totp, _codes = await enrol(auth)
    for steps in (-3, 3):
        assert (await refusal(auth.login(code=code_of(totp, steps)))).reason is Reason.LOGIN_FAILED


async def test_a_recovery_code_is_good_once_however_it_is_typed(auth: Auth) -> None:
    _totp, codes = await enrol(auth)
    assert len(set(codes)) == 10
    await auth.login(code=codes[0])
    assert (await refusal(auth.login(code=codes[0]))).reason is Reason.LOGIN_FAILED
    await auth.login(code=codes[1].lower().replace("-", " "))
    assert (await refusal(auth.login(code="AAAA-AAAA-AAAA-AAAA"))).reason is Reason.LOGIN_FAILED


async def test_a_recovery_code_is_good_once_also_at_one_time(start: Start) -> None:
    async with start(password_waiting=100) as auth, start(password_waiting=100) as replica:
        await auth.add()
        _totp, codes = await enrol(auth)
        calls = ((auth, replica)[number % 2].login(code=codes[0]) for number in range(12))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(not isinstance(result, BaseException) for result in results) == 1
        assert await auth.arrange("SELECT count(*) FROM auth.recovery_codes") == len(codes) - 1


async def test_a_wrong_code_confirms_nothing(auth: Auth) -> None:
    me = await auth.bearer()
    enrolled = await auth.account.EnrolTotp(pb.EnrolTotpRequest(password=PASSWORD), metadata=me)
    wrong = code_of(pyotp.TOTP(enrolled.secret), 10)
    error = await refusal(auth.account.ConfirmTotp(pb.ConfirmTotpRequest(totp_code=wrong), metadata=me))
    assert error.violations[0].field == "totp_code"
    await auth.login()


async def test_a_second_factor_is_not_replaced_by_whoever_has_the_password(auth: Auth) -> None:
    me = await auth.bearer()
    await enrol(auth)
    error = await refusal(auth.account.EnrolTotp(pb.EnrolTotpRequest(password=PASSWORD), metadata=me))
    assert isinstance(error, FailedPrecondition)


async def test_giving_it_up_takes_password_and_code(auth: Auth) -> None:
    me = await auth.bearer()
    totp, _codes = await enrol(auth)
    for password, code, field in (("wrong", code_of(totp), "password"), (PASSWORD, "000000", "code")):
        request = pb.DisableTotpRequest(password=password, code=code)
        error = await refusal(auth.account.DisableTotp(request, metadata=me))
        assert error.violations[0].field == field
    await auth.account.DisableTotp(pb.DisableTotpRequest(password=PASSWORD, code=code_of(totp)), metadata=me)
    await auth.login()
    assert await auth.arrange("SELECT count(*) FROM auth.recovery_codes") == 0
