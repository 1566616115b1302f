"""Followers that are many, slow, or dropped: bounded memory, nobody else held back, no gap and no repeat."""

import asyncio
import contextlib
import resource
import socket as sockets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from midstream.v1 import stream_service_pb2 as pb
from support.follow import Heard, records_of, state_of
from support.server_process import ServerProcess
from support.web import STREAMS, Page, encoded, follow_on, following, frame, hear, post, socket

IDLE = 2_000
KIB_EACH = 60
SLOW = 20
BULK_RECORDS = 300
BULK_BYTES = 100_000
HELD_MIB_EACH = 4


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path) as process:
        yield process


@pytest.fixture
async def page(process: ServerProcess) -> AsyncIterator[Page]:
    page = Page(process.web_url)
    async with page.http:
        yield page


def private_kib(process: ServerProcess) -> int:
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


async def open_follows(process: ServerProcess) -> float:
    line = 'midstream_open_streams{method="/midstream.v1.StreamService/Follow"}'
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(process.metrics_url)).text
    return sum(float(each.rsplit(" ", 1)[1]) for each in text.splitlines() if each.startswith(line))


async def until_open(process: ServerProcess, count: int) -> None:
    async with asyncio.timeout(30):
        while await open_follows(process) != count:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_idle_followers_cost_little_and_leave_nothing(process: ServerProcess, page: Page) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    run_id = await page.attach()
    request = post(
        STREAMS + "Follow",
        frame(encoded(pb.FollowRequest(targets=[records_of(1, run_id), state_of(2, run_id)]))),
        "application/connect+proto",
    )
    parts = urlsplit(process.web_url)
    before = private_kib(process)
    writers: list[asyncio.StreamWriter] = []
    readers: list[asyncio.StreamReader] = []
    try:
        for _ in range(IDLE):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(request)
            readers.append(reader)
            writers.append(writer)
        await until_open(process, IDLE)
        assert (private_kib(process) - before) / IDLE < KIB_EACH
        await page.send(run_id, "to all")
        async with asyncio.timeout(30):
            for reader in readers:
                await reader.readuntil(b"to all")
    finally:
        for writer in writers:
            writer.close()
    await until_open(process, 0)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["connect", "websocket"])
async def test_slow_readers_hold_back_only_themselves(process: ServerProcess, page: Page, way: str) -> None:
    run_id = await page.attach()
    for first in range(0, BULK_RECORDS, 10):
        await page.send(run_id, *[f"{number:6}" + "x" * BULK_BYTES for number in range(first, first + 10)])
    targets = [records_of(1, run_id)]
    before = private_kib(process)
    async with contextlib.AsyncExitStack() as slow:
        for _ in range(SLOW):
            if way == "connect":
                slow.push_async_callback(_close, await _unread(process.web_url, targets))
            else:
                stuck = await slow.enter_async_context(socket(process.web_url, max_queue=1, close_timeout=0))
                await follow_on(stuck, targets)
        await until_open(process, SLOW)
        async with following(page, *targets) as quick:
            heard = await quick.until(BULK_RECORDS)
        assert [int(value[:6]) for value in heard.values[1]] == list(range(BULK_RECORDS))
        assert (private_kib(process) - before) / 1024 < SLOW * HELD_MIB_EACH
    await until_open(process, 0)


async def _unread(url: str, targets: list[pb.FollowRequest.Target]) -> sockets.socket:
    """A caller that never reads."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    caller = sockets.socket()
    caller.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
    caller.setblocking(False)
    await loop.sock_connect(caller, (parts.hostname, parts.port))
    body = frame(encoded(pb.FollowRequest(targets=targets)))
    await loop.sock_sendall(caller, post(STREAMS + "Follow", body, "application/connect+proto"))
    return caller


async def _close(caller: sockets.socket) -> None:
    caller.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["connect", "websocket"])
async def test_a_follower_goes_on_after_a_drop_and_a_restart(process: ServerProcess, page: Page, way: str) -> None:
    """No gap and no repeat, though records come all the time and the server is killed in the middle."""
    first, second = await page.attach(), await page.attach()
    heard = Heard()
    for round_ in range(3):
        for run_id in (first, second):
            await page.send(run_id, *[round_ * 100 + number for number in range(100)])
        targets = [
            records_of(ref, run_id, after_offset=heard.offsets.get(ref, 0)) for ref, run_id in ((1, first), (2, second))
        ]
        if way == "connect":
            async with following(page, *targets) as stream:
                stream.heard = heard
                await stream.until(round_ * 200 + 150)
        else:
            async with socket(process.web_url) as opened:
                await follow_on(opened, targets)
                await hear(opened, heard, news=round_ * 200 + 150)
        await asyncio.to_thread(process.restart)
    async with following(
        page, *[records_of(ref, run_id, after_offset=heard.offsets[ref]) for ref, run_id in ((1, first), (2, second))]
    ) as stream:
        stream.heard = heard
        await stream.until(600)
    assert heard.values == {1: list(range(300)), 2: list(range(300))}


@pytest.mark.parametrize("way", ["connect", "websocket"])
async def test_a_server_that_drains_tells_its_followers(process: ServerProcess, page: Page, way: str) -> None:
    run_id = await page.attach()
    heard = Heard()
    if way == "connect":
        async with following(page, state_of(1, run_id)) as stream:
            await stream.until(1)
            stopped = asyncio.create_task(asyncio.to_thread(process.terminate))
            while await stream.next() is not None:
                pass
            assert stream.end is not None
            assert stream.end["error"]["code"] == "unavailable"
    else:
        async with socket(process.web_url) as opened:
            await follow_on(opened, [state_of(1, run_id)])
            await hear(opened, heard, news=1)
            stopped = asyncio.create_task(asyncio.to_thread(process.terminate))
            while not heard.refused:
                await hear(opened, heard)
            assert heard.refused == {0: "SERVER_DRAINING"}
            await opened.wait_closed()
            assert opened.close_code == 4014
    assert await stopped == 0
    assert process.stderr_path.read_text() == ""
