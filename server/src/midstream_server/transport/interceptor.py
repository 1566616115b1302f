"""Puts the guard around every gRPC call, of all four kinds."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from midstream_server.domain.errors import Refused, field_invalid
from midstream_server.transport import status
from midstream_server.transport.guard import CallGuard

Handler = Any  # grpc.RpcMethodHandler is generic over messages that this file never looks into.
Context = Any
Deserializer = Callable[[bytes], Any]
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]
Behaviour = Callable[[Any, Context], Any]
Call = Callable[[Any, Context], Awaitable[Any]]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each method once, at its first call."""

    def __init__(self, guard: CallGuard) -> None:
        self._guard = guard
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:  # UNIMPLEMENTED, and not kept: such names are without number.
                return None
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Handler) -> Handler:
        """A handler of the same kind around `handler`'s behaviour."""
        streaming = handler.request_streaming or handler.response_streaming
        guarded = self._guard.method(method, streaming=streaming)
        behaviour = _uniform(handler)
        parse = _parser_of(handler.request_deserializer)
        # A streamed request is parsed inside the servicer's own iteration, where an error reaches the guard. A single
        # one would be parsed by gRPC before our code runs, and its error be UNKNOWN: it is parsed here instead.
        early, late = (parse, _as_it_is) if handler.request_streaming else (None, parse)

        async def call(request: Any, context: Context) -> Any:
            try:
                return await guarded.run(lambda: behaviour(late(request), context), _GrpcEnding(context))
            except Exception as error:
                if not isinstance(error, grpc.aio.AbortError) and context.cancelled():
                    raise asyncio.CancelledError from error
                raise

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        return make(call, request_deserializer=early, response_serializer=handler.response_serializer)


class _GrpcEnding:
    """How a gRPC call ends."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def authorization(self) -> str | None:
        for key, value in self._context.invocation_metadata() or ():
            if key == "authorization":
                return str(value)
        return None

    def code(self) -> str:
        return _code_name(self._context.code())

    def code_of(self, error: Exception) -> str | None:
        if isinstance(error, grpc.aio.AbortError):
            return self.code()
        return "CANCELLED" if self._context.cancelled() else None

    async def refuse(self, refused: Refused) -> None:
        """Raises gRPC's AbortError."""
        ended = status.to_status(refused)
        await self._context.abort(status.CODES[refused.reason], ended.message, status.trailing_metadata(ended))


def _uniform(handler: Handler) -> Call:
    """The handler's behaviour as one coroutine function, whichever of gRPC's shapes it has."""
    behaviour: Behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    if not inspect.isasyncgenfunction(behaviour):
        return behaviour

    async def write_all(request: Any, context: Context) -> None:
        responses: AsyncIterator[Any]
        async with aclosing(behaviour(request, context)) as responses:
            async for response in responses:
                await context.write(response)

    return write_all


def _parser_of(deserialize: Deserializer) -> Deserializer:
    """The deserializer, with a refusal in place of protobuf's error."""

    def parse(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            raise field_invalid("request", "is not a protobuf message of the method's request type") from None

    return parse


def _as_it_is(request: Any) -> Any:
    return request


def _code_name(code: Any) -> str:
    """Servicers may set a code as a StatusCode or, as gRPC itself does, as its number; 0 and None are OK."""
    if not code:
        return "OK"
    return str(code.name) if isinstance(code, grpc.StatusCode) else _NAMES_BY_NUMBER.get(code, str(code))


_NAMES_BY_NUMBER: Final = {code.value[0]: code.name for code in grpc.StatusCode}
