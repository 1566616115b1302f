"""The research chat, whole: `run_chat.py` as `make demo-chat` starts it, at a faster pace, in a real browser."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from support.browser import ROOT, build_chat

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180, func_only=True), pytest.mark.slow]

LIBRARY = ROOT / "examples" / "research_agent" / "library"
TOPIC = "Storing electricity for the grid"
SUSPENDED = "Suspended: no process"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chat() -> AsyncIterator[str]:
    """Its address. It must end well when it is told to."""
    build_chat()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(str(ROOT / "examples" / "research_chat" / "run_chat.py"), "--no-browser", "--port", "0"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CHAT_THINKING": "0.4", "CHAT_TYPING": "0.02"},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        first = (await process.stdout.readline()).decode()
        address = re.search(r"http://\S+", first)
        assert address is not None, first
        yield address[0]
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 128 + signal.SIGTERM


def facts() -> set[str]:
    """What the agent can find."""
    lines = [line for path in LIBRARY.glob("*.md") for line in path.read_text(encoding="utf-8").splitlines()]
    return {line.removeprefix("- ") for line in lines if line.startswith("- ")}


async def start(page: Page, chat: str) -> None:
    await page.goto(chat)
    await page.get_by_role("button", name=TOPIC).click()
    await expect(paragraphs(page).first).to_be_visible()


def paragraphs(page: Page) -> Locator:
    return page.locator("article p:not(.activity)")


async def texts(page: Page) -> list[str]:
    """The paragraphs, without the names of their sources and without the conclusion."""
    read = "all => all.map((each) => each.firstChild?.textContent ?? '')"
    found: list[str] = await page.locator("article p:not(.activity, .conclusion)").evaluate_all(read)
    return found


async def ask(page: Page, text: str) -> None:
    await page.get_by_label("Message").fill(text)
    await page.keyboard.press("Enter")


def reached(page: Page, text: str, how: str) -> Locator:
    """A row of the timeline: what reached the task, and how."""
    return page.locator(".timeline li", has_text=text).locator(f".how.{how}")


async def test_the_whole_story(chat: str, context: BrowserContext) -> None:
    page = await context.new_page()
    await start(page, chat)
    await expect(page.locator("[data-state=RUNNING]")).to_be_visible()

    await ask(page, "What about fire safety?")
    await expect(reached(page, "What about fire safety?", "on")).to_be_visible()
    await expect(page.locator("article h2", has_text="What about fire safety?")).to_be_visible()
    await page.get_by_role("button", name="Go deeper").click()
    await expect(reached(page, "Go deeper", "on")).to_be_visible()

    before = await texts(page)
    await page.reload()
    await expect(paragraphs(page).nth(len(before))).to_be_visible()
    assert (await texts(page))[: len(before) - 1] == before[:-1], "all but the last one were complete"

    second = await context.new_page()
    await second.goto(page.url)
    await expect(reached(second, "What about fire safety?", "on")).to_be_visible()
    await second.get_by_role("button", name="Wrap up").click()
    for tab in (page, second):
        await expect(tab.locator(".timeline")).to_contain_text(SUSPENDED)
        await expect(tab.locator("[data-state=SUSPENDED]")).to_be_visible()
        await expect(tab.locator(".node.task")).to_contain_text("no process")
    found = await texts(page)
    assert len(found) == len(set(found))
    assert set(found) <= facts()
    assert await texts(second) == found

    await ask(second, "How long does it last?")
    await expect(reached(page, "How long does it last?", "wait")).to_be_visible()
    await expect(page.locator(".timeline")).to_contain_text("A new process")
    await page.get_by_role("button", name="Wrap up").click()
    await expect(page.locator(".timeline")).to_contain_text(SUSPENDED)

    await page.get_by_role("button", name="Publish").dblclick()
    for tab in (page, second):
        await expect(tab.locator(".composer")).to_contain_text("Published.")
        await expect(reached(tab, "Publish it", "wait")).to_have_count(1)
        await expect(tab.locator("[data-state=COMPLETED]")).to_be_visible()
    assert await texts(page) == await texts(second)

    await page.reload()
    await expect(page.locator(".composer")).to_contain_text("Published.")


async def test_stopping_reaches_the_step_that_runs(chat: str, context: BrowserContext) -> None:
    page = await context.new_page()
    await start(page, chat)
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator(".composer")).to_contain_text("Stopped, as you asked.")
    await expect(reached(page, "Stop", "on")).to_have_count(1)


async def test_what_does_not_fit_is_refused_with_its_field(chat: str, context: BrowserContext) -> None:
    page = await context.new_page()
    await start(page, chat)
    await page.get_by_label("Message").evaluate("field => field.removeAttribute('maxlength')")
    await ask(page, "x" * 2001)
    await expect(page.locator(".composer").get_by_role("alert")).to_have_text(
        "text: the value is longer than 2000 characters"
    )


async def test_a_run_of_somebody_else_is_not_there(chat: str, context: BrowserContext, browser: Browser) -> None:
    page = await context.new_page()
    await start(page, chat)
    somebody_else = await browser.new_context()
    theirs = await somebody_else.new_page()
    await theirs.goto(page.url)
    await expect(theirs.get_by_role("alert")).to_contain_text("There is no run")
    await somebody_else.close()
