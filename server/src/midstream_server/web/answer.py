"""How a call is answered in each protocol: Connect's unary and streaming forms, gRPC-Web in binary and as text."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol
from urllib.parse import quote

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.status_pb2 import Status

from midstream_server.transport.status import DETAILS_KEY
from midstream_server.web.body import envelope
from midstream_server.web.failure import CODES, HTTP_STATUS
from midstream_server.web.methods import to_json
from midstream_server.web.origins import Headers

Send = Callable[[Any], Awaitable[None]]

_END_STREAM: Final = 0x02
_TRAILERS: Final = 0x80


class Answer(Protocol):
    """Zero or more messages, then `end` or `fail`."""

    async def begin(self) -> None:
        """Tells the client that its stream is open, which may be long before there is a message."""

    async def message(self, content: bytes) -> None: ...

    async def end(self) -> None: ...

    async def fail(self, status: Status) -> None: ...


class Response:
    """The HTTP response under an answer."""

    def __init__(self, send: Send, headers: Headers) -> None:
        self._send = send
        self._headers = headers
        self.started = False

    async def start(self, http_status: int, content_type: str, extra: Headers) -> None:
        self.started = True
        own = [
            (b"content-type", content_type.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]
        headers = [*own, *self._headers, *extra]
        await self._send({"type": "http.response.start", "status": http_status, "headers": headers})

    async def write(self, content: bytes) -> None:
        """Returns when there is room for more: a slow reader holds back its own call alone."""
        await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def finish(self, content: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": content, "more_body": False})

    async def whole(self, http_status: int, content_type: str, content: bytes, extra: Headers | None = None) -> None:
        length = (b"content-length", b"%d" % len(content))
        await self.start(http_status, content_type, [length, *(extra or [])])
        await self.finish(content)


class ConnectUnary:
    """The message is the body; an error is JSON with an HTTP status."""

    def __init__(self, response: Response, content_type: str) -> None:
        self._response = response
        self._content_type = content_type

    async def begin(self) -> None:
        """The response says all at once."""

    async def message(self, content: bytes) -> None:
        await self._response.whole(200, self._content_type, content)

    async def end(self) -> None:
        """The message was the end."""

    async def fail(self, status: Status) -> None:
        await connect_error(self._response, status, HTTP_STATUS[CODES[status.code]])


class ConnectStream:
    """Each message in a frame; the last frame says how it ended, with an error's JSON in it."""

    def __init__(self, response: Response, content_type: str) -> None:
        self._response = response
        self._content_type = content_type

    async def message(self, content: bytes) -> None:
        await self.begin()
        await self._response.write(envelope(0, content))

    async def end(self) -> None:
        await self._finish({})

    async def fail(self, status: Status) -> None:
        await self._finish({"error": error_json(status)})

    async def _finish(self, end: dict[str, Any]) -> None:
        await self.begin()
        await self._response.finish(envelope(_END_STREAM, to_json(end)))

    async def begin(self) -> None:
        if not self._response.started:
            await self._response.start(200, self._content_type, UNBUFFERED)


class GrpcWeb:
    """Each message in a frame; the last frame holds gRPC's trailers. `text`: all of it in base64."""

    def __init__(self, response: Response, content_type: str, *, text: bool) -> None:
        self._response = response
        self._content_type = content_type
        self._text = text

    async def message(self, content: bytes) -> None:
        await self.begin()
        await self._response.write(self._encoded(envelope(0, content)))

    async def end(self) -> None:
        await self._finish(b"grpc-status: 0\r\n")

    async def fail(self, status: Status) -> None:
        details = base64.b64encode(status.SerializeToString()).rstrip(b"=")
        message = quote(status.message, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}").encode()
        trailers = b"grpc-status: %d\r\ngrpc-message: %b\r\n" % (status.code, message)
        if status.details:
            trailers += b"%b: %b\r\n" % (DETAILS_KEY.encode(), details)
        await self._finish(trailers)

    async def _finish(self, trailers: bytes) -> None:
        await self.begin()
        await self._response.finish(self._encoded(envelope(_TRAILERS, trailers)))

    async def begin(self) -> None:
        if not self._response.started:
            await self._response.start(200, self._content_type, UNBUFFERED)

    def _encoded(self, frame: bytes) -> bytes:
        return base64.b64encode(frame) if self._text else frame


UNBUFFERED: Final[Headers] = [(b"x-accel-buffering", b"no")]
"""nginx would hold a stream's messages back."""


async def connect_error(response: Response, status: Status, http_status: int, extra: Headers | None = None) -> None:
    """An error as any HTTP client can read it."""
    await response.whole(http_status, "application/json", to_json(error_json(status)), extra)


def error_json(status: Status) -> dict[str, Any]:
    """Connect's form of an error."""
    code = "canceled" if status.code == 1 else CODES[status.code].name.lower()
    error: dict[str, Any] = {"code": code, "message": status.message}
    if status.details:
        error["details"] = [_detail(detail) for detail in status.details]
    return error


def _detail(detail: AnyMessage) -> dict[str, Any]:
    """`value` for programs; `debug` for who looks at it in the browser's tools."""
    debug = json_format.MessageToDict(detail)
    debug.pop("@type")
    value = base64.b64encode(detail.value).rstrip(b"=").decode()
    return {"type": detail.TypeName(), "value": value, "debug": debug}
