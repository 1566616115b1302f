"""The ASGI application: finds the method and the protocol of a request, runs the call under the guard, answers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

import grpc
from google.rpc.status_pb2 import Status

from midstream_server.domain.errors import Refused
from midstream_server.telemetry import log
from midstream_server.transport import status
from midstream_server.web import failure
from midstream_server.web.answer import Answer, Response, connect_error
from midstream_server.web.body import ClientGone, Receive, read_body
from midstream_server.web.failure import HTTP_STATUS, WebFailure
from midstream_server.web.methods import Method
from midstream_server.web.origins import Headers, Origins
from midstream_server.web.presence import while_present
from midstream_server.web.protocol import Protocol, find_protocol
from midstream_server.web.websocket import FollowSocket

Scope = dict[str, Any]
Send = Callable[[Any], Awaitable[None]]


class WebApp:
    """Serves `methods`, by path, to the pages that `origins` allows."""

    def __init__(self, methods: dict[str, Method | None], origins: Origins) -> None:
        self._methods = methods
        self._origins = origins
        self._follow_socket = FollowSocket(methods, origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._follow_socket.serve(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get("origin", "")
        allowed = not origin or self._origins.allow(origin, headers.get("host", ""))
        response = Response(send, self._origins.response_headers(origin) if origin and allowed else [])
        try:
            if not allowed:
                raise failure.foreign_origin(origin)
            await self._serve(scope, headers, receive, response)
        except WebFailure as error:
            if not response.started:
                http_status = error.http_status or HTTP_STATUS[error.code]
                await connect_error(response, error.to_status(), http_status, list(error.headers))
        except ClientGone:
            pass
        except Exception as error:
            log.web_failed(path=scope["path"], error=error)
            if response.started:
                raise  # It is cut off: nobody is to take it for whole.
            fault = WebFailure(grpc.StatusCode.INTERNAL, "a fault in the server; its log has more")
            await connect_error(response, fault.to_status(), HTTP_STATUS[fault.code])

    async def _serve(self, scope: Scope, headers: dict[str, str], receive: Receive, response: Response) -> None:
        path: str = scope["path"]
        if scope["method"] == "OPTIONS":
            await _preflight(response)
            return
        if path not in self._methods:
            raise failure.no_such_path(path)
        method = self._methods[path]
        if method is None:
            raise failure.needs_grpc(path)
        if scope["method"] != "POST":
            raise failure.not_post(scope["method"])
        protocol = find_protocol(headers.get("content-type", ""), response, streaming=method.streaming)
        await _call(method, protocol, headers, receive)


async def _call(method: Method, protocol: Protocol, headers: dict[str, str], receive: Receive) -> None:
    answer = protocol.answer

    async def answered() -> None:
        body = await read_body(receive, headers.get("content-length"))
        request = method.parse(protocol.message_in(body, headers), protocol.codec)
        await while_present(receive, _respond(method, request, protocol, protocol.timeout(headers)))

    try:
        await method.guarded.run(answered, WebEnding(headers.get("authorization"), answer))
    except WebFailure as error:
        if not protocol.framed:
            raise
        await answer.fail(error.to_status())


async def _respond(method: Method, request: Any, protocol: Protocol, timeout: float | None) -> None:
    answer = protocol.answer
    try:
        async with asyncio.timeout(timeout) as limit:
            if not method.streaming:
                await answer.message(method.encode(await method.behaviour(request, None), protocol.codec))
            else:
                await answer.begin()
                async with aclosing(method.behaviour(request, None)) as responses:
                    async for response in responses:
                        await answer.message(method.encode(response, protocol.codec))
            await answer.end()
    except TimeoutError:
        if not limit.expired():
            raise
        raise failure.deadline_exceeded() from None


class WebEnding:
    """How a call over HTTP ends, as the guard wants it."""

    def __init__(self, authorization: str | None, answer: Answer) -> None:
        self.authorization = authorization
        self._answer = answer

    def code(self) -> str:
        return grpc.StatusCode.OK.name

    def code_of(self, error: Exception) -> str | None:
        if isinstance(error, ClientGone):
            return "CANCELLED"
        return error.code.name if isinstance(error, WebFailure) else None

    async def refuse(self, refused: Refused) -> None:
        ended: Status = status.to_status(refused)
        await self._answer.fail(ended)


async def _preflight(response: Response) -> None:
    extra: Headers = Origins.preflight_headers()
    await response.whole(HTTPStatus.NO_CONTENT, "text/plain", b"", extra)
