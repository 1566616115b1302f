"""Calls that a run makes as steps, `send` and `start_run`: the worker makes them on its connection."""

from typing import Final, Protocol

from google.protobuf.message import Message

from midstream.errors import from_status
from midstream.v1.run_service_pb2 import StartRunRequest, StartRunResponse
from midstream.v1.stream_service_pb2 import SendOneRequest, SendOneResponse

Request = SendOneRequest | StartRunRequest
RESPONSE_OF: Final = {SendOneRequest: SendOneResponse, StartRunRequest: StartRunResponse}


class Caller(Protocol):
    """Makes calls of a run, each until it succeeds or is refused. Raises MidstreamError."""

    async def send(self, request: SendOneRequest) -> SendOneResponse: ...
    async def start_run(self, request: StartRunRequest) -> StartRunResponse: ...


async def make(caller: Caller, request: Request) -> Message:
    """What the step that made the request returns. Raises MidstreamError."""
    if isinstance(request, StartRunRequest):
        return (await caller.start_run(request)).run
    receipt = (await caller.send(request)).receipts[0]
    if receipt.HasField("error"):
        raise from_status(receipt.error)
    return receipt.accepted
