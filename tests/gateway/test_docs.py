"""The OpenAPI document and its page, as a browser gets them through the edge."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.browser import PATIENCE_MILLISECONDS, chromium, needs_chromium
from tests.gateway.running_edge import Edge, running_edge

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("docs")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """An edge that waits as long as one in use does: a browser asks for all of a page at once, on a crowded machine too."""
    async with running_edge(tmp_path_factory.mktemp("docs")) as edge:
        yield edge


async def test_serves_the_document_as_json(client: httpx.AsyncClient) -> None:
    response = await client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.json()["openapi"] == "3.1.0"
    assert int(response.headers["content-length"]) < 100_000, "it is not compressed"


async def test_serves_it_plain_to_whom_cannot_unpack(client: httpx.AsyncClient) -> None:
    response = await client.get("/openapi.json", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in response.headers
    assert json.loads(response.content)["openapi"] == "3.1.0"


async def test_both_forms_are_one_document(client: httpx.AsyncClient) -> None:
    request = client.build_request("GET", "/openapi.json", headers={"accept-encoding": "gzip"})
    response = await client.send(request, stream=True)
    packed = b"".join([part async for part in response.aiter_raw()])
    plain = await client.get("/openapi.json", headers={"accept-encoding": "identity"})
    assert gzip.decompress(packed) == plain.content
    assert response.headers["etag"] == plain.headers["etag"]
    assert "accept-encoding" in response.headers["vary"]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js"])
async def test_what_a_client_has_already_is_not_sent_again(client: httpx.AsyncClient, path: str) -> None:
    first = await client.get(path)
    again = await client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    # A browser replaces what it remembers of the first reply by these.
    for name in ("etag", "cache-control", "vary", "content-security-policy", "referrer-policy", "x-frame-options"):
        assert again.headers[name] == first.headers[name]


async def test_what_a_client_has_of_an_older_version_is_sent_anew(client: httpx.AsyncClient) -> None:
    response = await client.get("/openapi.json", headers={"if-none-match": 'W/"00000000000000000000"'})
    assert response.status_code == 200


@pytest.mark.parametrize("name", ["passwd", "..%2f..%2fsettings.py", "%2e%2e", "index.html"])
async def test_serves_no_other_file(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/docs/{name}")).status_code in {400, 404}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    page = await browser.new_page(viewport={"width": 1280, "height": 1600})
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    yield page
    await page.close()


@needs_chromium
async def test_a_browser_shows_every_operation_and_asks_no_other_host(
    edge: Edge, client: httpx.AsyncClient, page: Page, tmp_path: Path
) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{edge.url}/docs")
    await page.locator("body[data-ready=yes]").wait_for()
    document = (await client.get("/openapi.json")).json()
    operations = [each["operationId"] for verbs in document["paths"].values() for each in verbs.values()]
    await page.locator(".opblock").nth(len(operations) - 1).wait_for()
    assert await page.locator(".opblock").count() == len(operations)
    assert complaints == []
    strangers = [url for url in asked if not url.startswith((edge.url, "data:", "blob:"))]
    assert strangers == []
    picture = tmp_path / "docs.png"
    await page.screenshot(path=picture)
    assert picture.stat().st_size > 20_000, "the page is empty"


@needs_chromium
async def test_the_page_works_when_it_is_opened_again(edge: Edge, page: Page) -> None:
    """The second time the edge only says that nothing changed."""
    for _ in range(2):
        await page.goto(f"{edge.url}/docs")
        await page.locator("body[data-ready=yes]").wait_for()
    async with asyncio.timeout(5):
        while '"route":"docs not modified"' not in edge.log.read_text():  # noqa: ASYNC110 -- written a little later
            await asyncio.sleep(0.05)


@needs_chromium
async def test_a_call_can_be_tried_in_the_browser(edge: Edge, page: Page) -> None:
    await page.goto(f"{edge.url}/docs#/GatewayService/getStatus")
    operation = page.locator("#operations-GatewayService-getStatus")
    await operation.get_by_role("button", name="Execute").click()
    shown = operation.locator(".live-responses-table tbody .response-col_status")
    await shown.wait_for()
    assert (await shown.inner_text()).startswith("200")
