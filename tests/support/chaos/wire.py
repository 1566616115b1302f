"""Raw stubs and what every chaos client needs of them: a channel, lost connections, error reasons, records."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from midstream.v1.record_pb2 import Payload, Record
from midstream.v1.run_pb2 import Run
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from midstream.v1.stream_service_pb2_grpc import StreamServiceStub
from support.chaos.history import History, SeenRecord, Surprise

Request = TypeVar("Request")
Response = TypeVar("Response")

CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
)
"""A killed server is back within a second; each channel has a connection of its own."""


class ConnectionLost(Exception):
    """Whether the call had an effect is unknown. Calls wait for the connection to be back, so: just call again."""


class Refusal(Exception):
    """The server refused, with this reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


class Surprised(Exception):
    """An answer that the contract does not allow; it is in the history."""


class Wire:
    """One connection, to one address."""

    def __init__(self, address: str) -> None:
        self._channel = aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.streams = StreamServiceStub(self._channel)
        self.runs = RunServiceStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()


@contextmanager
def errors_told_apart() -> Iterator[None]:
    """Turns what grpc raises into ConnectionLost or Refusal."""
    try:
        yield
    except aio.AioRpcError as error:
        reason = _reason(error)
        # A dead server leaves no details, and gRPC cancels what comes in the last moment of one that stops.
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            raise ConnectionLost(reason) from None
        raise Refusal(reason, error.details() or "") from None


async def write_frame(call: "aio.StreamStreamCall[Request, Response]", frame: Request) -> None:
    """Writes to a bidirectional call. Why a call has broken is said by reading from it, not here."""
    try:
        await call.write(frame)
    except asyncio.InvalidStateError:
        raise ConnectionLost("the call had ended") from None
    except aio.AioRpcError as error:
        # grpc.aio replaces the call's status when a write finds the connection gone.
        raise ConnectionLost(error.details()) from None


async def call_until_answered(method: Callable[..., Awaitable[Response]], request: object) -> Response:
    """A unary call that may be repeated. Raises Refusal."""
    while True:
        try:
            with errors_told_apart():
                return await method(request, wait_for_ready=True)
        except ConnectionLost:
            continue


def run_state(run: Run) -> str:
    return Run.State.Name(run.state).removeprefix("STATE_")


def refusal_reason(status: status_pb2.Status) -> str:
    """The ErrorInfo's reason, or else the bare code."""
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return f"code {status.code}"


def surprised(history: History, who: str, run_id: str, answer: object) -> Surprised:
    """To be raised: puts the answer into the history."""
    history.add(Surprise(who, run_id, str(answer)))
    return Surprised(f"{who} on {run_id}: {answer}")


def seen(record: Record) -> SeenRecord:
    return SeenRecord(
        record.run_id,
        record.stream_id,
        record.seq,
        record.offset,
        record.idempotency_key,
        payload_text(record.payload),
        record.accept_time.ToMicroseconds(),
    )


def payload_text(payload: Payload) -> str:
    return payload.SerializeToString(deterministic=True).hex()


def _reason(error: aio.AioRpcError) -> str:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return refusal_reason(status_pb2.Status.FromString(value))
    return error.code().name
