"""Holders: they consume a stream, acknowledge, try what is forbidden, and are taken over by the next one."""

import asyncio
import random
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from midstream.v1.stream_service_pb2 import AckRequest, ReceiveRequest, SubscribeRequest, SubscribeResponse
from support.chaos.history import Acked, Acking, AckRefused, Delivered, History, Opened, Opening
from support.chaos.wire import ConnectionLost, Refusal, Wire, errors_told_apart, seen, surprised, write_frame

CREDIT = 10
ACK_CHANCE = 0.6
"""How often a holder acknowledges something after it received some records."""
PROBE_CHANCE = 0.15
"""How often it acknowledges something that must not move the cursor: beyond the end, or long done."""
FAR_AHEAD = 1_000_000
LONG_POLL_MS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a holder is to do. `until`: acknowledge everything up to this seq and leave; None: hold until fenced."""

    name: str
    run_id: str
    stream_id: str
    seed: str
    until: int | None = None


class Holder:
    """One holder of one stream; a subclass says by which calls."""

    def __init__(self, wire: Wire, history: History, plan: Holding) -> None:
        self.wire = wire
        self.history = history
        self.plan = plan
        self.random = random.Random(plan.seed)
        self.had_enough = asyncio.Event()
        """Set when it is time for the next holder."""
        self._patience = self.random.randint(10, 60)
        self.epoch = 0
        self.subscription = 0
        """The last one that was opened."""
        self.last_seq = 0
        """The last received record, or the cursor."""

    async def run(self) -> None:
        """Ends when it was fenced, the run has ended, or `until` is acknowledged."""
        while True:
            try:
                with errors_told_apart():
                    await self.consume()
                return
            except ConnectionLost:
                continue
            except Refusal as refusal:
                if refusal.reason != "FENCED":
                    raise surprised(self.history, self.plan.name, self.plan.run_id, refusal) from None
                await self.acknowledge_in_vain()
                return

    async def consume(self) -> None:
        """Receives and acknowledges; returns when everything is done."""
        raise NotImplementedError

    def opening(self) -> tuple[int, int | None]:
        """A new subscription, and behind which seq it asks: the last received one, or (None) the cursor."""
        after_seq = self.last_seq if self.epoch != 0 and self.random.random() < 0.5 else None
        subscription = self.history.new_number()
        plan = self.plan
        self.history.add(Opening(subscription, plan.name, plan.run_id, plan.stream_id, self.epoch, after_seq))
        return subscription, after_seq

    def opened(self, opened: Opened, *, after_seq: int | None) -> None:
        self.history.add(opened)
        self.subscription = opened.subscription
        self.epoch = opened.holder_epoch
        self.last_seq = max(opened.cursor, after_seq or 0)

    def delivered(self, delivered: Delivered) -> None:
        self.history.add(delivered)
        self.last_seq = delivered.record.seq
        self._patience -= 1
        if self._patience == 0:
            self.had_enough.set()

    def done_through(self) -> int | None:
        """What to acknowledge now, if anything."""
        if self.last_seq == 0:
            return None
        if self.plan.until is not None:
            return self.last_seq
        if self.random.random() < ACK_CHANCE:
            return max(1, self.last_seq - self.random.choice((0, 0, 1, 5)))
        return None

    def is_done(self, cursor: int) -> bool:
        return self.plan.until is not None and cursor >= self.plan.until

    async def probe(self) -> None:
        """Now and then acknowledges what must not move the cursor."""
        if self.last_seq and self.random.random() < PROBE_CHANCE:
            await self.acknowledge(self.random.choice((1, max(1, self.last_seq - 10), self.last_seq + FAR_AHEAD)))

    async def acknowledge(self, through_seq: int) -> int:
        """The unary Ack; the cursor, or -1 where it was refused as it may be."""
        call, plan = self.history.new_number(), self.plan
        self.history.add(Acking(self.subscription, through_seq, call))
        request = AckRequest(
            run_id=plan.run_id, stream_id=plan.stream_id, holder_epoch=self.epoch, through_seq=through_seq
        )
        try:
            with errors_told_apart():
                response = await self.wire.streams.Ack(request, wait_for_ready=True)
        except Refusal as refusal:
            self.history.add(AckRefused(self.subscription, call, refusal.reason))
            if refusal.reason not in ("FENCED", "ACK_AHEAD"):
                raise
            return -1
        self.history.add(Acked(self.subscription, response.cursor, call))
        return response.cursor

    async def acknowledge_in_vain(self) -> None:
        """What a process says that did not hear of its successor, or comes too late or too early. Nothing may count."""
        if self.last_seq == 0:
            return
        try:
            for through_seq in (1, self.last_seq, self.last_seq + FAR_AHEAD):
                await self.acknowledge(through_seq)
        except ConnectionLost:
            return
        except Refusal as refusal:
            raise surprised(self.history, self.plan.name, self.plan.run_id, refusal) from None


class SubscribingHolder(Holder):
    """Consumes with `Subscribe`."""

    async def consume(self) -> None:
        plan = self.plan
        subscription, after_seq = self.opening()
        call = self.wire.streams.Subscribe(wait_for_ready=True)
        try:
            open_frame = SubscribeRequest.Open(
                run_id=plan.run_id,
                stream_id=plan.stream_id,
                holder_epoch=self.epoch,
                after_seq=after_seq,
                credit=CREDIT,
            )
            await write_frame(call, SubscribeRequest(open=open_frame))
            while True:
                response = await call.read()
                if not isinstance(response, SubscribeResponse):
                    raise surprised(self.history, plan.name, plan.run_id, "the end of the subscription with OK")
                frame = response.WhichOneof("frame")
                if frame == "run_ended":
                    return
                if frame == "opened":
                    opened = response.opened
                    self.opened(
                        Opened(subscription, opened.holder_epoch, opened.cursor, opened.last_seq), after_seq=after_seq
                    )
                    if self.is_done(opened.cursor):
                        return
                elif frame == "acked":
                    self.history.add(Acked(subscription, response.acked.cursor))
                    if self.is_done(response.acked.cursor):
                        return
                else:
                    for record in response.records.records:
                        self.delivered(Delivered(subscription, seen(record)))
                    credit = SubscribeRequest.Credit(records=len(response.records.records))
                    await write_frame(call, SubscribeRequest(credit=credit))
                    through_seq = self.done_through()
                    if through_seq is not None:
                        self.history.add(Acking(subscription, through_seq))
                        ack = SubscribeRequest.Ack(through_seq=through_seq)
                        await write_frame(call, SubscribeRequest(ack=ack))
                    await self.probe()
        finally:
            call.cancel()


class ReceivingHolder(Holder):
    """Consumes with `Receive` and `Ack`."""

    async def consume(self) -> None:
        plan = self.plan
        while True:
            subscription, after_seq = self.opening()
            request = ReceiveRequest(
                run_id=plan.run_id,
                stream_id=plan.stream_id,
                holder_epoch=self.epoch,
                after_seq=after_seq,
                max_records=self.random.randint(1, CREDIT),
                timeout=Duration(nanos=LONG_POLL_MS * 1_000_000),
            )
            response = await self.wire.streams.Receive(request, wait_for_ready=True)
            self.opened(Opened(subscription, response.holder_epoch, response.cursor, None), after_seq=after_seq)
            for record in response.records:
                self.delivered(Delivered(subscription, seen(record)))
            if response.run_ended or self.is_done(response.cursor):
                return
            through_seq = self.done_through()
            if through_seq is not None and self.is_done(await self.acknowledge(through_seq)):
                return
            await self.probe()
