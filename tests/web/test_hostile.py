"""What browsers never send, and others do: garbage, bombs, endless and half requests. Others are served meanwhile."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from midstream_server.web.http import MAX_HEAD_BYTES
from support.server_process import ServerProcess
from support.web import CONNECT_JSON, JSON, RUNS, STREAMS, Page, frame, frames, post, raw_connection

MAX_BODY = 5 * 1024 * 1024
MAX_PAYLOAD = 1024 * 1024
BOMB_BYTES = 200 * 1024 * 1024
OPEN_STREAMS = 'midstream_open_streams{method="/midstream.v1.StreamService/Follow"}'
OPEN_CALLS = "midstream_open_calls{"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("hostile")) as process:
        yield process


@pytest.fixture
async def page(process: ServerProcess) -> AsyncIterator[Page]:
    """Afterwards others are served, and the server's log and standard error hold no fault."""
    page = Page(process.web_url)
    async with page.http:
        yield page
        run_id = await page.attach()
        assert (await page.send(run_id, 1)).status_code == 200
    assert process.faults() == []
    assert process.stderr_path.read_text() == ""


def private_kib(process: ServerProcess) -> int:
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


async def metric(process: ServerProcess, prefix: str) -> float:
    """The sum of the samples whose lines begin so."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(process.metrics_url)).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(prefix))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"runId":1}',
        b'{"runId":"' + b"9" * 100_000 + b'"}',
        b'{"lastOffset":' + b"9" * 100_000 + b"}",
    ],
    ids=lambda content: repr(content[:12]),
)
async def test_garbage_in_json(page: Page, content: bytes) -> None:
    response = await page.http.post(RUNS + "GetRun", content=content, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\nzz\r\n",
        b"\x00" * 4096,
    ],
    ids=["TLS", "HTTP/2", "no version", "negative length", "two lengths", "bad chunk", "zeros"],
)
async def test_what_is_no_request_gets_an_answer_or_a_closed_connection(page: Page, raw: bytes) -> None:
    async with raw_connection(page.url) as (reader, writer):
        writer.write(raw)
        answer = await reader.read()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


async def test_endless_headers_are_cut_off(page: Page) -> None:
    async with raw_connection(page.url) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nx: " + b"a" * (MAX_HEAD_BYTES + 1))
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("endless", [b"0\r\nx: ", b"2;x="], ids=["trailers", "chunk extension"])
async def test_what_is_endless_behind_the_headers_is_cut_off(page: Page, endless: bytes) -> None:
    async with raw_connection(page.url) as (reader, writer):
        writer.write(
            b"POST /midstream.v1.RunService/GetRun HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n" + endless
        )
        answer = asyncio.create_task(reader.read())
        for _ in range(100):
            # What has been sent when the server closes may turn its answer into a reset connection.
            with contextlib.suppress(ConnectionError):
                writer.write(b"a" * MAX_HEAD_BYTES)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            assert (await answer).startswith(b"HTTP/1.1 400 ")


async def test_a_record_just_over_the_limit_is_refused_with_its_reason(page: Page) -> None:
    run_id = await page.attach()
    fits = await page.send(run_id, "x" * (MAX_PAYLOAD - 2))
    assert fits.status_code == 200
    over = await page.send(run_id, "x" * (MAX_PAYLOAD - 1))
    assert (over.status_code, over.json()["code"]) == (400, "invalid_argument")
    assert "PAYLOAD_TOO_LARGE" in over.text


async def test_a_body_over_the_limit_is_refused_before_it_came(page: Page) -> None:
    async with raw_connection(page.url) as (reader, writer):
        writer.write(post(STREAMS + "SendOne", b"", "application/json", length=10**12))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")


async def test_an_endless_chunked_body_is_refused_at_the_limit(page: Page, process: ServerProcess) -> None:
    before = private_kib(process)
    async with raw_connection(page.url) as (reader, writer):
        writer.write(
            b"POST /midstream.v1.StreamService/SendOne HTTP/1.1\r\nhost: x\r\n"
            b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        for _ in range(10 * MAX_BODY // 65536):
            writer.write(chunk)
            await writer.drain()
        assert (await answer).startswith(b"HTTP/1.1 413 ")
    assert private_kib(process) - before < 30 * 1024


async def test_a_gzip_bomb_is_refused_at_the_limit(page: Page, process: ServerProcess) -> None:
    before = private_kib(process)
    bomb = gzip.compress(bytes(BOMB_BYTES), 1)
    response = await page.http.post(RUNS + "GetRun", content=bomb, headers={**JSON, "content-encoding": "gzip"})
    assert (response.status_code, response.json()["code"]) == (413, "resource_exhausted")
    framed = await page.http.post(
        STREAMS + "Tail", content=frame(bomb, flags=1), headers={**CONNECT_JSON, "connect-content-encoding": "gzip"}
    )
    ((_, end),) = frames(framed.content)
    assert json.loads(end)["error"]["code"] == "resource_exhausted"
    assert private_kib(process) - before < 30 * 1024


async def test_damaged_gzip(page: Page) -> None:
    whole = gzip.compress(b'{"runId":"run_none"}')
    for damaged in (b"no gzip", whole[:-6], whole[:10]):
        headers = {**JSON, "content-encoding": "gzip"}
        response = await page.http.post(RUNS + "GetRun", content=damaged, headers=headers)
        assert (response.status_code, "gzip" in response.json()["message"]) == (400, True)


async def test_clients_that_hang_up_in_the_middle_leave_nothing(page: Page, process: ServerProcess) -> None:
    for cut in range(1, 200, 20):
        async with raw_connection(page.url) as (_, writer):
            writer.write(post(STREAMS + "SendOne", b'{"runId":"run_none"}', "application/json", length=500)[:cut])
            await writer.drain()
    async with raw_connection(page.url) as (_, writer):
        writer.write(post(STREAMS + "Follow", b"\x00\x00\x00\x00\x09half", "application/connect+proto", length=14))
        await writer.drain()
    async with raw_connection(page.url) as (_, writer):
        writer.write(
            b"GET /midstream.v1.StreamService/Follow HTTP/1.1\r\nhost: x\r\n"
            b"connection: Upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x82\xfe"
        )
        await writer.drain()
    deadline = asyncio.get_running_loop().time() + 20
    while await metric(process, OPEN_CALLS) + await metric(process, OPEN_STREAMS) > 0:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_pipelined_requests_are_answered_in_order(page: Page) -> None:
    run_id = await page.attach()
    one = json.dumps({"runId": run_id}).encode()
    none = b'{"runId":"run_none"}'
    async with raw_connection(page.url) as (reader, writer):
        writer.write(b"".join(post(RUNS + "GetRun", each, "application/json") for each in (one, none, one)))
        answers = [await _answer(reader) for _ in range(3)]
    assert [run_id.encode() in answer for answer in answers] == [True, False, True]


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    return await reader.readexactly(length)
