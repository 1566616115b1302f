"""The interceptor, around a service of each of the four kinds and in both of gRPC's shapes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from structlog.testing import capture_logs

from midstream_server.domain.errors import run_not_found
from midstream_server.drain import Drain
from midstream_server.telemetry.metrics import Metrics
from midstream_server.transport.caller import ANONYMOUS, current_caller
from midstream_server.transport.guard import CallGuard
from midstream_server.transport.interceptor import CallInterceptor

SERVICE = "midstream.v1.Toy"
GARBAGE = b"\xff\xff\xff"
KINDS = ("UnaryUnary", "UnaryStream", "UnaryStreamWritten", "StreamUnary", "StreamStream", "StreamStreamWritten")


def act(word: str) -> str:
    """What every method of the toy service does with a request."""
    if word == "refuse":
        raise run_not_found("run_1")
    if word == "break":
        raise KeyError("secret")
    return f"{word} by {current_caller.get().kind}"


class Toy:
    """Answers each request with one message, and waits for ever on `hang`."""

    def __init__(self) -> None:
        self.hanging = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def act(self, request: StringValue) -> StringValue:
        if request.value == "hang":
            self.hanging.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return StringValue(value=act(request.value))

    async def unary_unary(self, request: StringValue, context: Any) -> StringValue:
        if request.value == "abort":
            await context.abort(grpc.StatusCode.DATA_LOSS, "by itself")
        return await self.act(request)

    async def unary_stream(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        yield await self.act(request)

    async def unary_stream_written(self, request: StringValue, context: Any) -> None:
        await context.write(await self.act(request))

    async def stream_unary(self, requests: AsyncIterator[StringValue], context: Any) -> StringValue:
        return [await self.act(request) async for request in requests][-1]

    async def stream_stream(self, requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield await self.act(request)

    async def stream_stream_written(self, requests: AsyncIterator[StringValue], context: Any) -> None:
        async for request in requests:
            await context.write(await self.act(request))

    def handlers(self) -> grpc.GenericRpcHandler:
        codec: Any = (StringValue.FromString, StringValue.SerializeToString)
        behaviours: dict[str, Any] = {
            "UnaryUnary": grpc.unary_unary_rpc_method_handler(self.unary_unary, *codec),
            "UnaryStream": grpc.unary_stream_rpc_method_handler(self.unary_stream, *codec),
            "UnaryStreamWritten": grpc.unary_stream_rpc_method_handler(self.unary_stream_written, *codec),
            "StreamUnary": grpc.stream_unary_rpc_method_handler(self.stream_unary, *codec),
            "StreamStream": grpc.stream_stream_rpc_method_handler(self.stream_stream, *codec),
            "StreamStreamWritten": grpc.stream_stream_rpc_method_handler(self.stream_stream_written, *codec),
        }
        return grpc.method_handlers_generic_handler(SERVICE, behaviours)


class Setup:
    """A server with the toy service, and raw calls to it."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.drain = Drain()
        self.guard = CallGuard(self.metrics, self.drain)
        self.toy = Toy()
        self.server = grpc.aio.server(interceptors=[CallInterceptor(self.guard)])
        self.server.add_generic_rpc_handlers((self.toy.handlers(),))
        self.channel: Any = None
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    async def call(self, method: str, *requests: bytes) -> list[str]:
        """The values of the responses. Raises AioRpcError."""
        path = f"/{SERVICE}/{method}"
        answers: list[bytes]
        if method.startswith("UnaryU"):
            answers = [await self.channel.unary_unary(path)(*requests)]
        elif method.startswith("UnaryS"):
            answers = [answer async for answer in self.channel.unary_stream(path)(*requests)]
        elif method == "StreamUnary":
            answers = [await self.channel.stream_unary(path)(iter(requests))]
        else:
            answers = [answer async for answer in self.channel.stream_stream(path)(iter(requests))]
        return [StringValue.FromString(answer).value for answer in answers]

    def count(self, name: str, method: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"method": f"/{SERVICE}/{method}", **labels})

    def open(self, method: str) -> float | None:
        kind = "calls" if method == "UnaryUnary" else "streams"
        return self.count(f"midstream_open_{kind}", method)


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    setup = Setup()
    await setup.server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{setup.port}") as setup.channel:
        yield setup
    await setup.server.stop(None)


