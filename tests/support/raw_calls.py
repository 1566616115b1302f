"""Any RPC of the contract with any requests and any credentials, and all that a caller can see of the answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from midstream.v1 import (
    run_service_pb2,
    schema_service_pb2,
    stream_service_pb2,
    token_service_pb2,
    worker_service_pb2,
)
from support.web_channel import WebChannel

METHODS: dict[str, MethodDescriptor] = {
    method.name: method
    for module in (stream_service_pb2, run_service_pb2, schema_service_pb2, token_service_pb2, worker_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
END_SECONDS = 20
_WRITE_FAILED = "Internal error from Core"
"""What grpc.aio makes of a write on a call that has just been refused, in place of the refusal: ask again."""


@dataclass(frozen=True)
class Answer:
    """Byte for byte."""

    responses: tuple[bytes, ...]
    code: str
    details: str | None
    trailers: tuple[tuple[str, str | bytes], ...]

    @property
    def reason(self) -> str:
        """Of the call's error; its code's name where there is none."""
        for key, value in self.trailers:
            if key == "grpc-status-details-bin" and isinstance(value, bytes):
                for detail in Status.FromString(value).details:
                    info = ErrorInfo()
                    if detail.Unpack(info):
                        return str(info.reason)
        return self.code


async def ask(
    channel: grpc.aio.Channel | WebChannel,
    method: str,
    requests: Sequence[Message],
    authorization: str = "",
    *,
    seconds: float = END_SECONDS,
) -> Answer:
    """Sends the requests, half-closes, and reads to the end. Raises TimeoutError for a call that does not end."""
    async with asyncio.timeout(seconds):
        while True:
            answer = await _ask(channel, METHODS[method], requests, authorization)
            if answer.details != _WRITE_FAILED:
                return answer


async def _ask(channel: Any, method: MethodDescriptor, requests: Sequence[Message], authorization: str) -> Answer:
    data = [request.SerializeToString() for request in requests]
    metadata = (("authorization", authorization),) if authorization else ()
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, True): channel.stream_stream,
    }
    make = kinds[method.client_streaming, method.server_streaming](
        f"/{method.containing_service.full_name}/{method.name}", request_serializer=bytes, response_deserializer=bytes
    )
    answered = make(iter(data) if method.client_streaming else data[0], metadata=metadata)
    responses: list[bytes] = []
    try:
        if not method.server_streaming:
            responses.append(await answered)
        else:
            while (response := await answered.read()) is not grpc.aio.EOF:
                responses.append(response)
    except grpc.aio.AioRpcError as error:
        trailers = tuple((str(key), value) for key, value in error.trailing_metadata() or ())
        return Answer(tuple(responses), error.code().name, error.details(), trailers)
    finally:
        if method.server_streaming:
            answered.cancel()
    return Answer(tuple(responses), "OK", "", ())
