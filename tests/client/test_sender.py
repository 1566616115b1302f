"""Sending to servers that misbehave: no answer, wrong answers, refused and broken calls."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

import midstream
from midstream import MidstreamError
from midstream.v1.stream_service_pb2 import Accepted, Receipt, SendRequest, SendResponse

Answer = Callable[[SendRequest, Any], Awaitable[SendResponse]]


class Scripted:
    """Answers every request of every `Send` call by a function, and remembers what came."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[SendRequest] = []
        self._answer = answer

    async def send(self, requests: AsyncIterator[SendRequest], context: Any) -> AsyncIterator[SendResponse]:
        async for request in requests:
            self.requests.append(request)
            yield await self._answer(request, context)

    @property
    def handler(self) -> grpc.GenericRpcHandler:
        send = grpc.stream_stream_rpc_method_handler(
            self.send,
            request_deserializer=SendRequest.FromString,
            response_serializer=SendResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler("midstream.v1.StreamService", {"Send": send})


@asynccontextmanager
async def serving(*scripted: Scripted) -> AsyncIterator[str]:
    server = grpc.aio.server(handlers=[each.handler for each in scripted])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        await server.stop(None)


def accepted(request: SendRequest) -> SendResponse:
    return SendResponse(receipts=[Receipt(accepted=Accepted(seq=1)) for _ in request.records])


async def test_a_call_broken_before_the_receipt_is_made_again_with_the_same_record() -> None:
    async def answer(request: SendRequest, context: Any) -> SendResponse:
        if len(scripted.requests) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        return accepted(request)

    scripted = Scripted(answer)
    async with serving(scripted) as url, midstream.connect(url) as client:
        assert (await client.send("run_1", "chat", "hello")).seq == 1
    assert len(scripted.requests) == 3
    assert len({request.SerializeToString(deterministic=True) for request in scripted.requests}) == 1
    assert scripted.requests[0].records[0].idempotency_key


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INTERNAL])
async def test_a_call_refused_for_good_is_not_made_again(code: grpc.StatusCode) -> None:
    async def answer(request: SendRequest, context: Any) -> SendResponse:
        if len(scripted.requests) == 1:
            await context.abort(code, "no")
        return accepted(request)

    scripted = Scripted(answer)
    async with serving(scripted) as url, midstream.connect(url) as client:
        with pytest.raises(MidstreamError) as caught:
            await client.send("run_1", "chat", 1)
        assert caught.value.code == code.name
        assert (await client.send("run_1", "chat", 2)).seq == 1


async def test_a_server_of_another_kind_is_an_error_at_once() -> None:
    async with serving() as url, midstream.connect(url, retry_timeout=None) as client:
        with pytest.raises(MidstreamError) as caught:
            await client.send("run_1", "chat", 1)
        assert caught.value.code == "UNIMPLEMENTED"


async def test_receipts_that_fit_no_request_are_an_error() -> None:
    async def answer(request: SendRequest, context: Any) -> SendResponse:
        return SendResponse()

    async with serving(Scripted(answer)) as url, midstream.connect(url) as client:
        with pytest.raises(MidstreamError, match="receipts"):
            await client.send("run_1", "chat", 1)


async def test_a_server_that_never_answers_is_given_up_on() -> None:
    async def answer(request: SendRequest, context: Any) -> SendResponse:
        await asyncio.Event().wait()
        return accepted(request)

    async with serving(Scripted(answer)) as url, midstream.connect(url, retry_timeout="100ms") as client:
        with pytest.raises(midstream.Unavailable, match="in time"):
            await client.send("run_1", "chat", 1)
