"""HTTP as bare bytes, since a client library in Python would be half of what is measured."""

import asyncio
from typing import Self


class BareHttp:
    """POST calls of JSON on one connection that stays open, one at a time."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def post(self, path: str, content: bytes) -> None:
        """Returns when it was answered. Raises RuntimeError unless it was accepted."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        lengths = [int(line[15:]) for line in answer.split(b"\r\n") if line.startswith(b"content-length:")]
        await self._reader.readexactly(sum(lengths))
        if not answer.startswith(b"http/1.1 202 "):
            raise RuntimeError(f"{path} failed: {answer!r}")
