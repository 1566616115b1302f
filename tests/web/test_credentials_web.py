"""Credentials on the web edge: of a call in its header, of what a WebSocket follows in each target."""

import pytest
from websockets.asyncio.client import ClientConnection

from midstream_server.server import Server
from support.calls import STREAM, attach, send
from support.credentials import calling, mint, new_key
from support.follow import Heard, records_of, state_of
from support.web import RUNS, Page, follow_on, hear, reason_of, socket


async def test_a_page_calls_with_its_token_and_follows_with_it_over_a_websocket(server: Server, page: Page) -> None:
    async with calling(server, await new_key(server)) as backend:
        run_id = await attach(backend.stubs)
        await send(backend.stubs, run_id, "1")
        token = (await mint(backend, f"send:{run_id}/{STREAM}", f"read:{run_id}")).token
    get = RUNS + "GetRun"
    assert reason_of(await page.call(get, {"runId": run_id})) == "CREDENTIALS_MISSING"
    assert (await page.call(get, {"runId": run_id}, authorization=f"Bearer {token}")).status_code == 200
    assert reason_of(await page.call(get, {"runId": "other"}, authorization=f"Bearer {token}")) == "RUN_NOT_FOUND"
    targets = [records_of(1, run_id), state_of(2, run_id), records_of(3, run_id)]
    targets[0].access_token = targets[1].access_token = token
    opened: ClientConnection
    async with socket(str(server.web_url)) as opened:
        await follow_on(opened, targets)
        heard = await hear(opened, Heard(), news=2)
        while 3 not in heard.refused:
            await hear(opened, heard)
    assert heard.values[1] == [1]
    assert heard.refused == {3: "CREDENTIALS_MISSING"}


@pytest.mark.parametrize("authorization", ["Bearer a.b.c", "Basic x"])
async def test_wrong_credentials_of_a_page(page: Page, authorization: str) -> None:
    answer = await page.call(RUNS + "GetRun", {"runId": "r"}, authorization=authorization)
    assert reason_of(answer) == "CREDENTIALS_INVALID"
    assert answer.status_code == 401
