"""Follow over a WebSocket: browsers allow more than six of those a host, and proxies don't buffer them."""

import asyncio
from contextlib import aclosing
from typing import Any, Final

import grpc
from google.rpc.status_pb2 import Status

from midstream.v1 import stream_service_pb2 as pb
from midstream_server.domain.errors import Refused
from midstream_server.telemetry import log
from midstream_server.transport import status
from midstream_server.web import failure
from midstream_server.web.answer import Send, error_json
from midstream_server.web.body import SILENCE_SECONDS, ClientGone, Receive
from midstream_server.web.failure import CODES, HTTP_STATUS, WebFailure
from midstream_server.web.methods import PROTO, Method, to_json
from midstream_server.web.origins import Origins
from midstream_server.web.presence import while_present

FOLLOW: Final = "/midstream.v1.StreamService/Follow"
MAX_MESSAGE_BYTES: Final = 1024 * 1024
CLOSE_OK: Final = 1000
CLOSE_CODES: Final = 4000
"""A call that fails closes the socket with this and its code's number, after a message with the error and ref 0."""


class FollowSocket:
    """One call a socket: the first message is the request, all others are responses."""

    def __init__(self, methods: dict[str, Method | None], origins: Origins) -> None:
        self._follow = methods.get(FOLLOW)
        self._origins = origins

    async def serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            method = self._check(scope["path"], headers)
        except WebFailure as error:
            await _reject(send, error)
            return
        socket = _Socket(send, headers.get("authorization"))
        await receive()
        await socket.accept()
        try:
            await _call(method, socket, receive)
        except WebFailure as error:
            await socket.fail(error.to_status())
        except ClientGone:
            pass
        except Exception as error:
            log.web_failed(path=FOLLOW, error=error)
            raise

    def _check(self, path: str, headers: dict[str, str]) -> Method:
        origin = headers.get("origin", "")
        if origin and not self._origins.allow(origin, headers.get("host", "")):
            raise failure.foreign_origin(origin)
        if path != FOLLOW or self._follow is None:
            raise failure.no_such_path(path)
        return self._follow


async def _call(method: Method, socket: "_Socket", receive: Receive) -> None:
    async def respond(request: Any) -> None:
        async with aclosing(method.behaviour(request, None)) as responses:
            async for response in responses:
                await socket.message(method.encode(response, PROTO))
        await socket.close(CLOSE_OK)

    async def answered() -> None:
        await while_present(receive, respond(method.parse(message, PROTO)))

    # It is no call yet, which a server that drains would have to wait for.
    message = await _first_message(receive)
    await method.guarded.run(answered, socket)


async def _first_message(receive: Receive) -> bytes:
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            event = await receive()
    except TimeoutError:
        raise failure.malformed(f"no FollowRequest came within {SILENCE_SECONDS:g} s") from None
    if event["type"] != "websocket.receive":
        raise ClientGone
    content = event.get("bytes")
    if content is None:
        raise failure.malformed("the first message must be a FollowRequest in protobuf's binary encoding, not text")
    return bytes(content)


async def _reject(send: Send, error: WebFailure) -> None:
    """Before the socket is open: as HTTP. A page sees only that it failed; its console, the status."""
    content = to_json(error_json(error.to_status()))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    http_status = error.http_status or HTTP_STATUS[error.code]
    await send({"type": "websocket.http.response.start", "status": http_status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": content})


class _Socket:
    """How a call over a WebSocket is answered, and how it ends."""

    def __init__(self, send: Send, authorization: str | None) -> None:
        self.authorization = authorization
        self._send = send

    async def accept(self) -> None:
        await self._put({"type": "websocket.accept"})

    async def message(self, content: bytes) -> None:
        """Returns when there is room for more: a slow reader holds back its own call alone."""
        await self._put({"type": "websocket.send", "bytes": content})

    async def close(self, code: int, reason: str = "") -> None:
        await self._put({"type": "websocket.close", "code": code, "reason": reason})

    async def fail(self, error: Status) -> None:
        try:
            await self.message(pb.FollowResponse(error=error).SerializeToString())
            await self.close(CLOSE_CODES + error.code, CODES[error.code].name)
        except ClientGone:
            pass

    def code(self) -> str:
        return grpc.StatusCode.OK.name

    def code_of(self, error: Exception) -> str | None:
        if isinstance(error, ClientGone):
            return grpc.StatusCode.CANCELLED.name
        return error.code.name if isinstance(error, WebFailure) else None

    async def refuse(self, refused: Refused) -> None:
        await self.fail(status.to_status(refused))

    async def _put(self, event: dict[str, Any]) -> None:
        try:
            await self._send(event)
        except OSError:
            raise ClientGone from None
