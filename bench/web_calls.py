"""A browser's calls as bare bytes on one connection: a client library in Python would be most of what is measured."""

import asyncio
from typing import Self
from urllib.parse import urlsplit

SEND_ONE = "/midstream.v1.StreamService/SendOne"


class WebCaller:
    """Connect unary calls on one connection that stays open, one at a time."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Self:
        parts = urlsplit(self._url)
        self._reader, self._writer = await asyncio.open_connection(parts.hostname, parts.port)
        self._host = parts.netloc
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def send_one(self, request: bytes) -> None:
        self._writer.write(request_head(self._host, SEND_ONE, "application/proto", len(request)) + request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"SendOne failed: {head!r}")
        (length,) = [int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: ")]
        await self._reader.readexactly(length)


def request_head(host: str, path: str, content_type: str, length: int) -> bytes:
    """With the headers that Chromium and connect-web send."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n"
        f"Connect-Protocol-Version: 1\r\nContent-Type: {content_type}\r\nAccept: */*\r\nOrigin: http://{host}\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0\r\n"
        "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n"
    ).encode()
