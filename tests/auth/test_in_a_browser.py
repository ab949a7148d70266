"""A person signs in on a page of the edge's own origin: what the cookie of the session is good for, in a real browser."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Page

from tests.auth.conftest import EMAIL, PASSWORD, Start
from tests.browser import PATIENCE_MILLISECONDS, chromium, needs_chromium
from tests.gateway.running_edge import Edge, running_edge

CALL = """([method, path, body, token]) => fetch(path, {
  method,
  headers: {"content-type": "application/json", ...(token ? {authorization: "Bearer " + token} : {})},
  body: body === null ? undefined : JSON.stringify(body),
}).then(async reply => ({status: reply.status, body: await reply.json()}))"""


@pytest.fixture
async def edge(start: Start, tmp_path: Path) -> AsyncIterator[Edge]:
    async with start() as auth, running_edge(tmp_path, ports_of={"auth": auth.settings.port}) as edge:
        await auth.add()
        async with httpx.AsyncClient(base_url=edge.url, timeout=20) as client:
            # Envoy looks whether the service is healthy once a second.
            for _ in range(200):
                if (await client.get("/.well-known/jwks.json")).is_success:
                    break
        yield edge


@pytest.fixture
async def page(edge: Edge) -> AsyncIterator[Page]:
    async with chromium() as browser:
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_MILLISECONDS)
        await page.goto(f"{edge.url}/docs")
        yield page


async def call(page: Page, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, dict[str, Any]]:
    reply = await page.evaluate(CALL, [method, path, body, token])
    return reply["status"], reply["body"]


@needs_chromium
async def test_the_cookie_of_a_session_reads_and_does_nothing_else(page: Page) -> None:
    login = {"email": EMAIL, "password": PASSWORD, "sessionCookie": True}
    assert (await call(page, "GET", "/v1/auth/me"))[0] == 401
    status, pair = await call(page, "POST", "/v1/auth/login", login)
    assert status == 200

    assert await page.evaluate("document.cookie") == ""  # no script can carry it away
    (cookie,) = await page.context.cookies()
    assert (cookie["name"], cookie["value"]) == ("geomesh_session", pair["accessToken"])
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")

    status, me = await call(page, "GET", "/v1/auth/me")
    assert (status, me["tenant"]) == (200, "acme")
    key = {"displayName": "made by a cookie", "scopes": ["read:public_data"]}
    assert (await call(page, "POST", "/v1/auth/apiKeys", key))[0] == 401
    assert (await call(page, "POST", "/v1/auth/apiKeys", key, pair["accessToken"]))[0] == 200


@needs_chromium
async def test_signing_out_takes_the_cookie_away(page: Page) -> None:
    _, pair = await call(page, "POST", "/v1/auth/login", {"email": EMAIL, "password": PASSWORD, "sessionCookie": True})
    status, _ = await call(page, "POST", "/v1/auth/logout", {"refreshToken": pair["refreshToken"]})
    assert status == 200
    assert await page.context.cookies() == []
    assert (await call(page, "GET", "/v1/auth/me"))[0] == 401


@needs_chromium
async def test_without_being_asked_for_no_cookie_is_set(page: Page) -> None:
    assert (await call(page, "POST", "/v1/auth/login", {"email": EMAIL, "password": PASSWORD}))[0] == 200
    assert await page.context.cookies() == []
