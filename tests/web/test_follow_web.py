"""Follow by Connect and over a WebSocket: news, heartbeats, ends, clients that leave."""

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from midstream.v1 import stream_service_pb2 as pb
from midstream_server.operations.follow import HEARTBEAT_US
from midstream_server.server import Server
from support.calls import until
from support.follow import Heard, records_of, state_of
from support.web import STREAMS, Page, follow_on, following, hear, socket

FOREIGN = "https://evil.example.com"


def open_follows(server: Server) -> float | None:
    return server.metrics.registry.get_sample_value("midstream_open_streams", {"method": STREAMS + "Follow"})


async def test_by_connect(server: Server, page: Page) -> None:
    run_id = await page.attach()
    await page.send(run_id, 1)
    async with following(page, records_of(1, run_id), state_of(2, run_id)) as stream:
        await stream.until(2)
        await page.send(run_id, 2)
        await stream.until(3)
        await server.advance(HEARTBEAT_US)
        while not stream.heard.heartbeats:
            await stream.next()
        await page.finish(run_id)
        while await stream.next() is not None:
            pass
    assert stream.heard.values == {1: [1, 2]}
    assert stream.heard.ended == {1, 2}
    assert stream.end == {}


async def test_over_a_websocket(server: Server, page: Page) -> None:
    run_id = await page.attach()
    await page.send(run_id, 1)
    heard = Heard()
    async with socket(page.url) as opened:
        await follow_on(opened, [records_of(1, run_id), state_of(2, run_id), records_of(3, "run_none")])
        await hear(opened, heard, news=2)
        await server.advance(HEARTBEAT_US)
        while not heard.heartbeats:
            await hear(opened, heard)
        await page.send(run_id, 2)
        await hear(opened, heard, news=3)
        await page.finish(run_id)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await hear(opened, heard)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000
    assert heard.values == {1: [1, 2]}
    assert (heard.ended, heard.refused) == ({1, 2}, {3: "RUN_NOT_FOUND"})


@pytest.mark.parametrize("way", ["connect", "websocket"])
async def test_nothing_goes_on_for_a_client_that_left(server: Server, page: Page, way: str) -> None:
    run_id = await page.attach()
    if way == "connect":
        async with following(page, state_of(1, run_id)) as stream:
            await stream.until(1)
            assert open_follows(server) == 1
    else:
        async with socket(page.url) as opened:
            await follow_on(opened, [state_of(1, run_id)])
            await hear(opened, Heard(), news=1)
            assert open_follows(server) == 1
    await until(lambda: open_follows(server) == 0)
    code = server.metrics.registry.get_sample_value(
        "midstream_calls_total", {"method": STREAMS + "Follow", "code": "CANCELLED"}
    )
    assert code == 1


@pytest.mark.parametrize(
    ("message", "close_code", "reason"),
    [
        (b"\xff\xff", 4003, "FIELD_INVALID"),
        (b"", 4003, "FIELD_INVALID"),
        ("text", 4003, ""),
    ],
    ids=["garbage", "no targets", "text"],
)
async def test_a_bad_first_message_is_answered_and_closes(
    page: Page, message: bytes | str, close_code: int, reason: str
) -> None:
    async with socket(page.url) as opened:
        await opened.send(message)
        said = pb.FollowResponse.FromString(await opened.recv())  # type: ignore[arg-type]
        assert (said.ref, said.error.code) == (0, 3)
        assert reason in str(said.error)
        with pytest.raises(ConnectionClosed) as closed:
            await opened.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (close_code, "INVALID_ARGUMENT")


async def test_a_second_message_closes(page: Page) -> None:
    run_id = await page.attach()
    async with socket(page.url) as opened:
        await follow_on(opened, [state_of(1, run_id)])
        await hear(opened, Heard(), news=1)
        await follow_on(opened, [state_of(1, run_id)])
        assert pb.FollowResponse.FromString(await opened.recv()).error.code == 3  # type: ignore[arg-type]
        with pytest.raises(ConnectionClosed) as closed:
            await opened.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4003


async def test_a_foreign_page_gets_no_websocket(page: Page) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with socket(page.url, origin=FOREIGN):
            pass
    assert refused.value.response.status_code == 403


async def test_an_allowed_page_and_the_listeners_own_get_one(page: Page) -> None:
    for origin in ("http://localhost:5173", page.url):
        async with socket(page.url, origin=origin) as opened:
            await follow_on(opened, [state_of(1, "run_none")])
            assert (await hear(opened, Heard())).refused == {1: "RUN_NOT_FOUND"}


async def test_no_other_path_is_a_websocket(page: Page) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with socket(page.url.replace("http://", "http://") + "/other?"):
            pass
    assert refused.value.response.status_code == 404
