"""Connections themselves: what they inherit, how long they may be silent, what is taken from many at once."""

import asyncio
import socket

import pytest

from midstream_server.server import Server
from midstream_server.web import http
from midstream_server.web.listener import find_vanished_peers
from support.web import RUNS, Page, post, raw_connection


def test_accepted_connections_find_peers_that_vanished() -> None:
    with socket.socket() as listening:
        find_vanished_peers(listening)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 30
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 60_000


async def test_half_a_head_is_not_waited_for_long(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEAD_SECONDS", 0.05)
    async with raw_connection(page.url) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost:")
        assert await reader.read() == b""
    async with raw_connection(page.url) as (reader, writer):
        writer.write(post(RUNS + "ListRuns", b"{}", "application/json") + b"POST / HT")
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_connection_may_be_opened_before_it_is_needed(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEAD_SECONDS", 0.0)
    async with raw_connection(page.url) as (reader, writer):
        assert (await page.call(RUNS + "ListRuns")).status_code == 200
        writer.write(post(RUNS + "ListRuns", b"{}", "application/json"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_burst_of_connections_is_served(server: Server, page: Page) -> None:
    async def one() -> bytes:
        async with raw_connection(page.url) as (reader, writer):
            writer.write(post(RUNS + "ListRuns", b"{}", "application/json"))
            return await reader.readuntil(b"\r\n\r\n")

    answers = await asyncio.gather(*(one() for _ in range(400)))
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
