"""What a run says on its output streams: by its lives, on the model of the server, and as a reader sees it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from midstream.runtime.pending_step import PendingStep
from midstream.v1.record_pb2 import Payload, Record
from midstream.v1.worker_service_pb2 import WorkRequest

OutputRecord = WorkRequest.OutputRecord


class StepSays:
    """What one execution of a step appends."""

    def __init__(self, step: PendingStep, said: list[OutputRecord]) -> None:
        self._step = step
        self._said = said
        self._place = 0

    def append(self, stream_id: str, payload: Payload, metadata: Mapping[str, str]) -> None:
        step = self._step
        self._said.append(
            OutputRecord(
                stream_id=stream_id,
                payload=payload,
                operation=step.operation,
                attempt=step.attempt,
                place=self._place,
            )
        )
        self._place += 1

    async def flush(self) -> None:
        raise NotImplementedError


class ModelOutputs:
    """The server's rules for output records: each once, and what a step's former execution has said is taken back."""

    def __init__(self, *, no_rewind: bool, stored_again: bool) -> None:
        self.records: list[Record] = []
        self.rewinds = 0
        self._no_rewind = no_rewind
        self._stored_again = stored_again
        self._writers: dict[tuple[int, int], tuple[tuple[int, int], int]] = {}
        self._said: dict[tuple[int, int], list[Record]] = {}

    def append(self, generation: int, epoch: int, records: Iterable[OutputRecord]) -> None:
        for record in records:
            outside = record.attempt == 0
            writer = (generation, -1 if outside else record.operation)
            turn = (0, 0) if outside else (epoch, record.attempt)
            place = record.operation if outside else record.place
            known, places = self._writers.get(writer, (turn, 0))
            if turn < known or (turn == known and place < places and not self._stored_again):
                continue
            if turn > known:
                self._take_back(writer)
            self._writers[writer] = (turn, place + 1)
            stored = self._store(Record(stream_id=record.stream_id, payload=record.payload))
            if not outside:
                self._said.setdefault(writer, []).append(stored)

    def attempt_ended(self, generation: int, epoch: int, operation: int, attempt: int) -> None:
        writer = (generation, operation)
        known = self._writers.get(writer)
        if known is not None and (epoch, attempt) > known[0]:
            self._take_back(writer)
            self._writers[writer] = ((epoch, attempt), 0)

    def _take_back(self, writer: tuple[int, int]) -> None:
        if self._no_rewind:
            return
        by_stream: dict[str, list[Record]] = {}
        for record in self._said.pop(writer, []):
            by_stream.setdefault(record.stream_id, []).append(record)
        for stream_id, records in by_stream.items():
            self.rewinds += 1
            mark = Record(stream_id=stream_id)
            for record in records:
                mark.rewound.ranges.add(first_seq=record.seq, last_seq=record.seq)
            self._store(mark)

    def _store(self, record: Record) -> Record:
        record.seq = 1 + sum(each.stream_id == record.stream_id for each in self.records)
        self.records.append(record)
        return record


def counting(records: Iterable[Record]) -> list[Any]:
    """The values that a reader sees who applies the marks."""
    seen: list[tuple[str, int, Any]] = []
    for record in records:
        if record.HasField("rewound"):
            ranges = [(each.first_seq, each.last_seq) for each in record.rewound.ranges]
            seen = [
                each
                for each in seen
                if each[0] != record.stream_id or not any(first <= each[1] <= last for first, last in ranges)
            ]
        else:
            seen.append((record.stream_id, record.seq, json.loads(record.payload.json)))
    return [value for _, _, value in seen]
