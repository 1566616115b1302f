"""What every call has in common, for all four kinds: caller, metrics, log, errors, and no new calls while draining."""

import asyncio
import inspect
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from midstream_server.domain.errors import Reason, Refused, field_invalid, server_draining
from midstream_server.drain import Drain
from midstream_server.telemetry import log
from midstream_server.telemetry.metrics import CallMetrics, Metrics
from midstream_server.transport import status
from midstream_server.transport.caller import ANONYMOUS, Caller, current_caller

OWN_SERVICES: Final = "/midstream.v1."

Handler = Any  # grpc.RpcMethodHandler is generic over messages that this file never looks into.
Context = Any
Deserializer = Callable[[bytes], Any]
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]
Behaviour = Callable[[Any, Context], Any]
Call = Callable[[Any, Context], Awaitable[Any]]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each method once, at its first call."""

    def __init__(self, metrics: Metrics, drain: Drain) -> None:
        self._metrics = metrics
        self._drain = drain
        self._wrapped: dict[str, Handler] = {}
        self._open_calls = 0
        self._begun_calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def open_calls(self) -> int:
        """Calls of our own services in progress; health and reflection do not count."""
        return self._open_calls

    async def idle(self) -> None:
        """Returns when no call of our own services is in progress."""
        await self._idle.wait()

    async def quiet(self, seconds: float) -> None:
        """Returns when for that long no call of our own services was in progress and none began."""
        begun = -1
        while begun != self._begun_calls:
            await self.idle()
            begun = self._begun_calls
            await asyncio.sleep(seconds)

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
        metrics = self._metrics.for_method(method, streaming=streaming)
        parse = _parser_of(handler.request_deserializer)
        # A streamed request is parsed inside the servicer's own iteration, where an error reaches `_guarded`. A single
        # one would be parsed by gRPC before our code runs, and its error be UNKNOWN: `_guarded` parses it instead.
        early, late = (parse, None) if handler.request_streaming else (None, parse)
        call = self._guarded(method, _uniform(handler), parse=late, metrics=metrics)
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        return make(call, request_deserializer=early, response_serializer=handler.response_serializer)

    def _guarded(self, method: str, call: Call, *, parse: Deserializer | None, metrics: CallMetrics) -> Call:
        own = method.startswith(OWN_SERVICES)

        async def guarded(request: Any, context: Context) -> Any:
            metrics.started()
            if own:
                self._open()
            code = "OK"
            try:
                if own and self._drain.is_set:
                    raise server_draining()
                current_caller.set(_resolve_caller(context))
                response = await call(request if parse is None else parse(request), context)
                code = _code_name(context.code())
                return response
            except Refused as refused:
                code = status.CODES[refused.reason].name
                log.call_refused(method=method, reason=refused.reason, message=refused.message)
                await _abort(context, refused)
            except grpc.aio.AbortError:
                code = _code_name(context.code())
                raise
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except Exception as error:
                if context.cancelled():  # The caller is gone; what the servicer met then was that.
                    code = "CANCELLED"
                    raise asyncio.CancelledError from error
                code = "INTERNAL"
                reference = secrets.token_hex(8)
                log.call_failed(method=method, reference=reference, error=error)
                await _abort(context, _internal(reference))
            finally:
                if own:
                    self._close()
                metrics.ended(code)

        return guarded

    def _open(self) -> None:
        self._open_calls += 1
        self._begun_calls += 1
        self._idle.clear()

    def _close(self) -> None:
        self._open_calls -= 1
        if self._open_calls == 0:
            self._idle.set()


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


def _resolve_caller(context: Context) -> Caller:
    """Who calls. Until servers ask for credentials, everybody is anonymous."""
    del context
    return ANONYMOUS


def _internal(reference: str) -> Refused:
    return Refused(
        Reason.INTERNAL,
        f"a fault in the server; its log has more under reference {reference}",
        {"reference": reference},
    )


async def _abort(context: Context, refused: Refused) -> None:
    """Ends the call with the refusal. Raises gRPC's AbortError."""
    ended = status.to_status(refused)
    await context.abort(status.CODES[refused.reason], ended.message, status.trailing_metadata(ended))


def _code_name(code: Any) -> str:
    """Servicers may set a code as a StatusCode or, as gRPC itself does, as its number; 0 and None are OK."""
    if not code:
        return "OK"
    return str(code.name) if isinstance(code, grpc.StatusCode) else _NAMES_BY_NUMBER.get(code, str(code))


_NAMES_BY_NUMBER: Final = {code.value[0]: code.name for code in grpc.StatusCode}
