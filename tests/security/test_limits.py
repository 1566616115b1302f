"""What one token can do at a time, and in a time; other tokens and keys are not held up."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

import midstream
from midstream import MidstreamError, can_read, can_send
from support.keyed_server import KeyedServer

SUBSCRIPTIONS = 32
BURST = 200


async def test_so_many_subscriptions_are_open_with_one_token(
    keyed: KeyedServer, backend: midstream.Client, run_id: str
) -> None:
    await backend.send(run_id, "s", 1)
    token, other = await backend.mint_token([can_read(run_id)]), await backend.mint_token([can_read(run_id)])
    async with (
        midstream.connect(keyed.url, access_token=token.token) as page,
        midstream.connect(keyed.url, access_token=token.token) as second_page,
        midstream.connect(keyed.url, access_token=other.token) as other_page,
    ):
        opened: list[AsyncGenerator[Any, None]] = []
        for number in range(SUBSCRIPTIONS):
            client = page if number % 2 else second_page
            opened.append(client.tail(run_id) if number % 3 else client.watch_run(run_id))
            await anext(opened[-1])
        for one_more in (page.tail(run_id), second_page.watch_run(run_id)):
            with pytest.raises(MidstreamError) as refused:
                await anext(one_more)
            assert refused.value.reason == "TOO_MANY_SUBSCRIPTIONS"
            assert refused.value.metadata == {"max_subscriptions": str(SUBSCRIPTIONS)}
        await page.get_run(run_id)  # is no subscription
        await anext(other_page.tail(run_id))
        for call in opened[:2]:
            await call.aclose()
        assert await _until_one_is_free(page, run_id) == run_id
        for call in opened:
            await call.aclose()


async def _until_one_is_free(client: midstream.Client, run_id: str) -> str:
    """The server hears of a closed call a moment later."""
    while True:
        try:
            return (await anext(client.watch_run(run_id))).id
        except MidstreamError as error:
            if error.reason != "TOO_MANY_SUBSCRIPTIONS":
                raise


async def test_a_token_that_sends_too_fast_is_told_to_wait_and_others_are_not(
    keyed: KeyedServer, backend: midstream.Client, run_id: str
) -> None:
    token = await backend.mint_token([can_send(run_id), can_read(run_id)])
    async with midstream.connect(keyed.url, access_token=token.token, retry_timeout="1s") as page:
        # A large batch passes, and is paid for afterwards.
        assert all(result.ok for result in await page.send_many(run_id, "s", range(900)))
        with pytest.raises(MidstreamError) as refused:
            await page.get_run(run_id)
        assert refused.value.reason == "RATE_LIMITED"
        assert refused.value.retry_after_us is not None
        assert refused.value.retry_after_us > 1_000_000
        assert refused.value.metadata == {"records_per_second": "50"}
    other = await backend.mint_token([can_read(run_id)])
    async with midstream.connect(keyed.url, access_token=other.token) as page:
        assert (await page.get_run(run_id)).stream("s").last_seq == 900
    await backend.send(run_id, "s", 1)


async def test_a_client_that_is_told_to_wait_waits(keyed: KeyedServer, backend: midstream.Client, run_id: str) -> None:
    token = await backend.mint_token([can_send(run_id), can_read(run_id)])
    async with midstream.connect(keyed.url, access_token=token.token) as page:
        await page.send_many(run_id, "s", range(BURST + 30))
        assert (await page.get_run(run_id)).stream("s").last_seq == BURST + 30
