"""One Chromium and one server for the whole folder, and for every test a profile without a past.

All of it lives on the session's event loop, and so must the tests.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright

from support.backend import Backend, running_backend
from support.browser import FLAGS, PATIENCE_MS, build_page, find_chromium, serving


@pytest.fixture(scope="session")
def page_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("page")
    build_page(directory)
    return directory


@pytest.fixture(scope="session")
def site(page_files: Path) -> Iterator[str]:
    """The test page's origin, which the server allows."""
    with serving(page_files) as origin:
        yield origin


@pytest.fixture(scope="session")
def foreign_site(page_files: Path) -> Iterator[str]:
    """The same page at an origin that the server does not know."""
    with serving(page_files) as origin:
        yield origin


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    yield context
    await context.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def backend(tmp_path_factory: pytest.TempPathFactory, site: str) -> AsyncIterator[Backend]:
    async with running_backend(tmp_path_factory.mktemp("server"), site) as backend:
        yield backend
