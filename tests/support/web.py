"""A browser's side of the web edge, as bytes: frames, errors, raw connections, WebSockets."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from midstream.v1 import stream_service_pb2 as pb
from midstream_server.server import Server
from support.follow import Heard

STREAMS = "/midstream.v1.StreamService/"
RUNS = "/midstream.v1.RunService/"
CONNECT_JSON = {"content-type": "application/connect+json"}
CONNECT_PROTO = {"content-type": "application/connect+proto"}
GRPC_WEB = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
GRPC_WEB_TEXT = {"content-type": "application/grpc-web-text+proto", "x-grpc-web": "1"}
PROTO = {"content-type": "application/proto"}
JSON = {"content-type": "application/json"}
END_STREAM = 0x02
TRAILERS = 0x80


def frame(content: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(content)) + content


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """All frames of a whole response: flags and content."""
    found = []
    while body:
        flags, length = struct.unpack_from(">BI", body)
        assert len(body) >= 5 + length, "cut off"
        found.append((flags, body[5 : 5 + length]))
        body = body[5 + length :]
    return found


def info_of(error: dict[str, Any]) -> ErrorInfo:
    """The ErrorInfo in a Connect error."""
    (value,) = [each["value"] for each in error["details"] if each["type"] == "google.rpc.ErrorInfo"]
    return ErrorInfo.FromString(base64.b64decode(value + "=" * (-len(value) % 4)))


def reason_of(response: httpx.Response) -> str:
    """Of a unary call that was refused."""
    return str(info_of(response.json()).reason)


def trailers_of(content: bytes) -> dict[str, str]:
    """gRPC-Web's last frame."""
    pairs = (line.partition(": ") for line in content.decode().split("\r\n") if line)
    return {name: value for name, _, value in pairs}


def status_of(trailers: dict[str, str]) -> Status:
    details = trailers["grpc-status-details-bin"]
    return Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))


class Page:
    """A page of an origin, which calls the web listener."""

    def __init__(self, url: str, *, origin: str = "") -> None:
        self.url = url
        headers = {"origin": origin} if origin else {}
        self.http = httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False)

    async def call(self, path: str, message: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        return await self.http.post(path, json={} if message is None else message, headers=headers)

    async def attach(self) -> str:
        """A new run's id."""
        run_id: str = (await self.call(RUNS + "AttachRun", {"spec": {"task": "t"}})).json()["run"]["runId"]
        return run_id

    async def send(self, run_id: str, *values: Any, stream_id: str = "s") -> httpx.Response:
        records = [{"payload": {"json": json.dumps(value)}} for value in values]
        return await self.call(STREAMS + "SendOne", {"runId": run_id, "streamId": stream_id, "records": records})

    async def finish(self, run_id: str) -> httpx.Response:
        return await self.call(RUNS + "FinishRun", {"runId": run_id, "outcome": {"result": {"json": "null"}}})


@asynccontextmanager
async def opened(server: Server, *, origin: str = "") -> AsyncIterator[Page]:
    assert server.web_url is not None
    page = Page(server.web_url, origin=origin)
    async with page.http:
        yield page


class FollowStream:
    """A Follow call by Connect's streaming protocol, read frame by frame."""

    def __init__(self, response: httpx.Response) -> None:
        self._chunks = response.aiter_raw()
        self._buffer = b""
        self.heard = Heard()
        self.end: dict[str, Any] | None = None

    async def next(self) -> pb.FollowResponse | None:
        """None: the stream has ended, and `end` says how."""
        while len(self._buffer) < 5 or len(self._buffer) < 5 + struct.unpack_from(">BI", self._buffer)[1]:
            self._buffer += await anext(self._chunks)
        flags, length = struct.unpack_from(">BI", self._buffer)
        content, self._buffer = self._buffer[5 : 5 + length], self._buffer[5 + length :]
        if flags == END_STREAM:
            self.end = json.loads(content)
            return None
        response = pb.FollowResponse.FromString(content)
        self.heard.take(response)
        return response

    async def until(self, news: int) -> Heard:
        """All, until so many records or views have come."""
        while self.heard.news < news:
            await self.next()
        return self.heard


@asynccontextmanager
async def following(page: Page, *targets: pb.FollowRequest.Target) -> AsyncIterator[FollowStream]:
    request = frame(pb.FollowRequest(targets=targets).SerializeToString())
    async with page.http.stream("POST", STREAMS + "Follow", content=request, headers=CONNECT_PROTO) as response:
        assert response.status_code == 200
        yield FollowStream(response)


def socket_url(url: str) -> str:
    return url.replace("http", "ws", 1) + STREAMS + "Follow"


def socket(url: str, *, origin: str = "", **options: Any) -> connect:
    """A WebSocket, not open yet."""
    return connect(socket_url(url), origin=Origin(origin) if origin else None, proxy=None, max_size=None, **options)


async def follow_on(opened: ClientConnection, targets: Sequence[pb.FollowRequest.Target]) -> None:
    await opened.send(pb.FollowRequest(targets=targets).SerializeToString())


async def hear(opened: ClientConnection, heard: Heard, *, news: int = 0) -> Heard:
    """Takes in messages until so many records or views have come; at least one message."""
    while True:
        message = await opened.recv()
        assert isinstance(message, bytes)
        heard.take(pb.FollowResponse.FromString(message))
        if heard.news >= news:
            return heard


@asynccontextmanager
async def raw_connection(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Bytes to and from the listener."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def post(path: str, body: bytes, content_type: str, *, length: int | None = None) -> bytes:
    """A raw request."""
    length = len(body) if length is None else length
    return (
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n".encode()
        + body
    )


def encoded(message: Message) -> bytes:
    return message.SerializeToString()
