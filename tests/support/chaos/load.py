"""The load: runs with streams, each with senders, a line of holders, and an observer for each run."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from midstream.v1.record_pb2 import NewRecord, Payload
from midstream.v1.run_pb2 import Outcome, Run, RunSpec
from midstream.v1.run_service_pb2 import AttachRunRequest, FinishRunRequest, GetRunRequest
from midstream.v1.stream_service_pb2 import ListRecordsRequest, SendOneRequest
from support.chaos.history import FinalRead, FinalRun, FinalStream, History, RunSeen, SeenRecord, SendRefused, Sent
from support.chaos.holders import Holder, Holding, ReceivingHolder, SubscribingHolder
from support.chaos.observers import Observer
from support.chaos.sending import Lane, PipelinedSender, Sender, UnarySender, accepted_event
from support.chaos.wire import ConnectionLost, Refusal, Wire, errors_told_apart, payload_text, seen, surprised

Response = TypeVar("Response")

RUNS = ("run-a", "run-b")
STREAMS = ("subscribed", "received", "left-unread")
"""The first is consumed with Subscribe, the others with Receive; the last one keeps unread records at the end."""

MakeSenders = Callable[[Wire, History, str], list[Sender]]
"""Makes the senders from a connection, the history and a seed."""


def raw_senders(wire: Wire, history: History, seed: str) -> list[Sender]:
    """For each stream one that pipelines and one that calls."""
    senders: list[Sender] = []
    for run_id, stream_id in itertools.product(RUNS, STREAMS):
        where = f"{run_id}/{stream_id}"
        pipelined = Lane(history, "pipelined", run_id, stream_id, f"{seed}/{where}/pipelined")
        unary = Lane(history, "unary", run_id, stream_id, f"{seed}/{where}/unary")
        senders += [PipelinedSender(wire, pipelined), UnarySender(wire, unary)]
    return senders


class Load:
    """Everything that clients do to one server, under one seed."""

    def __init__(self, address: str, history: History, seed: str, *, make_senders: MakeSenders = raw_senders) -> None:
        self.history = history
        self._seed = seed
        self._control, self._sending, self._holding = Wire(address), Wire(address), Wire(address)
        self._make_senders = make_senders

    async def close(self) -> None:
        for wire in (self._control, self._sending, self._holding):
            await wire.close()

    async def run(self, faults: Callable[[], Awaitable[None]]) -> None:
        """Begins, goes on for as long as `faults` takes, and winds down until everything is answered and finished."""
        await asyncio.gather(*(self._attach(run_id) for run_id in RUNS))
        async with asyncio.TaskGroup() as observing:
            for run_id in RUNS:
                observing.create_task(Observer(self._holding, self.history, "observer", run_id).run())
            async with asyncio.TaskGroup() as holding:
                holders = [holding.create_task(self._hold_in_turn(*stream)) for stream in _streams()]
                async with asyncio.TaskGroup() as sending:
                    senders = self._make_senders(self._sending, self.history, self._seed)
                    for sender in senders:
                        sending.create_task(sender.run())
                    await faults()
                    for sender in senders:
                        sender.stop()
                for task in holders:
                    task.cancel()
            await asyncio.gather(*(self._consume_all(*stream) for stream in _streams() if stream[1] != STREAMS[-1]))
            await asyncio.gather(*(self._finish(run_id) for run_id in RUNS))

    async def read_final(self) -> FinalRead:
        """What the public API shows now. A run that is gone is missing."""
        final: FinalRead = {}
        for run_id in RUNS:
            try:
                run = await self._get_run(run_id)
            except Refusal:
                continue
            streams = {s.stream_id: FinalStream(s.last_seq, s.cursor, s.unread_count) for s in run.streams}
            final[run_id] = FinalRun(_state(run), streams, tuple(await self._list_records(run_id)))
        return final

    async def _attach(self, run_id: str) -> None:
        request = AttachRunRequest(run_id=run_id, spec=RunSpec(task="chaos"))
        response = await self._call(self._control.runs.AttachRun, request)
        self.history.add(RunSeen(run_id, _state(response.run)))

    async def _hold_in_turn(self, run_id: str, stream_id: str) -> None:
        """One holder after the other; those before it go on until they hear that they are fenced."""
        async with asyncio.TaskGroup() as group:
            for number in itertools.count(1):
                holder = self._holder(run_id, stream_id, f"holder-{number}", until=None)
                group.create_task(holder.run())
                await holder.had_enough.wait()

    async def _consume_all(self, run_id: str, stream_id: str) -> None:
        run = await self._get_run(run_id)
        until = next((stream.last_seq for stream in run.streams if stream.stream_id == stream_id), 0)
        await self._holder(run_id, stream_id, "last-holder", until=until).run()

    def _holder(self, run_id: str, stream_id: str, name: str, *, until: int | None) -> Holder:
        seed = f"{self._seed}/{run_id}/{stream_id}/{name}"
        plan = Holding(name=name, run_id=run_id, stream_id=stream_id, seed=seed, until=until)
        kind = SubscribingHolder if stream_id == STREAMS[0] else ReceivingHolder
        return kind(self._holding, self.history, plan)

    async def _finish(self, run_id: str) -> None:
        """Ends a run; then an old key must still be known, and a new record be refused."""
        request = FinishRunRequest(run_id=run_id, outcome=Outcome(result=Payload(json="true")))
        try:
            response = await self._call(self._control.runs.FinishRun, request)
        except Refusal as refusal:
            raise surprised(self.history, "FinishRun", run_id, refusal) from None
        self.history.add(RunSeen(run_id, _state(response.run)))
        sent = [event for event in self.history if isinstance(event, Sent) and event.run_id == run_id]
        if sent:
            await self._send_late(sent[-1])
        await self._send_late(Sent("late", run_id, STREAMS[0], "late", payload_text(Payload(json="0"))))

    async def _send_late(self, sent: Sent) -> None:
        self.history.add(sent)
        payload = Payload.FromString(bytes.fromhex(sent.payload))
        record = NewRecord(idempotency_key=sent.key, payload=payload)
        request = SendOneRequest(run_id=sent.run_id, stream_id=sent.stream_id, records=[record])
        try:
            response = await self._call(self._control.streams.SendOne, request)
        except Refusal as refusal:
            self.history.add(SendRefused(sent.run_id, sent.stream_id, sent.key, refusal.reason))
        else:
            self.history.add(accepted_event(sent.run_id, sent.stream_id, sent.key, response.receipts[0].accepted))

    async def _get_run(self, run_id: str) -> Run:
        response = await self._call(self._control.runs.GetRun, GetRunRequest(run_id=run_id))
        self.history.add(RunSeen(run_id, _state(response.run)))
        return response.run

    async def _list_records(self, run_id: str) -> list[SeenRecord]:
        records: list[SeenRecord] = []
        request = ListRecordsRequest(run_id=run_id, page_size=500)
        while True:
            page = await self._call(self._control.streams.ListRecords, request)
            records += [seen(record) for record in page.records]
            if not page.next_page_token:
                return records
            request.page_token = page.next_page_token

    async def _call(self, method: Callable[..., Awaitable[Response]], request: object) -> Response:
        """A call that may be repeated until it is answered."""
        while True:
            try:
                with errors_told_apart():
                    return await method(request, wait_for_ready=True)
            except ConnectionLost:
                continue


def _streams() -> Iterator[tuple[str, str]]:
    return itertools.product(RUNS, STREAMS)


def _state(run: Run) -> str:
    return Run.State.Name(run.state).removeprefix("STATE_")
