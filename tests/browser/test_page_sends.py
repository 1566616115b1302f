"""Sending from a page: what the hook says of it, and what is stored."""

import pytest
from playwright.async_api import BrowserContext, expect

from support.backend import Backend
from support.browser import Tab, open_tab

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180, func_only=True), pytest.mark.slow]

MIB = 1024 * 1024


async def tab_for(context: BrowserContext, site: str, backend: Backend, run_id: str) -> Tab:
    return await open_tab(context, site, backend.web_url, run_id, await backend.token(run_id))


async def test_a_click_is_stored_with_its_sender(context: BrowserContext, site: str, backend: Backend) -> None:
    run = await backend.start_run()
    tab = await tab_for(context, site, backend, run.id)
    await expect(tab.page.locator("#state")).to_have_text("QUEUED")
    await tab.page.click("#send")
    await tab.shows(1)
    await expect(tab.page.locator("#receipt")).to_have_text("1")
    await expect(tab.page.locator("#pending li")).to_have_count(0)
    (record,) = [record async for record in backend.client.list_records(run.id)]
    assert (record.value, record.sender.kind, record.sender.subject) == ("clicked 0", "ACCESS_TOKEN", "page")


async def test_a_double_click_with_one_key_is_one_record(context: BrowserContext, site: str, backend: Backend) -> None:
    run = await backend.start_run()
    tab = await tab_for(context, site, backend, run.id)
    await tab.page.dblclick("#send-once")
    await tab.shows(1)
    again = await tab.send("once", key="once")
    assert again == {"ok": True, "seq": 1, "deduplicated": True}
    other = await tab.send("something else", key="once")
    assert (other["ok"], other["reason"]) == (False, "IDEMPOTENCY_KEY_REUSED")
    assert await backend.stored(run.id) == ["once"]


async def test_a_mebibyte_passes_and_one_byte_more_is_refused_with_words(
    context: BrowserContext, site: str, backend: Backend
) -> None:
    run = await backend.start_run()
    tab = await tab_for(context, site, backend, run.id)
    quotes = 2  # JSON's, around a string
    assert (await tab.send("x" * (MIB - quotes)))["ok"]
    refused = await tab.send("x" * (MIB - quotes + 1))
    assert (refused["ok"], refused["reason"]) == (False, "PAYLOAD_TOO_LARGE")
    await expect(tab.page.locator("#send-error")).to_contain_text("1048577")
    await tab.shows(1)
    assert await tab.unhandled() == []


async def test_sending_after_the_end_says_that_the_run_has_finished(
    context: BrowserContext, site: str, backend: Backend
) -> None:
    async with backend.client.attach(task="t") as run:
        tab = await tab_for(context, site, backend, run.id)
        await expect(tab.page.locator("#state")).to_have_text("RUNNING")
    await expect(tab.page.locator("#state")).to_have_text("COMPLETED")
    await tab.page.click("#send")
    failure = tab.page.locator("#send-error")
    await expect(failure).to_have_attribute("data-reason", "RUN_FINISHED")
    await expect(failure).to_contain_text(run.id)
    await expect(tab.page.locator("#pending li")).to_have_attribute("data-status", "failed")
    assert await tab.unhandled() == []


async def test_a_run_that_ends_while_the_page_sends(context: BrowserContext, site: str, backend: Backend) -> None:
    async with backend.client.attach(task="t") as run:
        tab = await tab_for(context, site, backend, run.id)
        await tab.page.evaluate(
            """() => {
                window.outcomes = (async () => {
                    for (let stored = 0; ; stored += 4) {
                        const four = [0, 1, 2, 3].map((n) => window.send(stored + n));
                        const outcomes = await Promise.all(four);
                        const refused = outcomes.filter(({ ok }) => !ok).map(({ error }) => error.reason);
                        const seqs = outcomes.filter(({ ok }) => ok).map(({ receipt }) => receipt.seq);
                        if (refused.length > 0) return { last: Math.max(stored, ...seqs), refused };
                    }
                })();
            }"""
        )
        await tab.page.wait_for_selector('#records li[data-seq="20"]')
    outcome = await tab.page.evaluate("window.outcomes")
    assert set(outcome["refused"]) == {"RUN_FINISHED"}
    assert sorted(await backend.stored(run.id)) == list(range(outcome["last"]))  # type: ignore[type-var]
    await tab.shows(outcome["last"])
    assert await tab.unhandled() == []
