"""Short forms of calls over the raw stubs, for tests in which the call itself is not the point."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from midstream.v1 import record_pb2, run_pb2, run_service_pb2
from midstream.v1 import stream_service_pb2 as pb
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from midstream.v1.stream_service_pb2_grpc import StreamServiceStub
from support.stubs import Stubs

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
STREAM = "s"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Stubs]:
    """Both services over a connection of its own: channels with equal options share one otherwise."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(url.removeprefix("grpc://"), options=options) as channel:
        yield Stubs(streams=StreamServiceStub(channel), runs=RunServiceStub(channel))


async def attach(stubs: Stubs, run_id: str = "", *, task: str = "t", max_seconds: int = 0) -> str:
    """A new attached run's id, or `run_id` itself."""
    spec = run_pb2.RunSpec(task=task)
    if max_seconds:
        spec.max_duration.seconds = max_seconds
    response = await stubs.runs.AttachRun(run_service_pb2.AttachRunRequest(run_id=run_id, spec=spec))
    return response.run.run_id


async def get_run(stubs: Stubs, run_id: str) -> run_pb2.Run:
    return (await stubs.runs.GetRun(run_service_pb2.GetRunRequest(run_id=run_id))).run


async def state_of(stubs: Stubs, run_id: str) -> str:
    """Without its prefix."""
    return run_pb2.Run.State.Name((await get_run(stubs, run_id)).state).removeprefix("STATE_")


async def finish(stubs: Stubs, run_id: str, result: str = "null") -> run_pb2.Run:
    outcome = run_pb2.Outcome(result=record_pb2.Payload(json=result))
    response = await stubs.runs.FinishRun(run_service_pb2.FinishRunRequest(run_id=run_id, outcome=outcome))
    return response.run


async def send(stubs: Stubs, run_id: str, *texts: str, stream_id: str = STREAM) -> list[pb.Receipt]:
    """Each text is JSON; it is the record's key too."""
    records = [new_record(text, key=text) for text in texts]
    request = pb.SendOneRequest(run_id=run_id, stream_id=stream_id, records=records)
    return list((await stubs.streams.SendOne(request)).receipts)


def new_record(text: str, *, key: str = "", client_ref: int = 0) -> record_pb2.NewRecord:
    return record_pb2.NewRecord(payload=record_pb2.Payload(json=text), idempotency_key=key, client_ref=client_ref)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


async def receive(stubs: Stubs, run_id: str, *, stream_id: str = STREAM, **fields: Any) -> pb.ReceiveResponse:
    return await stubs.streams.Receive(pb.ReceiveRequest(run_id=run_id, stream_id=stream_id, **fields))


async def ack(stubs: Stubs, run_id: str, epoch: int, through_seq: int, *, stream_id: str = STREAM) -> int:
    """The cursor."""
    request = pb.AckRequest(run_id=run_id, stream_id=stream_id, holder_epoch=epoch, through_seq=through_seq)
    return (await stubs.streams.Ack(request)).cursor


async def listed(stubs: Stubs, run_id: str, *, stream_id: str = "", page_size: int = 0) -> list[record_pb2.Record]:
    """All records, page by page."""
    request = pb.ListRecordsRequest(run_id=run_id, stream_id=stream_id, page_size=page_size)
    records: list[record_pb2.Record] = []
    while True:
        page = await stubs.streams.ListRecords(request)
        records += page.records
        if not page.next_page_token:
            return records
        request.page_token = page.next_page_token


async def reason_of(call: Awaitable[Any]) -> str:
    """Why the call was refused."""
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        return reason_in(error)
    raise AssertionError(f"expected a refusal, got {response}")


def reason_in(error: grpc.aio.AioRpcError) -> str:
    """The ErrorInfo's reason; the code's name where there is none."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    assert isinstance(details, bytes)
    for detail in Status.FromString(details).details:
        info = ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return error.code().name


async def rest_of(call: Any) -> list[Any]:
    """What a call still says until it ends, with OK. For calls that were read from already."""
    responses: list[Any] = []
    while (response := await call.read()) is not grpc.aio.EOF:
        responses.append(response)
    return responses


async def until(condition: Callable[[], bool]) -> None:
    """Gives everything else on this loop its turn until something in this process is so."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


class Subscriber:
    """One call of Subscribe."""

    def __init__(self, stubs: Stubs, run_id: str, stream_id: str = STREAM) -> None:
        self._call: Any = stubs.streams.Subscribe()
        self._run_id = run_id
        self._stream_id = stream_id
        self.epoch = 0
        self.cursor = 0
        self.last_seq = 0

    async def open(self, *, credit: int = 1_000, epoch: int = 0, after_seq: int | None = None) -> "Subscriber":
        """Returns when it is the holder."""
        opening = pb.SubscribeRequest.Open(
            run_id=self._run_id, stream_id=self._stream_id, credit=credit, holder_epoch=epoch, after_seq=after_seq
        )
        await self._call.write(pb.SubscribeRequest(open=opening))
        opened = (await self.hears("opened")).opened
        self.epoch, self.cursor, self.last_seq = opened.holder_epoch, opened.cursor, opened.last_seq
        return self

    async def hears(self, kind: str) -> pb.SubscribeResponse:
        """The next frame, which must be of this kind."""
        frame = await self._call.read()
        assert frame is not grpc.aio.EOF, f"the call ended: {await self._call.code()}"
        assert frame.WhichOneof("frame") == kind, frame
        return frame  # type: ignore[no-any-return]

    async def takes(self, count: int) -> list[int]:
        """The seqs of exactly `count` records, in as many frames as they come in."""
        seqs: list[int] = []
        while len(seqs) < count:
            seqs += [record.seq for record in (await self.hears("records")).records.records]
        assert len(seqs) == count
        return seqs

    async def acks(self, through_seq: int) -> None:
        await self._call.write(pb.SubscribeRequest(ack=pb.SubscribeRequest.Ack(through_seq=through_seq)))

    async def grants(self, records: int) -> None:
        await self._call.write(pb.SubscribeRequest(credit=pb.SubscribeRequest.Credit(records=records)))

    async def is_refused(self) -> str:
        """Why the call ended, after any frames that were on their way."""
        try:
            while await self._call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return reason_in(error)
        raise AssertionError("the call ended with OK")

    async def half_closes(self) -> None:
        await self._call.done_writing()

    async def ends(self) -> None:
        """The server ends the call with OK, and says nothing more."""
        assert await self._call.read() is grpc.aio.EOF
        assert await self._call.code() is grpc.StatusCode.OK

    def cancel(self) -> None:
        self._call.cancel()


class Sending:
    """One call of Send to one stream of one run."""

    def __init__(self, stubs: Stubs, run_id: str, stream_id: str = STREAM) -> None:
        self.call: Any = stubs.streams.Send()
        self._run_id = run_id
        self._stream_id = stream_id

    async def writes(self, records: Iterable[record_pb2.NewRecord]) -> None:
        await self.call.write(pb.SendRequest(run_id=self._run_id, stream_id=self._stream_id, records=records))

    async def hears(self) -> list[pb.Receipt]:
        response = await self.call.read()
        assert response is not grpc.aio.EOF, f"the call ended: {await self.call.code()}"
        return list(response.receipts)
