"""A browser for the tests of pages, where there is one."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright

_NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
_PATH = next(filter(None, map(shutil.which, _NAMES)), None)

PATIENCE_MILLISECONDS = 90_000
"""How long a page may take to show something: on a crowded machine the browser is slow, not the page wrong."""

needs_chromium = pytest.mark.skipif(_PATH is None, reason="no Chromium here; install the package chromium")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Runs a headless Chromium."""
    async with async_playwright() as playwright:
        # A container has no user namespaces for Chromium's sandbox; the pages are our own.
        browser = await playwright.chromium.launch(executable_path=_PATH, args=["--no-sandbox"])
        yield browser
        await browser.close()
