"""The cookie that a login gives a browser, over gRPC; that it is an authorization, tests/limits shows."""

import pytest

from geomesh.auth.v1 import auth_pb2 as pb
from tests.auth.conftest import EMAIL, PASSWORD, Auth

RULES = ["Path=/", "Max-Age=900", "HttpOnly", "SameSite=Strict"]


async def cookies(auth: Auth, *, asked: bool, protocol: str) -> tuple[list[str], str]:
    """Returns the parts of each cookie of a login, and the access token."""
    request = pb.LoginRequest(email=EMAIL, password=PASSWORD, session_cookie=asked)
    call = auth.stub.Login(request, metadata=(("x-forwarded-proto", protocol),))
    tokens = await call
    found = [str(value) for name, value in await call.initial_metadata() if name == "set-cookie"]
    return found, tokens.access_token


@pytest.mark.parametrize(("protocol", "secure"), [("http", []), ("https", ["Secure"])])
async def test_a_login_gives_the_cookie_that_was_asked_for(auth: Auth, protocol: str, secure: list[str]) -> None:
    (cookie,), token = await cookies(auth, asked=True, protocol=protocol)
    assert cookie.split("; ") == [f"geomesh_session={token}", *RULES, *secure]


async def test_a_login_gives_no_cookie_unasked(auth: Auth) -> None:
    assert (await cookies(auth, asked=False, protocol="https"))[0] == []


async def test_a_refresh_renews_the_cookie(auth: Auth) -> None:
    before = await auth.login()
    call = auth.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=before.refresh_token, session_cookie=True))
    tokens = await call
    cookie = str(dict(await call.initial_metadata())["set-cookie"])
    assert cookie.startswith(f"geomesh_session={tokens.access_token};")
