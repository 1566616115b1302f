"""The module that users' tests use."""

import sys

import pytest

import midstream
from midstream.input_stream import input_stream
from midstream.testing import local_server

word = input_stream("word", str)


async def test_a_server_with_a_client_and_a_clock() -> None:
    async with local_server() as server:
        assert server.url.startswith("grpc://127.0.0.1:")
        before_us = server.now_us
        async with server.client.attach(task="t") as run:
            await word.send(run.id, "hello")
            assert (await word.once()).unwrap() == "hello"
        assert (await server.client.get_run(run.id)).result is None
        assert server.now_us == before_us


async def test_time_passes_when_the_test_says_so() -> None:
    async with local_server() as server:
        async with server.client.attach(task="t") as run:
            run.detach()
        await server.advance("23h")
        assert (await server.client.get_run(run.id)).state == "RUNNING"
        await server.advance("2h")
        assert (await server.client.get_run(run.id)).state == "EXPIRED"
        await server.advance("8d")
        with pytest.raises(midstream.RunNotFound):
            await server.client.get_run(run.id)


async def test_each_server_is_new() -> None:
    async with local_server() as one, local_server() as other, one.client.attach("mine", task="t"):
        with pytest.raises(midstream.RunNotFound):
            await other.client.get_run("mine")


async def test_a_server_with_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDSTREAM_API_KEY", "midstream_abcdefghijkl_of-another-server")
    async with local_server() as server:
        await server.client.start_run("t")
    async with local_server(api_keys={"backend": "default", "stranger": "other"}) as server:
        run = await server.client.start_run("t")
        await server.client.send(run.id, "s", 1)
        assert [record.sender.subject async for record in server.client.list_records(run.id)] == ["backend"]
        async with midstream.connect(server.url, api_key=server.api_keys["stranger"]) as stranger:
            with pytest.raises(midstream.RunNotFound):
                await stranger.get_run(run.id)
        monkeypatch.delenv("MIDSTREAM_API_KEY")
        async with midstream.connect(server.url) as nobody:
            with pytest.raises(midstream.Unauthenticated):
                await nobody.get_run(run.id)


async def test_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "midstream_server.server", None)
    with pytest.raises(ImportError, match="install midstream-server"):
        async with local_server():
            raise AssertionError("not reached")
