"""Who has an account shows in no time that a call takes.

Two calls are made in turn, and which of them took longer is counted. Where both take the same time that is a fair coin: 80
tosses leave 20 to 60 less than once in 100,000 runs, and a difference that shows in three tosses of four is found in all
but one run of 600. That the count can tell times apart is tried as well.
"""

import time
from collections.abc import Awaitable, Callable

import grpc
import pytest

from geomesh.auth.v1 import account_pb2
from geomesh.auth.v1 import auth_pb2 as pb
from tests.auth.conftest import EMAIL, PASSWORD, Auth, Start

TOSSES, LEAST, MOST = 80, 20, 60
NOBODY = "nobody@acme.example"

Call = Callable[[str], Awaitable[object]]


async def slower(call: Call, one: str, other: str) -> int:
    """Returns how often a call about the one takes longer than about the other."""
    count = 0
    for toss in range(TOSSES):
        seconds = {}
        # By turns the first and the second, so that no order favours one of them.
        for name in (one, other) if toss % 2 else (other, one):
            started = time.perf_counter()
            try:
                await call(name)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED  # noqa: PT017 - others are no refusals but faults
            seconds[name] = time.perf_counter() - started
        count += seconds[one] > seconds[other]
    return count


@pytest.mark.parametrize("known", [EMAIL, "suspended@acme.example", "second@acme.example"])
async def test_a_refused_sign_in_takes_as_long_without_an_account(auth: Auth, known: str) -> None:
    if known != EMAIL:
        await auth.add(known)
    await auth.arrange("UPDATE auth.accounts SET disabled_at = now() WHERE email = 'suspended@acme.example'")
    await auth.arrange(
        "UPDATE auth.accounts SET totp_sealed = 'x', totp_confirmed_at = now() WHERE email LIKE 'second@%'"
    )
    assert LEAST < await slower(lambda email: auth.login(email, "wrong"), known, NOBODY) < MOST


@pytest.mark.parametrize("what", ["password reset", "sign-up"])
async def test_asking_for_a_message_takes_as_long_without_an_account(start: Start, what: str) -> None:
    async with start(sign_up="open", message_burst=10_000) as auth:
        await auth.add()

        async def ask(email: str) -> object:
            if what == "sign-up":
                return await auth.account.SignUp(account_pb2.SignUpRequest(email=email))
            return await auth.account.RequestPasswordReset(account_pb2.RequestPasswordResetRequest(email=email))

        assert LEAST < await slower(ask, EMAIL, NOBODY) < MOST
        assert len(await auth.mails()) == TOSSES * (2 if what == "sign-up" else 1)


async def test_the_count_tells_times_apart(auth: Auth) -> None:
    async def hashed_or_not(name: str) -> object:
        if name == "hashed":
            return await auth.login(NOBODY, PASSWORD)
        return await auth.stub.Logout(pb.LogoutRequest(refresh_token="x" * 43))

    assert await slower(hashed_or_not, "hashed", "not") > MOST
