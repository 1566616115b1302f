"""Senders: they retry with the same keys whatever happens, and now and then send again what was acknowledged."""

import random
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from grpc import aio

from midstream.v1 import stream_service_pb2 as wire_messages
from midstream.v1.record_pb2 import NewRecord, Payload
from midstream.v1.stream_service_pb2 import Receipt, SendOneRequest, SendRequest, SendResponse
from support.chaos.history import Accepted, History, SendRefused, Sent
from support.chaos.wire import (
    ConnectionLost,
    Refusal,
    Wire,
    errors_told_apart,
    payload_text,
    refusal_reason,
    surprised,
    write_frame,
)

Batch = tuple[NewRecord, ...]

WINDOW_BATCHES = 6
"""How many batches a pipelined sender has in flight."""
REPEAT_CHANCE = 0.1
"""How often a batch is sent again after it was acknowledged, and how often a batch holds one record twice."""


class Sender(Protocol):
    """Sends until told to stop; ends when everything that it began is answered."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...


class Lane:
    """What one sender sends to one stream: numbered keys, seeded payloads, and the history of both."""

    def __init__(self, history: History, name: str, run_id: str, stream_id: str, seed: str) -> None:
        self.history = history
        self.name = name
        self.run_id = run_id
        self.stream_id = stream_id
        self.random = random.Random(seed)
        self.stopped = False
        self._number = 0
        self._acknowledged: list[Batch] = []

    def next_batch(self, max_records: int) -> Batch:
        """New records, or for a tenth of the time some that were acknowledged before."""
        if self._acknowledged and self.random.random() < REPEAT_CHANCE:
            return self.random.choice(self._acknowledged)
        batch = tuple(self._new_record() for _ in range(self.random.randint(1, max_records)))
        if self.random.random() < REPEAT_CHANCE:
            batch = (*batch, batch[0])
        return batch

    def _new_record(self) -> NewRecord:
        self._number += 1
        key = f"{self.name}-{self._number}"
        noise = self.random.randbytes(self.random.randint(0, 150))
        raw, json = Payload(raw=key.encode() + noise), Payload(json=f'{{"{key}": "{noise.hex()}"}}')
        payload = raw if self._number % 2 else json
        return NewRecord(client_ref=self._number, idempotency_key=key, payload=payload)

    def sending(self, batch: Batch) -> None:
        for record in batch:
            self.history.add(
                Sent(self.name, self.run_id, self.stream_id, record.idempotency_key, payload_text(record.payload))
            )

    def answered(self, batch: Batch, receipts: Sequence[Receipt]) -> None:
        if [receipt.client_ref for receipt in receipts] != [record.client_ref for record in batch]:
            refs = [receipt.client_ref for receipt in receipts]
            raise surprised(self.history, self.name, self.run_id, f"with receipts for {refs} to keys of {batch}")
        for record, receipt in zip(batch, receipts, strict=True):
            key = record.idempotency_key
            if receipt.WhichOneof("result") != "accepted":
                self._refused(key, refusal_reason(receipt.error))
                continue
            self.history.add(accepted_event(self.run_id, self.stream_id, key, receipt.accepted))
        self._acknowledged.append(batch)

    def _refused(self, key: str, reason: str) -> None:
        if reason in ("STORE_UNAVAILABLE", "SERVER_DRAINING"):
            raise ConnectionLost(reason)
        self.history.add(SendRefused(self.run_id, self.stream_id, key, reason))
        raise surprised(self.history, self.name, self.run_id, f"{reason} to key {key}")


def accepted_event(run_id: str, stream_id: str, key: str, receipt: wire_messages.Accepted) -> Accepted:
    return Accepted(
        run_id,
        stream_id,
        key,
        receipt.seq,
        receipt.offset,
        receipt.accept_time.ToMicroseconds(),
        receipt.deduplicated,
    )


class PipelinedSender:
    """Uses `Send` with several batches in flight; after a broken call it sends what is unanswered again, in order."""

    def __init__(self, wire: Wire, lane: Lane, *, max_records: int = 20) -> None:
        self._wire = wire
        self._lane = lane
        self._max_records = max_records
        self._unanswered: deque[Batch] = deque()

    def stop(self) -> None:
        self._lane.stopped = True

    async def run(self) -> None:
        while self._unanswered or not self._lane.stopped:
            try:
                with errors_told_apart():
                    await self._one_call()
            except ConnectionLost:
                continue
            except Refusal as refusal:
                raise surprised(self._lane.history, self._lane.name, self._lane.run_id, refusal) from None

    async def _one_call(self) -> None:
        call = self._wire.streams.Send(wait_for_ready=True)
        try:
            for batch in tuple(self._unanswered):
                await self._write(call, batch)
            while True:
                while len(self._unanswered) < WINDOW_BATCHES and not self._lane.stopped:
                    batch = self._lane.next_batch(self._max_records)
                    self._unanswered.append(batch)
                    await self._write(call, batch)
                if not self._unanswered:
                    await call.done_writing()
                    return
                response = await call.read()
                if not isinstance(response, SendResponse):
                    raise ConnectionLost("the call ended before it had answered")
                batch = self._unanswered[0]
                self._lane.answered(batch, response.receipts)
                self._unanswered.popleft()
        finally:
            call.cancel()

    async def _write(self, call: "aio.StreamStreamCall[SendRequest, SendResponse]", batch: Batch) -> None:
        self._lane.sending(batch)
        request = SendRequest(run_id=self._lane.run_id, stream_id=self._lane.stream_id, records=batch)
        await write_frame(call, request)


class UnarySender:
    """Uses `SendOne`, one call at a time."""

    def __init__(self, wire: Wire, lane: Lane, *, max_records: int = 3) -> None:
        self._wire = wire
        self._lane = lane
        self._max_records = max_records

    def stop(self) -> None:
        self._lane.stopped = True

    async def run(self) -> None:
        while not self._lane.stopped:
            batch = self._lane.next_batch(self._max_records)
            while not await self._sent(batch):
                pass

    async def _sent(self, batch: Batch) -> bool:
        lane = self._lane
        lane.sending(batch)
        request = SendOneRequest(run_id=lane.run_id, stream_id=lane.stream_id, records=batch)
        try:
            with errors_told_apart():
                response = await self._wire.streams.SendOne(request, wait_for_ready=True)
            lane.answered(batch, response.receipts)
        except ConnectionLost:
            return False
        except Refusal as refusal:
            raise surprised(lane.history, lane.name, lane.run_id, refusal) from None
        return True