def message(value: str) -> bytes:
    return StringValue(value=value).SerializeToString()


async def failure(call: Awaitable[Any]) -> tuple[grpc.aio.AioRpcError, ErrorInfo | None]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    trailer = dict(raised.value.trailing_metadata() or ()).get("grpc-status-details-bin")
    if trailer is None:
        return raised.value, None
    status = Status.FromString(trailer)
    assert status.code == raised.value.code().value[0]
    assert status.message == raised.value.details()
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    return raised.value, info


@pytest.mark.parametrize("method", KINDS)
async def test_a_call_passes_through_with_its_caller_and_is_counted(setup: Setup, method: str) -> None:
    assert await setup.call(method, message("hello")) == [f"hello by {ANONYMOUS.kind}"]
    await setup.guard.idle()
    assert setup.count("midstream_calls_total", method, code="OK") == 1
    assert setup.open(method) == 0


@pytest.mark.parametrize("method", KINDS)
async def test_a_refusal_becomes_a_status_with_details(setup: Setup, method: str) -> None:
    error, info = await failure(setup.call(method, message("refuse")))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert info == ErrorInfo(reason="RUN_NOT_FOUND", domain="midstream.v1", metadata={"run_id": "run_1"})
    await setup.guard.idle()
    assert setup.count("midstream_calls_total", method, code="NOT_FOUND") == 1


@pytest.mark.parametrize("method", KINDS)
async def test_a_fault_tells_the_caller_only_a_reference_that_is_in_the_log(setup: Setup, method: str) -> None:
    with capture_logs() as logs:
        error, info = await failure(setup.call(method, message("break")))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (error.details() or "")
    assert info is not None
    (event,) = [each for each in logs if each["event"] == "call_failed"]
    assert event["reference"] == info.metadata["reference"]
    assert event["reference"] in (error.details() or "")
    assert isinstance(event["exc_info"], KeyError)


@pytest.mark.parametrize("method", KINDS)
async def test_garbage_bytes_are_an_invalid_argument_and_the_server_goes_on(setup: Setup, method: str) -> None:
    error, info = await failure(setup.call(method, GARBAGE))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info is not None
    assert info.reason == "FIELD_INVALID"
    assert await setup.call(method, message("hello")) == [f"hello by {ANONYMOUS.kind}"]


async def test_garbage_after_good_requests_ends_the_stream_clearly(setup: Setup) -> None:
    error, _ = await failure(setup.call("StreamStream", message("hello"), GARBAGE))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_method_stays_unimplemented(setup: Setup) -> None:
    error, _ = await failure(setup.channel.unary_unary(f"/{SERVICE}/Nope")(b""))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_servicers_own_abort_is_left_alone(setup: Setup) -> None:
    error, info = await failure(setup.call("UnaryUnary", message("abort")))
    assert (error.code(), error.details(), info) == (grpc.StatusCode.DATA_LOSS, "by itself", None)
    await setup.guard.idle()
    assert setup.count("midstream_calls_total", "UnaryUnary", code="DATA_LOSS") == 1


@pytest.mark.parametrize("method", KINDS)
async def test_a_cancelled_call_reaches_the_servicer_and_is_counted(setup: Setup, method: str) -> None:
    call = asyncio.create_task(setup.call(method, message("hang")))
    await setup.toy.hanging.wait()
    assert setup.open(method) == 1
    call.cancel()
    await setup.toy.cancelled.wait()
    await setup.guard.idle()
    assert setup.count("midstream_calls_total", method, code="CANCELLED") == 1
    assert setup.open(method) == 0


@pytest.mark.parametrize("method", KINDS)
async def test_new_calls_are_refused_while_draining(setup: Setup, method: str) -> None:
    setup.drain.set()
    error, info = await failure(setup.call(method, message("hello")))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert info is not None
    assert info.reason == "SERVER_DRAINING"


async def test_idle_waits_for_calls_in_progress(setup: Setup) -> None:
    call = asyncio.create_task(setup.call("UnaryStream", message("hang")))
    await setup.toy.hanging.wait()
    idle = asyncio.create_task(setup.guard.idle())
    await asyncio.sleep(0)
    assert not idle.done()
    call.cancel()
    await idle
