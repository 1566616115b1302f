"""Raw calls of the stream and run services: records to send, streams to hold, and why a call was refused."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import grpc
from google.rpc import status_pb2

from midstream.v1 import stream_service_pb2 as pb
from midstream.v1.record_pb2 import NewRecord, Payload, Record
from midstream.v1.run_pb2 import Outcome, Run, RunSpec
from midstream.v1.run_service_pb2 import AttachRunRequest, FinishRunRequest, GetRunRequest
from support.chaos.wire import refusal_reason
from support.stubs import Stubs

RUN = "run"
STREAM = "events"


def new(json: str = "null", *, key: str = "", ref: int = 0) -> NewRecord:
    return NewRecord(payload=Payload(json=json), idempotency_key=key, client_ref=ref)


async def attach(stubs: Stubs, run_id: str = RUN, **spec: Any) -> Run:
    """A new attached run, which nobody holds."""
    request = AttachRunRequest(run_id=run_id, spec=RunSpec(task="task", **spec))
    return (await stubs.runs.AttachRun(request)).run


async def get(stubs: Stubs, run_id: str = RUN) -> Run:
    return (await stubs.runs.GetRun(GetRunRequest(run_id=run_id))).run


async def finish(stubs: Stubs, run_id: str = RUN) -> Run:
    outcome = Outcome(result=Payload(json="null"))
    return (await stubs.runs.FinishRun(FinishRunRequest(run_id=run_id, outcome=outcome))).run


async def send(stubs: Stubs, *jsons: str, run_id: str = RUN, stream_id: str = STREAM) -> list[int]:
    """The seqs that these payloads got."""
    request = pb.SendOneRequest(run_id=run_id, stream_id=stream_id, records=[new(json) for json in jsons])
    return [receipt.accepted.seq for receipt in (await stubs.streams.SendOne(request)).receipts]


async def refused(call: Awaitable[Any]) -> str:
    """The reason for which the call fails: the ErrorInfo's, or the bare code's name."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    raise AssertionError(f"not refused: {answer}")


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The ErrorInfo's reason, or the bare code's name."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return refusal_reason(status_pb2.Status.FromString(value))
    return str(error.code().name)


async def until(condition: Callable[[], bool]) -> None:
    """Gives others their turn until it is so; the test's own timeout bounds the wait."""
    while not condition():  # noqa: ASYNC110  # what it waits for has no event
        await asyncio.sleep(0)


def outcome_of(receipt: pb.Receipt) -> int | str:
    """The record's seq, or why it was refused."""
    return receipt.accepted.seq if receipt.HasField("accepted") else refusal_reason(receipt.error)


class Holder:
    """One call of Subscribe. `async with` opens it; `take` and `acked` read frames, which must be of that kind."""

    def __init__(self, stubs: Stubs, *, run_id: str = RUN, stream_id: str = STREAM, credit: int = 1_000, **open: Any):
        self._call: Any = stubs.streams.Subscribe()
        self._open = pb.SubscribeRequest.Open(run_id=run_id, stream_id=stream_id, credit=credit, **open)
        self.opened = pb.SubscribeResponse.Opened()

    @property
    def epoch(self) -> int:
        return self.opened.holder_epoch

    async def __aenter__(self) -> Self:
        await self.say(open=self._open)
        self.opened = await self.hears("opened")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._call.cancel()

    async def say(self, **frame: Any) -> None:
        await self._call.write(pb.SubscribeRequest(**frame))

    async def ack(self, through_seq: int, **fields: Any) -> None:
        await self.say(ack=pb.SubscribeRequest.Ack(through_seq=through_seq, **fields))

    async def grant(self, records: int) -> None:
        await self.say(credit=pb.SubscribeRequest.Credit(records=records))

    async def leave(self) -> None:
        """Ends the request stream, and nothing else."""
        await self._call.done_writing()

    def cancel(self) -> None:
        self._call.cancel()

    async def hears(self, kind: str) -> Any:
        """The next frame, which must be of this kind."""
        frame = await self._call.read()
        assert frame is not grpc.aio.EOF, await self._call.code()
        assert frame.WhichOneof("frame") == kind, frame
        return getattr(frame, kind)

    async def take(self, count: int) -> list[Record]:
        """The next records; the server must not have put more into their frames."""
        taken: list[Record] = []
        while len(taken) < count:
            taken += (await self.hears("records")).records
        assert len(taken) == count
        return taken

    async def acked(self) -> int:
        return int((await self.hears("acked")).cursor)

    async def ends(self) -> str:
        """Why the call ends, and that it does: the next thing read is its end. OK, or the refusal's reason."""
        try:
            frame = await self._call.read()
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        assert frame is grpc.aio.EOF, frame
        return str((await self._call.code()).name)

    async def ends_after_records(self) -> str:
        """As `ends`, after records that were on their way."""
        while True:
            try:
                frame = await self._call.read()
            except grpc.aio.AioRpcError as error:
                return reason_of(error)
            if frame is grpc.aio.EOF:
                return str((await self._call.code()).name)
            assert frame.WhichOneof("frame") == "records", frame
