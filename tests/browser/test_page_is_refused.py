"""Tokens that will not do, and pages of foreign origins: what a person in front of the page can read."""

import time
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.async_api import BrowserContext, expect

from midstream import can_read, can_send
from midstream.signing import key_id, signing_key
from support.backend import Backend, new_key
from support.browser import open_tab

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180, func_only=True), pytest.mark.slow]


@dataclass(frozen=True)
class Forger:
    """Signs what it likes, with the right key or another one."""

    api_key: str

    def token(self, run_id: str, *, key: object = None, algorithm: str = "EdDSA", **claims: object) -> str:
        now = int(time.time())
        honest = {
            "iss": "midstream.v1",
            "jti": f"forged-{time.monotonic_ns()}",
            "sub": "page",
            "scope": f"read:{run_id} send:{run_id}/s",
            "iat": now,
            "exp": now + 600,
        }
        signing: Any = signing_key(self.api_key) if key is None else key
        headers = {"kid": key_id(self.api_key), "typ": "JWT"}
        return jwt.encode(honest | claims, "" if algorithm == "none" else signing, algorithm, headers)


async def token_for(case: str, backend: Backend, run_id: str) -> str:
    forger = Forger(backend.api_key)
    now = int(time.time())
    match case:
        case "expired":
            return forger.token(run_id, iat=now - 600, exp=now - 300)
        case "revoked":
            token = await backend.token(run_id)
            await backend.client.revoke_token(token)
            return token
        case "foreign":
            stranger = new_key(backend.server.database, namespace="elsewhere")
            return Forger(stranger).token(run_id)
        case "wrong run":
            return await backend.token((await backend.start_run()).id)
        case "alg none":
            return forger.token(run_id, algorithm="none")
        case "other key":
            return forger.token(run_id, key=Ed25519PrivateKey.generate())
        case "tampered":
            head, _, signature = (await backend.token("run_other")).split(".")
            return ".".join([head, forger.token(run_id).split(".")[1], signature])
        case _:
            raise AssertionError(case)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("expired", "TOKEN_EXPIRED"),
        ("revoked", "TOKEN_REVOKED"),
        ("foreign", "RUN_NOT_FOUND"),
        ("wrong run", "RUN_NOT_FOUND"),
        ("alg none", "CREDENTIALS_INVALID"),
        ("other key", "CREDENTIALS_INVALID"),
        ("tampered", "CREDENTIALS_INVALID"),
    ],
)
async def test_a_token_that_will_not_do(
    case: str, reason: str, context: BrowserContext, site: str, backend: Backend
) -> None:
    run = await backend.start_run()
    tab = await open_tab(context, site, backend.web_url, run.id, await token_for(case, backend, run.id))
    await tab.page.click("#send")
    for place in ("#send-error", "#run-error", "#records-error"):
        failure = tab.page.locator(place)
        await expect(failure).to_have_attribute("data-reason", reason)
        assert len((await failure.inner_text()).split()) > 3, "it should say what is wrong"
    assert await backend.stored(run.id) == []
    assert await tab.unhandled() == []


async def test_a_token_for_seeing_does_not_send(context: BrowserContext, site: str, backend: Backend) -> None:
    run = await backend.start_run()
    token = (await backend.client.mint_token([can_read(run.id)])).token
    tab = await open_tab(context, site, backend.web_url, run.id, token)
    await tab.page.click("#send")
    await expect(tab.page.locator("#send-error")).to_have_attribute("data-reason", "SCOPE_MISSING")
    await expect(tab.page.locator("#state")).to_have_text("QUEUED")
    await expect(tab.page.locator("#records-error")).to_have_text("")


async def test_a_token_for_another_stream_does_not_send_to_this_one(
    context: BrowserContext, site: str, backend: Backend
) -> None:
    run = await backend.start_run()
    token = (await backend.client.mint_token([can_read(run.id, "other"), can_send(run.id, "other")])).token
    tab = await open_tab(context, site, backend.web_url, run.id, token)
    await tab.page.click("#send")
    await expect(tab.page.locator("#send-error")).to_have_attribute("data-reason", "SCOPE_MISSING")
    await expect(tab.page.locator("#records-error")).to_have_attribute("data-reason", "SCOPE_MISSING")
    allowed = await open_tab(context, site, backend.web_url, run.id, token, stream="other")
    assert (await allowed.send("this one may"))["ok"]


async def test_a_token_for_one_record_sends_one(context: BrowserContext, site: str, backend: Backend) -> None:
    run = await backend.start_run()
    tab = await open_tab(context, site, backend.web_url, run.id, await backend.token(run.id, max_uses=1))
    assert (await tab.send("approved", key="k"))["ok"]
    assert (await tab.send("approved", key="k"))["deduplicated"], "a repeat uses nothing up"
    second = await tab.send("and again")
    assert (second["ok"], second["reason"]) == (False, "TOKEN_USED_UP")
    await tab.shows(1)


async def test_a_token_that_is_revoked_while_the_page_follows(
    context: BrowserContext, site: str, backend: Backend
) -> None:
    run = await backend.start_run()
    token = await backend.token(run.id)
    tab = await open_tab(context, site, backend.web_url, run.id, token)
    await expect(tab.page.locator("#connection")).to_have_text("open")
    await backend.client.revoke_token(token)
    await expect(tab.page.locator("#records-error")).to_have_attribute("data-reason", "TOKEN_REVOKED")
    await expect(tab.page.locator("#run-error")).to_have_attribute("data-reason", "TOKEN_REVOKED")


async def test_a_page_of_a_foreign_origin_gets_nothing_and_stores_nothing(
    context: BrowserContext, foreign_site: str, backend: Backend
) -> None:
    run = await backend.start_run()
    tab = await open_tab(context, foreign_site, backend.web_url, run.id, await backend.token(run.id))
    refused = await tab.send("from elsewhere", timeoutMs=2_000)
    assert refused["ok"] is False
    assert refused["message"]
    assert await tab.seqs() == []
    await expect(tab.page.locator("#state")).to_have_text("")
    assert await backend.stored(run.id) == []


async def test_what_the_forger_signs_honestly_is_accepted(context: BrowserContext, site: str, backend: Backend) -> None:
    """So what is refused above is refused for what is wrong with it."""
    run = await backend.start_run()
    tab = await open_tab(context, site, backend.web_url, run.id, Forger(backend.api_key).token(run.id))
    assert (await tab.send("honest"))["ok"]
    await tab.shows(1)
