"""Pages in a real browser: event streams by the session's cookie, other origins, and what a foreign page can cause."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page

from tests.browser import PATIENCE_MILLISECONDS, chromium, needs_chromium
from tests.limits import ticking
from tests.limits.running_limits import Limits, running_limits

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("pages")]

READ = "/v1/cells/8928308280fffff"
LISTEN = """path => new Promise((resolve, reject) => {
  window.events = [];
  window.source = new EventSource(path);
  window.source.onmessage = event => { window.events.push([event.lastEventId, event.data]); resolve(); };
  window.source.onerror = () => reject(new Error("state " + window.source.readyState));
})"""
FETCH = """([url, options]) => fetch(url, options).then(
  reply => ({status: reply.status, limit: reply.headers.get("x-ratelimit-limit"), id: reply.headers.get("x-request-id")}),
  error => ({failed: String(error)}),
)"""


class Site:
    """A web server with one empty page, which is two origins: 127.0.0.1, the edge's own host, and localhost, a foreign one."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>page</title>")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.sibling = f"http://127.0.0.1:{self._server.server_port}"
        self.foreign = f"http://localhost:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def edge(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Limits]:
    """An edge with a stream of events, which lets pages of the foreign origin call."""
    folder = tmp_path_factory.mktemp("pages")
    async with running_limits(folder, api=ticking.contract(), cors_origins=[site.foreign]) as limits:
        yield limits


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def signed_in(browser: Browser, edge: Limits) -> AsyncIterator[tuple[BrowserContext, str]]:
    """A browser with the session's cookie, as a sign-in sets it, and the token in it."""
    edge.backend.ticker = ticking.Ticker()
    edge.backend.metadata = {}
    token = edge.bearer("viewer", plan="enterprise")["authorization"].removeprefix("Bearer ")
    # What stands for a page of the edge here is a reply that no page is, which lets nothing be loaded.
    context = await browser.new_context(bypass_csp=True)
    await context.add_cookies(
        [{"name": "geomesh_session", "value": token, "url": edge.url, "httpOnly": True, "sameSite": "Strict"}]
    )
    yield context, token
    await context.close()


async def opened(context: BrowserContext, url: str) -> Page:
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    await page.goto(url)
    return page


async def until_there_are(page: Page, events: int) -> list[Any]:
    await page.wait_for_function("count => window.events.length >= count", arg=events)
    found: list[Any] = await page.evaluate("window.events")
    return found


@needs_chromium
async def test_events_reach_a_page_one_by_one_by_its_cookie_alone(
    edge: Limits, signed_in: tuple[BrowserContext, str]
) -> None:
    context, token = signed_in
    page = await opened(context, f"{edge.url}/livez")
    await page.evaluate(LISTEN, ticking.PATH)
    assert edge.backend.ticker.opened[0]["authorization"] == f"Bearer {token}"
    assert "cookie" not in edge.backend.ticker.opened[0]
    for number in (2, 3):
        assert len(await page.evaluate("window.events")) == number - 1  # nothing is held back, nor comes early
        edge.backend.ticker.tick()
        assert (await until_there_are(page, number))[-1] == [str(number), f"tick {number}"]
    assert await page.evaluate("document.cookie") == ""


@needs_chromium
async def test_a_page_that_leaves_ends_its_stream(edge: Limits, signed_in: tuple[BrowserContext, str]) -> None:
    page = await opened(signed_in[0], f"{edge.url}/livez")
    await page.evaluate(LISTEN, ticking.PATH)
    await page.close()
    async with asyncio.timeout(10):
        while not edge.backend.ticker.closed:  # noqa: ASYNC110 -- the browser tells nobody
            await asyncio.sleep(0.02)


async def test_a_stream_goes_on_after_the_last_event_that_was_seen(edge: Limits) -> None:
    edge.backend.ticker = ticking.Ticker()
    headers = edge.bearer("resuming", plan="enterprise") | {"last-event-id": "41"}
    async with edge.client(**headers) as client, client.stream("GET", ticking.PATH) as reply:
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.headers["x-request-id"]
        assert await anext(reply.aiter_bytes()) == b"id: 42\ndata: tick 42\n\n"


async def test_opening_streams_over_rest_is_counted_by_the_minute(edge: Limits) -> None:
    statuses = []
    for _ in range(11):
        headers = edge.bearer("eager", plan="enterprise")
        async with edge.client(**headers) as client, client.stream("GET", ticking.PATH) as reply:
            statuses.append(reply.status_code)
    assert statuses == [200] * 10 + [429]


@needs_chromium
async def test_a_page_of_an_origin_that_is_set_may_call_and_read_its_limits(
    edge: Limits, site: Site, browser: Browser
) -> None:
    page = await opened(await browser.new_context(), site.foreign)
    options = {"headers": edge.bearer("page", plan="enterprise")}  # which the browser asks leave for
    reply = await page.evaluate(FETCH, [edge.url + READ, options])
    assert (reply["status"], reply["limit"]) == (200, "100000")
    assert reply["id"]
    await page.context.close()


@needs_chromium
async def test_a_page_of_another_origin_may_neither_ask_nor_read(edge: Limits, site: Site, browser: Browser) -> None:
    page = await opened(await browser.new_context(), site.sibling)
    edge.backend.metadata = {}
    asked = await page.evaluate(FETCH, [edge.url + READ, {"headers": edge.bearer("page")}])
    assert asked == {"failed": "TypeError: Failed to fetch"}
    assert edge.backend.metadata == {}
    simple = await page.evaluate(FETCH, [edge.url + READ, {}])
    assert simple == {"failed": "TypeError: Failed to fetch"}
    await page.context.close()


@needs_chromium
async def test_a_foreign_page_does_not_get_the_cookie_sent(
    edge: Limits, site: Site, signed_in: tuple[BrowserContext, str]
) -> None:
    page = await opened(signed_in[0], site.foreign)
    for method, path in (("GET", READ), ("POST", "/v1/entities:batch")):
        edge.backend.metadata = {}
        options = {"credentials": "include", "method": method, "body": "{}" if method == "POST" else None}
        assert (await page.evaluate(FETCH, [edge.url + path, options]))["status"] == 200
        assert edge.backend.metadata
        assert "authorization" not in edge.backend.metadata


@needs_chromium
async def test_a_sibling_that_gets_the_cookie_sent_can_change_nothing_by_it(
    edge: Limits, site: Site, signed_in: tuple[BrowserContext, str]
) -> None:
    """Another port of the same host is the same site, for which SameSite does nothing."""
    page = await opened(signed_in[0], site.sibling)
    edge.backend.metadata = {}
    options = {"credentials": "include", "mode": "no-cors", "method": "POST", "body": "{}"}
    await page.evaluate(FETCH, [f"{edge.url}/v1/entities:batch", options])
    assert edge.backend.metadata
    assert "authorization" not in edge.backend.metadata
