"""Seeing a run from pages, while they are reloaded, cut off, many, and while the server restarts."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, expect

from support.backend import Backend, running_backend
from support.browser import open_tab, wire_to

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180, func_only=True), pytest.mark.slow]


async def send(backend: Backend, run_id: str, first: int, last: int) -> None:
    await backend.client.send_many(run_id, "s", list(range(first, last + 1)))


async def test_a_reload_in_the_middle_misses_and_repeats_nothing(
    context: BrowserContext, site: str, backend: Backend
) -> None:
    run = await backend.start_run()
    tab = await open_tab(context, site, backend.web_url, run.id, await backend.token(run.id))
    await send(backend, run.id, 1, 300)
    sending = asyncio.create_task(send(backend, run.id, 301, 2_000))
    await tab.page.reload()
    await sending
    await tab.shows(2_000)


async def test_a_network_that_goes_and_comes_back(context: BrowserContext, site: str, backend: Backend) -> None:
    run = await backend.start_run()
    async with wire_to(backend.web_url) as wire:
        tab = await open_tab(context, site, wire.url, run.id, await backend.token(run.id))
        await send(backend, run.id, 1, 10)
        await tab.shows(10)

        await wire.cut()
        await expect(tab.page.locator("#connection")).to_have_text("retrying")
        await send(backend, run.id, 11, 20)
        await tab.page.click("#send")
        await expect(tab.page.locator("#pending li")).to_have_attribute("data-status", "sending")
        await expect(tab.page.locator("#records li")).to_have_count(10)

        await wire.mend()
        await expect(tab.page.locator("#connection")).to_have_text("open")
        await expect(tab.page.locator("#receipt")).to_have_text("21")
        await tab.shows(21)
        assert len(await backend.stored(run.id)) == 21
        assert await tab.unhandled() == []


async def test_a_restart_of_the_server(context: BrowserContext, site: str, tmp_path: Path) -> None:
    async with running_backend(tmp_path, site) as backend:
        run = await backend.start_run()
        tab = await open_tab(context, site, backend.web_url, run.id, await backend.token(run.id))
        await send(backend, run.id, 1, 5)
        await tab.shows(5)
        backend.server.kill9()
        await expect(tab.page.locator("#connection")).to_have_text("retrying")
        await tab.page.click("#send")
        await expect(tab.page.locator("#sending")).to_have_text("sending")
        backend.server.start()
        await tab.shows(6)
        await expect(tab.page.locator("#receipt")).to_have_text("6")
        assert await backend.stored(run.id) == [1, 2, 3, 4, 5, "clicked 5"]


async def test_eight_tabs_over_http_1_see_and_send(context: BrowserContext, site: str, backend: Backend) -> None:
    run = await backend.start_run()
    token = await backend.token(run.id)
    tabs = [await open_tab(context, site, backend.web_url, run.id, token) for _ in range(8)]
    for tab in tabs:
        await expect(tab.page.locator("#connection")).to_have_text("open")
    await send(backend, run.id, 1, 1)
    for tab in tabs:
        await tab.shows(1)
    outcomes = await asyncio.gather(*(tab.send(number) for number, tab in enumerate(tabs)))
    assert sorted(outcome["seq"] for outcome in outcomes) == list(range(2, 10))
    for tab in tabs:
        await tab.shows(9)
    entries = "performance.getEntriesByType('resource').filter((each) => each.name.endsWith('SendOne'))"
    protocols = await tabs[0].page.evaluate(f"{entries}.map((each) => each.nextHopProtocol)")
    assert set(protocols) <= {"http/1.1", ""}, "of another origin it may be hidden"
