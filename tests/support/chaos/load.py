"""The load: runs with streams, each with senders, a line of holders, and an observer for each run."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

from midstream.v1.record_pb2 import NewRecord, Payload
from midstream.v1.run_pb2 import Outcome, Run, RunSpec
from midstream.v1.run_service_pb2 import AttachRunRequest, FinishRunRequest, GetRunRequest
from midstream.v1.stream_service_pb2 import SendOneRequest
from support.chaos.history import History, RunSeen, SendRefused, Sent
from support.chaos.holders import Holder, Holding, ReceivingHolder, SubscribingHolder
from support.chaos.observers import Observer
from support.chaos.sending import Lane, PipelinedSender, Sender, UnarySender, accepted_event
from support.chaos.starting import Starter
from support.chaos.wire import Refusal, Wire, call_until_answered, payload_text, run_state, surprised

RUNS = ("run-a", "run-b")
STREAMS = ("subscribed", "received", "left-unread")
"""The first is consumed with Subscribe, the others with Receive; the last one keeps unread records at the end."""

Faults = Callable[[], Awaitable[None]]
"""What happens to the server meanwhile."""


class Load(Protocol):
    """What clients do to one server, and put into a history."""

    @property
    def run_ids(self) -> Sequence[str]:
        """The runs to be read at the end."""
        ...

    async def run(self, faults: Faults) -> None:
        """Begins, goes on for as long as `faults` takes, and winds down until everything is answered and finished."""
        ...

    async def close(self) -> None: ...


class RawLoad:
    """Raw stubs with a reconnect logic of their own: for each stream a sender that pipelines and one that calls."""

    def __init__(self, address: str, history: History, seed: str) -> None:
        self.history = history
        self._seed = seed
        self._newest_holders: dict[tuple[str, str], Holder] = {}
        self._control, self._sending, self._holding = Wire(address), Wire(address), Wire(address)
        self._starter = Starter(self._sending, history, seed)

    @property
    def run_ids(self) -> Sequence[str]:
        return (*RUNS, *self._starter.started)

    async def close(self) -> None:
        for wire in (self._control, self._sending, self._holding):
            await wire.close()

    async def run(self, faults: Faults) -> None:
        await asyncio.gather(*(self._attach(run_id) for run_id in RUNS))
        async with asyncio.TaskGroup() as observing:
            for run_id in RUNS:
                observing.create_task(Observer(self._holding, self.history, "observer", run_id).run())
            async with asyncio.TaskGroup() as holding:
                holders = [holding.create_task(self._hold_in_turn(*stream)) for stream in _streams()]
                async with asyncio.TaskGroup() as sending:
                    senders = [self._starter, *(each for stream in _streams() for each in self._senders(*stream))]
                    for sender in senders:
                        sending.create_task(sender.run())
                    await faults()
                    for sender in senders:
                        sender.stop()
                for task in holders:
                    task.cancel()
            await asyncio.gather(*(self._consume_all(*stream) for stream in _streams() if stream[1] != STREAMS[-1]))
            await asyncio.gather(*(self._finish(run_id) for run_id in RUNS))

    async def _attach(self, run_id: str) -> None:
        request = AttachRunRequest(run_id=run_id, spec=RunSpec(task="chaos"))
        response = await call_until_answered(self._control.runs.AttachRun, request)
        self.history.add(RunSeen(run_id, run_state(response.run)))

    async def _hold_in_turn(self, run_id: str, stream_id: str) -> None:
        """One holder after the other; those before it go on until they hear that they are fenced."""
        async with asyncio.TaskGroup() as group:
            for number in itertools.count(1):
                holder = self._holder(run_id, stream_id, f"holder-{number}", until=None)
                self._newest_holders[run_id, stream_id] = holder
                group.create_task(holder.run())
                await holder.had_enough.wait()

    def _senders(self, run_id: str, stream_id: str) -> tuple[Sender, ...]:
        seed = f"{self._seed}/{run_id}/{stream_id}"
        pipelined = Lane(self.history, "pipelined", run_id, stream_id, f"{seed}/pipelined")
        unary = Lane(self.history, "unary", run_id, stream_id, f"{seed}/unary")
        return PipelinedSender(self._sending, pipelined), UnarySender(self._sending, unary)

    async def _consume_all(self, run_id: str, stream_id: str) -> None:
        run = await self._get_run(run_id)
        until = next((stream.last_seq for stream in run.streams if stream.stream_id == stream_id), 0)
        last = self._holder(run_id, stream_id, "last-holder", until=until)
        await last.run()
        await last.acknowledge_in_vain()
        await self._newest_holders[run_id, stream_id].acknowledge_in_vain()

    def _holder(self, run_id: str, stream_id: str, name: str, *, until: int | None) -> Holder:
        seed = f"{self._seed}/{run_id}/{stream_id}/{name}"
        plan = Holding(name=name, run_id=run_id, stream_id=stream_id, seed=seed, until=until)
        kind = SubscribingHolder if stream_id == STREAMS[0] else ReceivingHolder
        return kind(self._holding, self.history, plan)

    async def _finish(self, run_id: str) -> None:
        """Ends a run; then an old key must still be known, and a new record be refused."""
        request = FinishRunRequest(run_id=run_id, outcome=Outcome(result=Payload(json="true")))
        try:
            response = await call_until_answered(self._control.runs.FinishRun, request)
        except Refusal as refusal:
            raise surprised(self.history, "FinishRun", run_id, refusal) from None
        self.history.add(RunSeen(run_id, run_state(response.run)))
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
            response = await call_until_answered(self._control.streams.SendOne, request)
        except Refusal as refusal:
            self.history.add(SendRefused(sent.run_id, sent.stream_id, sent.key, refusal.reason))
        else:
            self.history.add(accepted_event(sent.run_id, sent.stream_id, sent.key, response.receipts[0].accepted))

    async def _get_run(self, run_id: str) -> Run:
        response = await call_until_answered(self._control.runs.GetRun, GetRunRequest(run_id=run_id))
        self.history.add(RunSeen(run_id, run_state(response.run)))
        return response.run


def _streams() -> Iterator[tuple[str, str]]:
    return itertools.product(RUNS, STREAMS)
