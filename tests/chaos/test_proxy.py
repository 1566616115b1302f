"""The tests' own proxy does to connections what its faults say, and what comes through is what was sent."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.proxy import Lost, Proxy

LOST: tuple[Lost, ...] = ("requests", "answers", "both")


@pytest.fixture
async def heard() -> list[bytes]:
    return []


@pytest.fixture
async def echo_port(heard: list[bytes]) -> AsyncIterator[int]:
    """A server that says everything again."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            heard.append(data)
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def proxy(echo_port: int) -> AsyncIterator[Proxy]:
    nobody_there = 1
    proxy = await Proxy(lambda: [nobody_there, echo_port]).start()
    yield proxy
    await proxy.close()


class Line:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def says(self, word: bytes) -> None:
        self.writer.write(word)
        await self.writer.drain()

    async def hears(self, word: bytes) -> None:
        assert await self.reader.readexactly(len(word)) == word

    async def is_reset(self) -> None:
        with pytest.raises(ConnectionResetError):
            while await self.reader.read(1000):
                pass
        self.writer.close()


async def line_to(listener: Proxy | int) -> Line:
    port = listener if isinstance(listener, int) else listener.port
    return Line(*await asyncio.open_connection("127.0.0.1", port))


async def a_word_goes_round(echo_port: int) -> None:
    """Beside the proxy: what had got through it would have been heard by now."""
    line = await line_to(echo_port)
    await line.says(b"beside")
    await line.hears(b"beside")
    line.writer.close()


async def test_it_finds_who_is_there(proxy: Proxy) -> None:
    line = await line_to(proxy)
    for word in (b"one", b"two" * 100_000):
        await line.says(word)
        await line.hears(word)
    line.writer.close()


async def test_a_stall_delays_and_loses_nothing(proxy: Proxy, echo_port: int, heard: list[bytes]) -> None:
    line = await line_to(proxy)
    await line.says(b"before")
    await line.hears(b"before")
    proxy.stall()
    await line.says(b"during")
    other = await line_to(proxy)
    await other.says(b"other")
    await a_word_goes_round(echo_port)
    assert heard == [b"before", b"beside"]
    await proxy.heal()
    await line.hears(b"during")
    await other.hears(b"other")
    for each in (line, other):
        each.writer.close()


async def test_a_cut_ends_what_is_there_and_what_comes(proxy: Proxy) -> None:
    line = await line_to(proxy)
    await line.says(b"word")
    await line.hears(b"word")
    await proxy.cut()
    await line.is_reset()
    await (await line_to(proxy)).is_reset()
    await proxy.heal()
    again = await line_to(proxy)
    await again.says(b"again")
    await again.hears(b"again")
    again.writer.close()


@pytest.mark.parametrize("lost", LOST)
async def test_what_a_half_open_connection_loses_is_lost(
    proxy: Proxy, echo_port: int, heard: list[bytes], lost: Lost
) -> None:
    line = await line_to(proxy)
    await line.says(b"word")
    await line.hears(b"word")
    proxy.lose(lost)
    await line.says(b"lost")
    await a_word_goes_round(echo_port)
    assert (b"lost" in heard) <= (lost == "answers")
    await proxy.heal()
    await line.is_reset()
